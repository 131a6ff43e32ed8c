"""A folder, a GGUF file, the bundled name or a hub id -> verified local files and the shape of the network.

The published layout of sentence-transformers is the one interchange format: config.json, model.safetensors (or shards
with an index), tokenizer.json, modules.json, 1_Pooling/config.json, sentence_*_config.json and
config_sentence_transformers.json. A plain `transformers` folder (no modules.json) is read with mean pooling. A GGUF
file says the same in its own terms, which `gguf.network` translates.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from me5 import catalog, hub
from me5.errors import CheckpointError
from me5.gguf import header
from me5.gguf.network import network
from me5.heads import Head, read_head
from me5.prompts import Prompts, from_sentence_transformers

Body = Literal["xlm-roberta", "bert"]
Pooling = Literal["mean", "cls"]
BUNDLED_FILE = Path(__file__).parent / "models" / "small" / f"{catalog.BUNDLED}.gguf"
SUPPORTED = (
    "me5 reads XLM-RoBERTa (model_type xlm-roberta) and BERT (model_type bert) encoders with absolute positions, "
    "exact GELU, and mean or CLS pooling with Normalize or a reranker's head, such as those that `me5 models` lists"
)
# Field of config.json -> our name, and the smallest and largest plausible size. Networks are many times smaller;
# anything larger would fill the memory before the weights could contradict it.
_SIZES: Mapping[str, tuple[str, int, int]] = {
    "vocab_size": ("vocab_size", 1, 1 << 24),
    "hidden_size": ("hidden_size", 1, 1 << 16),
    "num_hidden_layers": ("layers", 1, 1000),
    "num_attention_heads": ("heads", 1, 1 << 12),
    "intermediate_size": ("intermediate_size", 1, 1 << 20),
    "max_position_embeddings": ("max_positions", 3, 1 << 24),
    "type_vocab_size": ("type_vocab_size", 1, 1 << 12),
}
# The special tokens around a text, and one token of it.
_SHORTEST = 3


@dataclass(frozen=True)
class ModelConfig:
    """The shape of an encoder, and how its output becomes one vector.

    `first_position` is the position id of the first token: 0 for BERT, pad id + 1 for XLM-RoBERTa. `max_tokens` counts
    the special tokens too. `matryoshka` lists the shorter dimensions that the vectors were trained for. The dropout
    rates matter in training only. A `head` makes a cross-encoder of it, which gives logits and no vector.
    """

    body: Body
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    max_positions: int
    type_vocab_size: int
    layer_norm_eps: float
    first_position: int
    pooling: Pooling
    max_tokens: int
    lower_case: bool = False
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    matryoshka: tuple[int, ...] = ()
    head: Head | None = None

    @property
    def outputs(self) -> int:
        """How many numbers an engine makes of a sequence: those of a vector, or the logits of the head."""
        return self.hidden_size if self.head is None else self.head.outputs

    @property
    def types(self) -> int:
        """How many types of tokens there are: that of texts, and in pairs that of the second text, if it has one."""
        return 1 if self.head is None else min(self.type_vocab_size, 2)

    @property
    def type_step(self) -> int:
        """How far the ids of a type of tokens lie above those of the type before, as engines take them."""
        return self.vocab_size if self.types > 1 else 0


@dataclass(frozen=True)
class Checkpoint:
    """A verified model folder or GGUF file. `prompts` is None where neither it nor the catalogue knows them.

    `path` is the folder, or the file, which then holds weights and tokenizer too.
    """

    name: str
    path: Path
    config: ModelConfig
    weights: tuple[Path, ...]
    tokenizer: Path
    prompts: Prompts | None
    known: catalog.KnownModel | None

    @property
    def matryoshka(self) -> tuple[int, ...]:
        """The shorter dimensions that the vectors were trained for, by its config.json, else by the catalogue."""
        return self.config.matryoshka or (self.known.matryoshka if self.known is not None else ())


def resolve(model: str | Path | None = None, *, revision: str | None = None, progress: bool = True) -> Checkpoint:
    """Find a model by folder, GGUF file, bundled name (or None) or hub id; download it if needed; read its layout.

    Raises `CheckpointError` for one that is incomplete or not supported, `DownloadError` for an unreachable hub.
    """
    if model is None or str(model).lower() == catalog.BUNDLED:
        return read_gguf(BUNDLED_FILE, name=catalog.BUNDLED)
    folder = Path(model).expanduser()
    if folder.is_dir() or (is_gguf(folder) and folder.is_file()):
        return read(folder)
    known = catalog.find(str(model))
    if known is None and (isinstance(model, Path) or str(model).count("/") != 1 or folder.is_absolute()):
        raise CheckpointError(
            f"no model {str(model)!r}: it is not a folder or .gguf file here, not the bundled {catalog.BUNDLED}, "
            "and not a hub id of the form owner/name. `me5 models` lists the known ones"
        )
    model_id = known.id if known is not None else str(model)
    return read_folder(hub.download(model_id, revision, progress=progress), name=model_id)


def is_gguf(path: Path) -> bool:
    """Whether a path is that of a GGUF file, by its name."""
    return path.suffix.lower() == ".gguf"


def read(path: Path, *, name: str | None = None) -> Checkpoint:
    """Read a folder of the published layout or a GGUF file; the weights themselves are not opened here."""
    return read_folder(path, name=name) if path.is_dir() else read_gguf(path, name=name)


def read_folder(folder: Path, *, name: str | None = None) -> Checkpoint:
    """Read a local folder of the published layout."""
    config = _read_json(folder / "config.json")
    if config is None:
        raise CheckpointError(f"{folder} has no config.json, so it is not a model folder")
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise CheckpointError(
            f"{folder} has no tokenizer.json (the fast tokenizer's file). Save it once with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    known = catalog.find(name) if name is not None else catalog.recognise(folder.resolve())
    return Checkpoint(
        name=name or _name_of(folder),
        path=folder,
        config=_model_config(folder, config),
        weights=_weight_files(folder),
        tokenizer=tokenizer,
        prompts=_prompts(folder) or (known.prompts if known is not None else None),
        known=known,
    )


def read_gguf(path: Path, *, name: str | None = None) -> Checkpoint:
    """Read a GGUF file's settings."""
    found = network(header.read(path))
    # The file does not say what makes scores of logits: that of one is a sigmoid, as it is where config.json is silent.
    head = Head(found.outputs, "sigmoid" if found.outputs == 1 else "identity") if found.outputs is not None else None
    known = next((model for each in (name, *found.names) if each and (model := catalog.find(each))), None)
    return Checkpoint(
        name=name or path.stem,
        path=path,
        config=replace(_encoder(path, found.config, found.max_tokens), pooling=found.pooling, head=head),
        weights=(path,),
        tokenizer=path,
        prompts=from_sentence_transformers(found.prompts) or (known.prompts if known is not None else None),
        known=known,
    )


def _name_of(folder: Path) -> str:
    """The display name of a folder: its own, or that of its run for what `me5 train` wrote, whose own is `model`."""
    here = Path(os.path.abspath(folder))  # noqa: PTH100  of a link its own name
    return here.parent.name if (here.parent / "run.json").is_file() else here.name


def _read_json(path: Path, kind: type = dict) -> Any:
    """The file's content, or None where it is missing."""
    try:
        if not path.is_file():
            return None
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, kind):
        raise CheckpointError(f"{path} holds a JSON {type(content).__name__}, expected a {kind.__name__}")
    return content


def _prompts(folder: Path) -> Prompts | None:
    path = folder / "config_sentence_transformers.json"
    listed = (_read_json(path) or {}).get("prompts") or {}
    if not isinstance(listed, dict) or not all(isinstance(text, str | None) for text in listed.values()):
        raise CheckpointError(f"{path}: prompts must be a table of name and text, found {listed!r}")
    return from_sentence_transformers({name: text or "" for name, text in listed.items()})


def _model_config(folder: Path, config: dict[str, Any]) -> ModelConfig:
    body = config.get("model_type")
    if body not in ("xlm-roberta", "bert"):
        raise CheckpointError(f"{folder}: model_type is {body!r}, which is not supported. {SUPPORTED}")
    _refuse_variants(folder, config)
    max_tokens, lower_case = _text_limits(folder)
    encoder = _encoder(folder / "config.json", config, max_tokens)
    saved = _read_json(folder / "config_sentence_transformers.json") or {}
    head = read_head(folder / "config.json", config, saved)
    pooling = "cls" if head is not None else _pooling(folder, encoder.hidden_size)
    return replace(encoder, pooling=pooling, lower_case=lower_case, head=head)


def _encoder(path: Path, config: Mapping[str, Any], limit: int) -> ModelConfig:
    """The network that `config` describes in config.json's terms, read from `path`. A `limit` of 0 tokens is none."""
    body = config["model_type"]
    sizes = {ours: _whole(path, config, key, least, most) for key, (ours, least, most) in _SIZES.items()}
    first_position = (
        _whole(path, config, "pad_token_id", 0, sizes["vocab_size"] - 1) + 1 if body == "xlm-roberta" else 0
    )
    if sizes["hidden_size"] % sizes["heads"]:
        raise CheckpointError(f"{path}: hidden_size {sizes['hidden_size']} is not a multiple of {sizes['heads']} heads")
    room = sizes["max_positions"] - first_position
    if room < _SHORTEST:
        raise CheckpointError(
            f"{path}: max_position_embeddings is {sizes['max_positions']}, of which pad_token_id {first_position - 1} "
            f"leaves {room} for tokens, expected at least {_SHORTEST}"
        )
    return ModelConfig(
        body=body,
        first_position=first_position,
        layer_norm_eps=_share(path, config, "layer_norm_eps"),
        hidden_dropout=_share(path, {"hidden_dropout_prob": 0.1, **config}, "hidden_dropout_prob"),
        attention_dropout=_share(path, {"attention_probs_dropout_prob": 0.1, **config}, "attention_probs_dropout_prob"),
        pooling="mean",
        max_tokens=min(limit, room) if limit else room,
        lower_case=False,
        head=None,
        matryoshka=_matryoshka(path, config, sizes["hidden_size"]),
        **sizes,
    )


def _matryoshka(path: Path, config: Mapping[str, Any], dim: int) -> tuple[int, ...]:
    """The field by which vLLM knows these models, too."""
    listed = config.get("matryoshka_dimensions") or []
    if not isinstance(listed, list) or not all(type(one) is int and 1 <= one <= dim for one in listed):
        raise CheckpointError(
            f"{path}: matryoshka_dimensions is {listed!r:.60}, expected a list of whole numbers, 1 to {dim}"
        )
    return tuple(sorted({one for one in listed if one < dim}))


def _whole(path: Path, settings: Mapping[str, Any], key: str, least: int, most: int) -> int:
    value = settings.get(key)
    if type(value) is not int or not least <= value <= most:
        raise CheckpointError(f"{path}: {key} is {_shown(settings, key)}, expected a whole number, {least} to {most:,}")
    return value


def _share(path: Path, settings: Mapping[str, Any], key: str) -> float:
    value = settings.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise CheckpointError(f"{path}: {key} is {_shown(settings, key)}, expected a number from 0 to below 1")
    return float(value)


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return f"{settings[key]!r:.60}" if key in settings else "missing"


def _refuse_variants(folder: Path, config: dict[str, Any]) -> None:
    """Refuse settings that would silently change the numbers."""
    for key, usual in (("hidden_act", "gelu"), ("position_embedding_type", "absolute"), ("is_decoder", False)):
        if config.get(key, usual) != usual:
            raise CheckpointError(f"{folder}: {key} is {config[key]!r}, expected {usual!r}. {SUPPORTED}")
    if config.get("embedding_size", config.get("hidden_size")) != config.get("hidden_size"):
        raise CheckpointError(f"{folder}: factorised embeddings (embedding_size) are not supported. {SUPPORTED}")


def _module_kinds(folder: Path) -> list[tuple[str, str]]:
    """(kind, path) of each module in modules.json; the kind is the last part of its dotted type."""
    modules = _read_json(folder / "modules.json", list)
    if modules is None:
        return [("Transformer", ""), ("Pooling", "")]
    try:
        return [(str(module["type"]).rpartition(".")[2], str(module["path"])) for module in modules]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / 'modules.json'} lists a module without a type or path: {error}") from error


def _pooling(folder: Path, hidden_size: int) -> Pooling:
    modules = _module_kinds(folder)
    kinds = [kind for kind, _ in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise CheckpointError(f"{folder}: the module chain {' → '.join(kinds)} is not supported. {SUPPORTED}")
    place = modules[1][1]
    if Path(place).is_absolute() or ".." in Path(place).parts:
        raise CheckpointError(f"{folder / 'modules.json'}: path is {place!r:.80}, which leads out of the folder")
    settings = _read_json(folder / place / "config.json") if place else None
    if settings is None:
        return "mean"
    width = settings.get("word_embedding_dimension", settings.get("embedding_dimension", hidden_size))
    if width != hidden_size:
        raise CheckpointError(f"{folder}: pooling expects vectors of {width}, the encoder gives {hidden_size}")
    return _pooling_mode(folder, settings)


def _pooling_mode(folder: Path, settings: dict[str, Any]) -> Pooling:
    """Old files hold one switch per mode, newer ones a `pooling_mode` word."""
    word = settings.get("pooling_mode")
    switches = {key for key, value in settings.items() if key.startswith("pooling_mode_") and value is True}
    if word == "mean" or switches == {"pooling_mode_mean_tokens"}:
        mode: Pooling = "mean"
    elif word == "cls" or switches == {"pooling_mode_cls_token"}:
        mode = "cls"
    else:
        found = word or ", ".join(sorted(switches)) or "none"
        raise CheckpointError(f"{folder}: the pooling mode {found} is not supported. {SUPPORTED}")
    if settings.get("include_prompt", True) is not True:
        raise CheckpointError(f"{folder}: pooling without the prompt's tokens is not supported. {SUPPORTED}")
    return mode


def _text_limits(folder: Path) -> tuple[int, bool]:
    """(max tokens or 0, lower-case first?) from sentence_*_config.json, else from tokenizer_config.json."""
    for path in sorted(folder.glob("sentence_*_config.json")):
        settings = _read_json(path) or {}
        lower_case = settings.get("do_lower_case", False)
        if not isinstance(lower_case, bool):
            raise CheckpointError(f"{path}: do_lower_case is {lower_case!r:.60}, expected true or false")
        if settings.get("max_seq_length") is not None:
            return _whole(path, settings, "max_seq_length", _SHORTEST, 1 << 40), lower_case
    path = folder / "tokenizer_config.json"
    longest = (_read_json(path) or {}).get("model_max_length")
    if longest is None:
        return 0, False
    if type(longest) not in (int, float) or not longest >= _SHORTEST:
        raise CheckpointError(f"{path}: model_max_length is {longest!r:.60}, expected a number from {_SHORTEST} on")
    return (int(longest) if longest < 1e9 else 0), False  # 1e30 is how transformers writes "no limit"


def _shard_names(path: Path, index: Mapping[str, Any]) -> list[str]:
    listed = index.get("weight_map", {})
    if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
        raise CheckpointError(f"{path}: weight_map is {listed!r:.60}, expected a table of tensors and file names")
    for name in listed.values():
        if Path(name).name != name or name in ("", ".."):
            raise CheckpointError(f"{path}: weight_map names {name!r:.80}, expected a file of the folder itself")
    return sorted(set(listed.values()))


def _weight_files(folder: Path) -> tuple[Path, ...]:
    index = _read_json(folder / "model.safetensors.index.json")
    if index is not None:
        names = _shard_names(folder / "model.safetensors.index.json", index)
        missing = [name for name in names if not os.path.isfile(folder / name)]  # noqa: PTH113  false for names too long
        if missing or not names:
            raise CheckpointError(
                f"{folder}: the index names shards that are not there: {', '.join(missing) or 'none'}"
            )
        return tuple(folder / name for name in names)
    if (folder / "model.safetensors").is_file():
        return (folder / "model.safetensors",)
    pickles = sorted(path.name for path in folder.glob("*.bin"))
    advice = f"; {pickles[0]} is a pickle, which can run code when read and is never opened here" if pickles else ""
    raise CheckpointError(f"{folder} has no model.safetensors{advice}. Convert it once with transformers: "
                          "AutoModel.from_pretrained(FOLDER).save_pretrained(FOLDER, safe_serialization=True)"
                          )  # fmt: skip
