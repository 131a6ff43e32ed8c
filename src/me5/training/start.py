"""Where a network starts: a checkpoint, or random weights; with adapters over frozen weights if the recipe says so."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from me5.checkpoint import Checkpoint, ModelConfig, resolve
from me5.errors import InputError, MissingExtraError
from me5.heads import Head
from me5.model.encoder import Encoder
from me5.model.folder import load
from me5.preprocessor import choose_prompts
from me5.prompts import NONE, Prompts
from me5.tokenizer import Tokenizer
from me5.training.recipe import Lora, Network

# The matrices of every layer, by the encoder's own names.
_MATRICES = ("qkv", "attention_output", "feedforward_in", "feedforward_out")
_PADDING = 1  # the id of <pad> in XLM-RoBERTa's vocabularies, behind which its positions begin
_EPSILON = {"xlm-roberta": 1e-5, "bert": 1e-12}


@dataclass(frozen=True)
class Start:
    """A network to train, and what belongs to its checkpoint folder besides weights."""

    encoder: Encoder
    tokenizer_file: Path
    tokenizer: Tokenizer
    prompts: Prompts


def shape_of(settings: Network, *, ranks: bool = False) -> tuple[ModelConfig, Checkpoint | None]:
    """The shape of the network, and its checkpoint unless it starts at random. May download, loads nothing.

    `ranks`: of a cross-encoder with one output, whose head an encoder gets anew.
    """
    if settings.start != "random":
        checkpoint = resolve(settings.start)
        config = checkpoint.config
        limit = config.max_positions - config.first_position
        if settings.max_tokens > limit:
            raise InputError(f"model.max_tokens is {settings.max_tokens}, {checkpoint.name} has {limit} positions")
    else:
        assert settings.shape is not None
        assert settings.tokenizer is not None
        shape, checkpoint = settings.shape, None
        first = _PADDING + 1 if shape.body == "xlm-roberta" else 0
        config = ModelConfig(
            body=shape.body, vocab_size=Tokenizer(_file(settings.tokenizer), settings.max_tokens).vocabulary,
            hidden_size=shape.hidden, layers=shape.layers, heads=shape.heads, intermediate_size=shape.intermediate,
            max_positions=settings.max_tokens + first, type_vocab_size=1 if shape.body == "xlm-roberta" else 2,
            layer_norm_eps=_EPSILON[shape.body], first_position=first, pooling="mean", max_tokens=settings.max_tokens,
        )  # fmt: skip
    config = replace(config, max_tokens=settings.max_tokens)
    if not ranks and config.head is not None:
        raise InputError(
            f"model.start: {settings.start} is a cross-encoder and gives no vectors; train it with "
            'loss.kind = "listwise" or "binary"'
        )
    if ranks and config.head is not None and config.head.outputs != 1:
        raise InputError(f"model.start: {settings.start} has {config.head.outputs} outputs, expected a reranker with 1")
    if ranks and config.head is None:
        config = replace(config, pooling="cls", head=Head(outputs=1, activation="sigmoid"))
    if settings.dropout is not None:
        config = replace(config, hidden_dropout=settings.dropout, attention_dropout=settings.dropout)
    if settings.attention_dropout is not None:
        config = replace(config, attention_dropout=settings.attention_dropout)
    return config, checkpoint


def start(settings: Network, seed: int, *, ranks: bool = False) -> Start:
    """The network of a recipe on the CPU, in training mode, float32. All that is random follows from the seed.

    `ranks`: a cross-encoder; of a checkpoint that embeds it has the layers, and a new head.
    """
    config, checkpoint = shape_of(settings, ranks=ranks)
    torch.manual_seed(seed)
    if checkpoint is None:
        assert settings.tokenizer is not None
        encoder, file, own = Encoder(config), _file(settings.tokenizer), None
    else:
        encoder = load(replace(checkpoint, config=replace(config, head=checkpoint.config.head)))
        if encoder.config.head != config.head:
            encoder.add_head(config)
        file, own = checkpoint.tokenizer, checkpoint.prompts
    encoder.checkpointing = settings.checkpointing
    if settings.freeze_words:
        encoder.words.weight.requires_grad_(False)
    if settings.lora is not None:
        _adapt(encoder, settings.lora)
    tokenizer = Tokenizer(file, config.max_tokens, lower_case=config.lower_case)
    return Start(encoder.train(), file, tokenizer, NONE if ranks else _prompts(settings, own))


def merged(encoder: Encoder) -> Encoder:
    """The same network without adapters: what they add is put into a copy of the matrices below them."""
    if not any(hasattr(module, "lora_A") for module in encoder.modules()):
        return encoder
    plain = copy.deepcopy(encoder)
    for layer in plain.layers:
        for name in _MATRICES:
            adapter = getattr(layer, name)
            adapter.merge(safe_merge=True)
            setattr(layer, name, adapter.get_base_layer())
    return plain


def _prompts(settings: Network, own: Prompts | None) -> Prompts:
    """Those of the checkpoint, unless the recipe asks for another style."""
    same = own is not None and settings.prompts in (None, own.style)
    return choose_prompts(None if same else settings.prompts or "instruct", own, settings.start)


def _adapt(encoder: nn.Module, settings: Lora) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError("adapters need peft: pip install 'me5[train]'") from error
    adapters = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=list(_MATRICES)
    )
    inject_adapter_in_model(adapters, encoder)
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_("lora_" in name or name.startswith("head."))


def _file(tokenizer: Path) -> Path:
    path = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    if not path.is_file():
        raise InputError(f"{tokenizer} has no tokenizer.json; train one with `me5 data tokenizer`")
    return path
