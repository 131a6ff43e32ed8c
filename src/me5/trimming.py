"""A checkpoint with the vocabulary that some texts need: fewer rows of the word table, the same vectors of such texts.

The word table is 46 % of XLM-R-large and 82 % of multilingual-e5-small. What of it a corpus never uses can go: ids are
closed up, the tokenizer is rebuilt, and the report says what it costs.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from me5.checkpoint import Checkpoint, is_gguf
from me5.embedder import Embedder
from me5.errors import CheckpointError, InputError
from me5.files.atomic import scratch
from me5.gguf import header
from me5.gguf import tokenizer as gguf
from me5.prepared import Report
from me5.progress import Advance
from me5.prompts import NONE, TASKS
from me5.tokenizer import Tokenizer
from me5.vectors import Float32
from me5.weights import Weights

Int64 = npt.NDArray[np.int64]
_BLOCK = 1024  # texts that are tokenized together


@dataclass(frozen=True)
class Usage:
    """How often every id occurs in some texts, int64 (vocabulary,), in all and by language."""

    counts: Int64
    by_language: Mapping[str, Int64]
    texts: int


def count(checkpoint: Checkpoint, texts: Iterable[tuple[str, str]], advance: Advance | None = None) -> Usage:
    """Tokenize (language, text) pairs, which are read once and not held. `advance` gets (texts, tokens)."""
    tokenizer = Tokenizer(checkpoint.tokenizer, checkpoint.config.max_tokens)
    size = tokenizer.vocabulary
    by_language: dict[str, Int64] = {}
    number = 0
    source = iter(texts)
    while block := list(islice(source, _BLOCK)):
        number += len(block)
        found: dict[str, list[npt.NDArray[Any]]] = {}
        for (language, _), (ids, _) in zip(block, tokenizer.bare([text for _, text in block]), strict=True):
            found.setdefault(language, []).append(np.asarray(ids, np.int64))
        tokens = 0
        for language, parts in found.items():
            together = np.concatenate(parts)
            tokens += len(together)
            counts = by_language.setdefault(language, np.zeros(size, np.int64))
            np.add.at(counts, together, 1)  # the vocabulary is far larger than a block
        if advance is not None:
            advance(len(block), tokens)
    if not number:
        raise InputError("there are no texts to trim by")
    return Usage(np.sum([*by_language.values()], axis=0), by_language, number)


def choose(checkpoint: Checkpoint, usage: Usage, *, cover: float = 1.0, pieces: int | None = None) -> Int64:
    """The ids that stay, int64, rising: special tokens, prompts, all characters that occur, frequent pieces.

    Pieces stay until they cover a share of the tokens (`cover`, above 0 up to 1). With `pieces`, so many stay, or all
    that there are: the frequent ones first, then other single characters, then the likeliest by the tokenizer's own
    scores. Raises `InputError` where `pieces` has no room for special tokens and characters.
    """
    if not 0 < cover <= 1:
        raise InputError(f"cover is {cover}, expected a share above 0, up to 1")
    content = _content(checkpoint)
    names = [*_names(content["model"])]
    needed = {token["id"] for token in content["added_tokens"]} | {_unknown(content["model"])}
    needed |= _characters(names, usage.counts) | _of_prompts(checkpoint)
    if pieces is not None and pieces < len(needed):
        raise InputError(
            f"{pieces:,} pieces are too few: the special tokens and the characters of these texts are {len(needed):,}"
        )
    # By id where counts are equal, so that the same texts always give the same vocabulary.
    order = np.argsort(-usage.counts, kind="stable")
    order = order[usage.counts[order] > 0]
    covered = np.cumsum(usage.counts[order]) / usage.counts.sum()
    order = order[: int(np.searchsorted(covered, cover - 1e-12)) + 1]
    kept = np.array([*sorted(needed), *order], np.int64)
    if pieces is not None:
        kept = np.concatenate([kept, _likeliest(content["model"], names)])
    # Each once, in this order.
    _, first = np.unique(kept, return_index=True)
    return np.sort(kept[np.sort(first)][:pieces])


@contextmanager
def trimmed(checkpoint: Checkpoint, kept: Int64) -> Iterator[tuple[Checkpoint, Weights]]:
    """The checkpoint with these ids alone, closed up, and its weights: what `export` takes, within the block."""
    with scratch("me5-trim") as folder:
        path = folder / "tokenizer.json"
        path.write_text(json.dumps(_shrunk(_content(checkpoint), kept), ensure_ascii=False), encoding="utf-8")
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            if (beside := checkpoint.tokenizer.parent / name).is_file():
                (folder / name).write_bytes(beside.read_bytes())
        weights = Weights(checkpoint.weights, checkpoint.config).select("words", kept)
        yield replace(checkpoint, tokenizer=path, config=replace(checkpoint.config, vocab_size=len(kept))), weights


def compare(before: Embedder, after: Embedder, texts: Sequence[str]) -> tuple[Float32, float]:
    """Cosines of the two models' vectors of texts, float32 (texts,), and by which factor the texts' tokens grew."""
    reports = Report(), Report()
    first, second = (
        embedder.encode_document(texts, report=report)
        for embedder, report in zip((before, after), reports, strict=True)
    )
    cosines: Float32 = np.einsum("ij,ij->i", first, second)
    return cosines, sum(reports[1].tokens) / sum(reports[0].tokens)


def _content(checkpoint: Checkpoint) -> dict[str, Any]:
    """tokenizer.json, or what would stand there."""
    if is_gguf(checkpoint.tokenizer):
        text = gguf.build(gguf.read(header.read(checkpoint.tokenizer))).to_str()
    else:
        text = checkpoint.tokenizer.read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    if content["model"].get("type") not in ("Unigram", "WordPiece"):
        raise CheckpointError(
            f"{checkpoint.tokenizer}: vocabularies of the kind {content['model'].get('type')!r} cannot be trimmed, "
            "expected Unigram or WordPiece"
        )
    return content


def _names(model: Mapping[str, Any]) -> Sequence[str]:
    """Every piece by its id."""
    if model["type"] == "Unigram":
        return [piece for piece, _ in model["vocab"]]
    return sorted(model["vocab"], key=model["vocab"].get)


def _unknown(model: Mapping[str, Any]) -> int:
    at: int = model["unk_id"] if model["type"] == "Unigram" else model["vocab"][model["unk_token"]]
    return at


def _of_prompts(checkpoint: Checkpoint) -> set[int]:
    """The ids of everything that stands in front of texts, which no text has to hold."""
    prompts = checkpoint.prompts or NONE
    tasks = (None, *TASKS) if prompts.style == "instruct" else (None, *prompts.named)
    texts = {prompts.prefix("query", task) for task in tasks} | {prompts.prefix("document"), prompts.prefix("both")}
    tokenizer = Tokenizer(checkpoint.tokenizer, checkpoint.config.max_tokens)
    return {token for ids, _ in tokenizer.bare(sorted(texts)) for token in ids}


def _characters(names: Sequence[str], counts: Int64) -> set[int]:
    """The pieces of one character that the texts' characters are, so that what could be read still can be."""
    used = set("".join(names[at].removeprefix("##") for at in np.flatnonzero(counts).tolist()))
    return {at for at, name in enumerate(names) if len(bare := name.removeprefix("##")) == 1 and bare in used}


def _likeliest(model: Mapping[str, Any], names: Sequence[str]) -> Int64:
    """Every id: single characters, then by falling score; WordPiece has none, and its ids fall in frequency."""
    single = np.array([len(name.removeprefix("##")) == 1 for name in names])
    scores = np.array([score for _, score in model["vocab"]] if model["type"] == "Unigram" else [0.0] * len(names))
    return np.lexsort((-scores, ~single)).astype(np.int64)


def _shrunk(content: dict[str, Any], kept: Int64) -> dict[str, Any]:
    """A tokenizer.json with these ids alone."""
    closed = {int(old): new for new, old in enumerate(kept)}
    model = dict(content["model"])
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in closed]
        model["unk_id"] = closed[model["unk_id"]]
    else:
        names = _names(model)
        model["vocab"] = {names[old]: new for old, new in closed.items()}
    added = [{**token, "id": closed[token["id"]]} for token in content["added_tokens"]]
    frame = _closed(content["post_processor"], closed)
    return {**content, "model": model, "added_tokens": added, "post_processor": frame, "padding": None}


def _closed(processor: dict[str, Any] | None, closed: Mapping[int, int]) -> dict[str, Any] | None:
    """A post-processor with the new ids of the special tokens that it names."""
    if processor is None:
        return None
    if processor["type"] == "Sequence":
        return {**processor, "processors": [_closed(step, closed) for step in processor["processors"]]}
    changed = dict(processor)
    for name in ("sep", "cls"):  # of BERT's and RoBERTa's own kinds: a pair of token and id
        if name in processor:
            changed[name] = [processor[name][0], closed[processor[name][1]]]
    if "special_tokens" in processor:
        changed["special_tokens"] = {
            name: {**token, "ids": [closed[old] for old in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
    return changed
