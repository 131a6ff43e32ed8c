"""Write a trained run as a sentence-transformers folder with float16 weights."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from encoder import DIMENSIONS, POSITIONS, new_body, warm_start
from prompts import WEB, instruct
from safetensors.torch import save_file

TOKENS = {
    "bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>",
    "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>",
}  # fmt: skip
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
POOLING = {
    "word_embedding_dimension": DIMENSIONS, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
    "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False,
}  # fmt: skip
SENTENCE_TRANSFORMERS = {
    "prompts": {"query": instruct(WEB), "document": ""},
    "default_prompt_name": None,
    "similarity_fn_name": "cosine",
}


def write_json(path: Path, content: object) -> None:
    """Write readable JSON."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_weights(run: Path) -> tuple[int, dict[str, torch.Tensor]]:
    """Return the vocabulary size and the weights of the newest checkpoint, or of the warm start before any."""
    checkpoint = run / "checkpoint.pt"
    if checkpoint.exists():
        weights = torch.load(checkpoint, weights_only=True)["model"]
    else:
        static = torch.load(run / "static.pt", weights_only=True)
        weights = warm_start(static["words"], static["frequency"]).state_dict()
    return len(weights["embeddings.word_embeddings.weight"]), weights


def export(run: Path, folder: Path) -> None:
    """Write weights, tokenizer and configuration files; the card is written by card.py."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, weights = load_weights(run)
    keep = {name: tensor.half().contiguous() for name, tensor in weights.items() if "position_ids" not in name}
    save_file(keep, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    shutil.copyfile(run / "tokenizer.json", folder / "tokenizer.json")
    configuration = new_body(vocabulary).config.to_dict()
    drop = ("transformers_version", "_name_or_path", "id2label", "label2id", "problem_type", "output_attentions")
    shape = {key: value for key, value in configuration.items() if key not in drop and value is not None}
    shape |= {"architectures": ["XLMRobertaModel"], "model_type": "xlm-roberta", "dtype": "float32"}
    write_json(folder / "config.json", dict(sorted(shape.items())))
    # The generic class, because transformers 5 rebuilds the tokenizer of XLM-R from its own parts.
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": POSITIONS, "padding_side": "right",
         "truncation_side": "right", "clean_up_tokenization_spaces": False,
         "model_input_names": ["input_ids", "attention_mask"], **TOKENS},
    )  # fmt: skip
    write_json(folder / "special_tokens_map.json", TOKENS)
    write_json(folder / "modules.json", MODULES)
    write_json(folder / "1_Pooling" / "config.json", POOLING)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": POSITIONS, "do_lower_case": False})
    write_json(folder / "config_sentence_transformers.json", SENTENCE_TRANSFORMERS)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.2f} MB, {sum(t.numel() for t in keep.values()):,} parameters")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    export(arguments.run, arguments.folder)


if __name__ == "__main__":
    main()
