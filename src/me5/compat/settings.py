"""What the constructor is given in sentence-transformers' terms, as me5's: a checkpoint, its prompts, its precision.

An argument that can mean nothing here is said to, once for each process.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from me5 import catalog, hub
from me5.checkpoint import Checkpoint, read_folder
from me5.engine import Precision
from me5.errors import InputError, Me5Warning, caller
from me5.prompts import to_sentence_transformers

_PRECISIONS: Mapping[str, Precision] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_said: set[str] = set()


def say_once(subject: str, text: str) -> None:
    """Warn of an argument or method that has no effect, once for each process."""
    if subject not in _said:
        _said.add(subject)
        warnings.warn(f"me5.compat: {subject} {text}", Me5Warning, stacklevel=caller())


def find_model(
    name: str | Path | None, revision: str | None, download: Mapping[str, Any]
) -> str | Path | Checkpoint | None:
    """What `Embedder` loads by a name, which may be one of sentence-transformers' own models without its owner.

    `download` are huggingface_hub's options; where one is set, the model is downloaded here. Raises `DownloadError`.
    """
    options = {key: value for key, value in download.items() if value not in (None, False)}
    if name is None or Path(name).expanduser().exists() or str(name).lower() == catalog.BUNDLED:
        return name
    known = catalog.find(str(name))
    model_id = known.id if known is not None else str(name)
    if "/" not in model_id:
        model_id = f"sentence-transformers/{model_id}"
    if not options:
        return model_id
    return read_folder(hub.download(model_id, revision, options=options), name=model_id)


def listed_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """config_sentence_transformers.json, or nothing where the checkpoint has none."""
    path = checkpoint.path / "config_sentence_transformers.json"
    listed: dict[str, Any] = json.loads(path.read_text("utf-8-sig")) if path.is_file() else {}
    return listed


def prompts_of(checkpoint: Checkpoint, given: Mapping[str, str] | None) -> dict[str, str]:
    """The prompts by name: those that are known of the model, then those given."""
    known = to_sentence_transformers(checkpoint.prompts) if checkpoint.prompts is not None else {}
    return {"query": "", "document": "", **known, **{name: text or "" for name, text in (given or {}).items()}}


def precision_of(model_kwargs: Mapping[str, Any] | None, device: str) -> Precision:
    """What the engine computes in, by `torch_dtype` or `dtype`; nothing else in `model_kwargs` has an effect."""
    options = dict(model_kwargs or {})
    kind = [options.pop(key) for key in ("torch_dtype", "dtype") if key in options]
    for key in options:
        say_once(f"model_kwargs[{key!r}]", "has no effect: it is about torch's network, which is not used here")
    name = str(kind[0] if kind else "auto").removeprefix("torch.")
    if name in ("auto", "None"):
        return "auto"
    if name not in _PRECISIONS:
        raise InputError(f"unknown dtype {name!r}; expected one of auto, {', '.join(_PRECISIONS)}")
    if name == "float16" and device == "cpu":
        say_once("float16", "is not computed in on a CPU: bfloat16 where the hardware has it, else float32")
        return "auto"
    return _PRECISIONS[name]


def max_tokens_of(processor_kwargs: Mapping[str, Any] | None) -> int | None:
    """The limit of tokens in `processor_kwargs`, of which nothing else has an effect."""
    options = dict(processor_kwargs or {})
    limit: int | None = options.pop("model_max_length", None)
    for key in options:
        say_once(f"processor_kwargs[{key!r}]", "has no effect: the tokenizer is read from its file as it is")
    return limit


def say_what_is_ignored(**given: Any) -> None:
    """Say of each argument of the constructor that is set that it has no effect."""
    for name, value in given.items():
        if value:
            say_once(f"{name}=", "has no effect: models are run by me5's engines, and no code from a repository is")
