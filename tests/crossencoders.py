"""Builds tiny cross-encoders, from the encoders of `checkpoints`, with random heads as transformers saves them."""

from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
from checkpoints import Recipe

# As bge-reranker and mmarco-mMiniLMv2; as ms-marco-MiniLM; a BERT body under XLM-RoBERTa's tokenizer, as the bundled
# model has it.
LAYOUTS = {"xlm-roberta": checkpoints.XLMR, "bert-wordpiece": checkpoints.BERT_WORDPIECE, "bert": checkpoints.BERT}


def build(folder: Path, recipe: Recipe, outputs: int = 1, **config: Any) -> Path:
    """Write a cross-encoder of a recipe's body and tokenizer; `config` are further fields of its config.json."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    source = checkpoints.build(folder.with_name(f"{folder.name}-encoder"), recipe)
    settings = AutoConfig.from_pretrained(source, num_labels=outputs)
    with torch.device("cpu"):
        model = AutoModelForSequenceClassification.from_config(settings)
    generator = torch.Generator().manual_seed(recipe.seed)
    tensors = model.state_dict()
    drawn = {
        name: checkpoints.draw(name, tensor.shape, generator).to(getattr(torch, recipe.dtype))
        for name, tensor in sorted(tensors.items())
    }
    folder.mkdir(parents=True)
    settings.architectures = [type(model).__name__]
    settings.dtype = recipe.dtype
    settings.save_pretrained(folder)
    checkpoints.save_weights(folder, drawn, recipe.shards)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    # As the tokenizer classes of BERT, which published rerankers name, and not the plain one.
    names = ["input_ids", "token_type_ids", "attention_mask"]
    checkpoints.edit_json(folder / "tokenizer_config.json", model_input_names=names)
    checkpoints.edit_json(folder / "config.json", **config)
    return folder


def by_transformers(
    folder: Path, pairs: list[tuple[str, str]], max_length: int = 512, side: str = "right"
) -> np.ndarray:
    """Logits (pairs, outputs) by transformers, as the models' cards have it."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, truncation_side=side)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    batch = tokenizer(
        [list(pair) for pair in pairs], padding=True, truncation=True, max_length=max_length, return_tensors="pt"
    )
    with torch.inference_mode():
        return model(**batch).logits.numpy()
