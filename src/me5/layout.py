"""The shape of an encoder, its tokenizer and prompts -> the small files of the published layout.

With `model.safetensors` beside them they are a folder that me5, sentence_transformers and transformers read alike.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from me5._version import __version__
from me5.checkpoint import ModelConfig, is_gguf
from me5.gguf import header
from me5.gguf import tokenizer as tokenizers
from me5.heads import ACTIVATIONS, CLASSES
from me5.prompts import Prompts, to_sentence_transformers

# transformers builds its tokenizer from these; they lie beside the tokenizer.json that they belong to.
_TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json")
_CLASSES: Mapping[str, str] = {"xlm-roberta": "XLMRobertaModel", "bert": "BertModel"}


def write_layout(folder: Path, config: ModelConfig, tokenizer: Path, prompts: Prompts | None, dtype: str) -> None:
    """Write everything but the weights. `dtype` is theirs: float32, float16 or bfloat16.

    `tokenizer` is a tokenizer.json, with tokenizer_config.json and special_tokens_map.json beside it, or a GGUF file. A
    model without known prompts lists none. Of a cross-encoder there are only its config.json, which names its
    activation, and its limit.
    """
    write_tokenizer(folder, tokenizer, config.max_tokens)
    limits = {"max_seq_length": config.max_tokens, "do_lower_case": config.lower_case}
    if config.head is not None:
        _write_json(folder / "config.json", _network(config, dtype))
        _write_json(folder / "sentence_bert_config.json", limits)
        return
    modules = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    files: dict[str, Any] = {
        "config.json": _network(config, dtype),
        "modules.json": [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for index, (path, kind) in enumerate(modules)
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": config.hidden_size,
            "pooling_mode_cls_token": config.pooling == "cls",
            "pooling_mode_mean_tokens": config.pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
        "sentence_bert_config.json": limits,
        "config_sentence_transformers.json": {
            "__version__": {"me5": __version__},
            "prompts": to_sentence_transformers(prompts) if prompts else {},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }
    (folder / "1_Pooling").mkdir(exist_ok=True)
    for name, content in files.items():
        _write_json(folder / name, content)


def write_tokenizer(folder: Path, source: Path, max_tokens: int) -> None:
    """Write a tokenizer, from a tokenizer.json or a GGUF file, as transformers reads one."""
    if not is_gguf(source):
        shutil.copyfile(source, folder / "tokenizer.json")
        for name in _TOKENIZER_FILES:
            if (source.parent / name).is_file():
                shutil.copyfile(source.parent / name, folder / name)
        return
    terms = tokenizers.read(header.read(source))
    tokenizer = tokenizers.build(terms)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = {f"{name}_token": tokenizer.id_to_token(at) for name, at in terms.ids.items()}
    # A class of its own would build its tokenizer anew; this one takes tokenizer.json as it is.
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_tokens, **tokens}
    _write_json(folder / "tokenizer_config.json", settings)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _network(config: ModelConfig, dtype: str) -> dict[str, Any]:
    """config.json, as transformers writes it for these bodies; `matryoshka_dimensions` is vLLM's field."""
    trained = {"matryoshka_dimensions": [*config.matryoshka, config.hidden_size]} if config.matryoshka else {}
    names, head = _CLASSES, {}
    if config.head is not None:
        names = CLASSES
        labels = {at: f"LABEL_{at}" for at in range(config.head.outputs)}
        head = {
            "id2label": labels,
            "label2id": {label: at for at, label in labels.items()},
            "sentence_transformers": {"activation_fn": ACTIVATIONS[config.head.activation]},
        }
    return {
        "architectures": [names[config.body]],
        "model_type": config.body,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_positions,
        "type_vocab_size": config.type_vocab_size,
        "layer_norm_eps": config.layer_norm_eps,
        "hidden_act": "gelu",
        "hidden_dropout_prob": config.hidden_dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        "initializer_range": 0.02,
        # XLM-RoBERTa's positions begin behind it.
        "pad_token_id": max(config.first_position - 1, 0),
        "torch_dtype": dtype,
        **trained,
        **head,
    }
