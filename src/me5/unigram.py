"""XLM-RoBERTa's tokenizer by kitoken: the ids that `tokenizers` gives, in a third of the time and half of the memory.

Only where both are known to agree: at one map of characters, which all of XLM-RoBERTa's kin share, with any vocabulary.
Tokens written as text, such as <s>, are found here, for kitoken joins neighbours of them that `tokenizers` does not.
"""

import base64
import hashlib
import json
import re
import struct
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from me5.cores import cores
from me5.gguf.tokenizer import CONTROL, NORMAL, UNKNOWN, USER, Terms

# SHA-256 of the map, SentencePiece's `nmt_nfkc` as of 2019.
_MAP = "0942789e0111452f1cc446f70036e26d24458c3c7858c53cc12ca4d87531279b"
# What the map turns into the first character of special tokens.
_OPENING = re.compile("[<﹤＜]")
_SPACE = "▁"
# Between pieces that are looked at together.
_EDGE = "\0"
# What a tokenizer.json may do beside the map: split at white space, with a ▁ in front of every word.
_WORDS = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "WhitespaceSplit"},
        {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": "always", "split": True},
    ],
}
_MERGED = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
# Small vocabularies are built at once by `tokenizers` too. Lengths and the id of unknown pieces are written as a byte.
_LEAST, _LONGEST = 1000, 100
# How a vocabulary was trained, to SentencePiece: Unigram, and the id of unknown pieces.
_TRAINER = b"\x12\x05\x18\x01\xc0\x02%c"
# From this many characters on, threads share the work; kitoken itself has one.
_SHARED = 1 << 15
_THREADS = min(4, cores())


def serves(terms: Terms) -> bool:
    """Whether kitoken gives the ids of this tokenizer.

    Every piece must be there once, every character must be a piece too, and special tokens must open with <. All of
    XLM-RoBERTa's kin is so. Of other vocabularies kitoken was seen to read some otherwise: unknown characters within
    pieces, pieces named <0x41>, scores beyond all reason.
    """
    pieces, joined = {*terms.pieces, ""}, terms.joined
    return (
        terms.model == "t5"
        and hashlib.sha256(terms.characters).hexdigest() == _MAP
        and len(terms.pieces) >= _LEAST
        and len(pieces) == len(terms.pieces) + 1
        and joined.count(_EDGE) == len(terms.pieces)
        and int(terms.spelled[1].max()) <= _LONGEST
        and pieces.issuperset(_characters(joined) - {_EDGE})
        and f"{_EDGE}<0x" not in joined
        and joined.count(_SPACE) == joined.count(f"{_EDGE}{_SPACE}")
        and bool(((terms.scores <= 0) & (terms.scores > -_LONGEST)).all())
        and terms.id("unk") < _LONGEST
        and all(terms.pieces[at][0] == "<" for at in terms.added)
    )


def _characters(text: str) -> set[str]:
    """The different characters of a long text, five times as fast as a set of it."""
    return {*map(chr, np.flatnonzero(np.bincount(np.frombuffer(text.encode("utf-32-le"), "<u4"))).tolist())}


def published(path: Path) -> Terms | None:
    """The terms of a tokenizer.json of XLM-RoBERTa's form; None for any other."""
    try:
        content = path.read_bytes()
        return _read(path, json.loads(content)) if b'"Precompiled"' in content else None
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return None  # whoever opens it next tells what is wrong with it


def _read(path: Path, content: dict[str, Any]) -> Terms | None:
    model, steps = content["model"], content["normalizer"].get("normalizers", [content["normalizer"]])
    characters = base64.b64decode(steps[0].get("precompiled_charsmap", ""))
    first, inner, last = content["post_processor"]["single"]
    frames = content["post_processor"]["special_tokens"]
    (bos,), (eos,) = (frames[edge["SpecialToken"]["id"]]["ids"] for edge in (first, last))
    pieces, scores = ([*column] for column in zip(*model["vocab"], strict=True))
    kinds = np.full(len(pieces), NORMAL, np.int32)
    for token in content["added_tokens"]:
        kinds[token["id"]] = CONTROL if token["special"] else USER
        if pieces[token["id"]] != token["content"] or any(
            token[key] for key in ("single_word", "rstrip", "normalized")
        ):
            return None
    kinds[model["unk_id"]] = UNKNOWN
    terms = Terms(
        path, "t5", pieces, kinds, np.array(scores, np.float32), characters,
        {"unk": model["unk_id"], "bos": bos, "eos": eos},
    )  # fmt: skip
    formed = (
        {key: value for key, value in model.items() if key != "vocab"}
        == {"type": "Unigram", "unk_id": model["unk_id"], "byte_fallback": False}
        and steps[1:] in ([], [_MERGED])
        and content["pre_tokenizer"] == _WORDS
        and inner == {"Sequence": {"id": "A", "type_id": 0}}
        and bool((terms.scores == np.array(scores)).all())  # kitoken has them in 32 bits
    )
    return terms if formed else None


def _library() -> Any:
    """The class of kitoken, loaded by a thread that stays.

    Its allocator (0.11.1) is bound to the thread that loads it: once that one had ended, the next use was
    a segmentation fault. Loaded when it is needed, for it reserves a gigabyte of addresses.
    """
    if "kitoken" not in sys.modules and threading.current_thread() is not threading.main_thread():
        loaded = threading.Event()

        def stay() -> None:
            try:
                import kitoken  # noqa: F401
            finally:
                loaded.set()
            threading.Event().wait()

        threading.Thread(target=stay, name="kitoken", daemon=True).start()
        loaded.wait()
    from kitoken import Kitoken

    return Kitoken


class Unigram:
    """The ids of texts, without special tokens around them."""

    def __init__(self, terms: Terms) -> None:
        self._kitoken = _opened(terms)
        names = sorted((terms.pieces[at] for at in terms.added), key=len, reverse=True)
        self._special = re.compile(f"({'|'.join(map(re.escape, names))})")
        self._ids = {terms.pieces[at]: at for at in terms.added}
        self._nothing = [terms.pieces.index(_SPACE)]
        self._pieces = [*terms.pieces]
        self._pieces[terms.id("unk")] = "\0"  # as text it would look like the token

    def encode(self, texts: Sequence[str]) -> list[list[int] | None]:
        """The ids of each text; None for one that only `tokenizers` reads right."""
        if _THREADS == 1 or len(texts) < _THREADS or sum(map(len, texts)) < _SHARED:
            return [*self._encode(texts)]
        shares = [texts[len(texts) * at // _THREADS : len(texts) * (at + 1) // _THREADS] for at in range(_THREADS)]
        with ThreadPoolExecutor(_THREADS) as pool:
            return [ids for share in pool.map(lambda share: [*self._encode(share)], shares) for ids in share]

    def _encode(self, texts: Sequence[str]) -> Iterator[list[int] | None]:
        parted = [self._special.split(text) for text in texts]
        found = iter(self._kitoken.encode_all([part for parts in parted for part in parts[::2]]))
        for parts in parted:
            ids: list[int] | None = []
            for at, part in enumerate(parts):
                if at % 2:
                    more: list[int] | None = [self._ids[part]]
                else:
                    more = self._checked(part, next(found))
                if ids is None or more is None:
                    ids = None
                else:
                    ids += more  # in place: a text may be nothing but special tokens
            yield ids

    def _checked(self, part: str, ids: list[int]) -> list[int] | None:
        """The ids of a part between special tokens."""
        if ids == self._nothing:
            return []  # kitoken puts a space in front of nothing
        # Written with other characters, a special token is found among the pieces, by `tokenizers` only.
        if _OPENING.search(part) and self._special.search("".join(self._pieces[at] for at in ids)):
            return None
        return ids


def _opened(terms: Terms) -> Any:
    """A vocabulary in kitoken.

    In the form that kitoken itself writes, it is read in a third of the time of a SentencePiece model. That form may
    change with the version: so kitoken writes one of a few pieces, and where they are found in it as `_vocabulary` has
    them, all are put in their place.
    """
    kitoken, settings = _library(), _settings(terms)

    def read(some: Terms) -> Any:
        opened = kitoken.from_sentencepiece(_sentencepiece(some))
        opened.set_config(settings)
        return opened

    plain = {*range(_LEAST // 2)}.difference(terms.added)
    few = [*terms.added, *sorted(plain, key=terms.scores.__getitem__)]  # in the order that it writes
    small = replace(
        terms, pieces=[terms.pieces[at] for at in few], kinds=terms.kinds[few], scores=terms.scores[few],
        ids={name: few.index(at) for name, at in terms.ids.items()},
    )  # fmt: skip
    head, found, tail = read(small).to_bytes().partition(_vocabulary(small))
    if found and len(terms.pieces) < 1 << 21:  # three bytes of an id
        return kitoken(head + _vocabulary(terms) + tail)
    return read(terms)


def _vocabulary(terms: Terms) -> bytes:
    """The pieces as kitoken 0.11 writes them (postcard): ids and spellings, scores, special tokens."""
    plain = np.ones(len(terms.pieces), np.bool_)
    plain[terms.added] = False
    ids = np.flatnonzero(plain)
    text, lengths = terms.spelled
    text, lengths = text[np.repeat(plain, lengths)], lengths[plain]
    starts = np.cumsum(lengths + 4) - lengths - 4
    message = np.empty(len(text) + 4 * len(ids), np.uint8)
    spelled, kept = np.ones(len(message), np.bool_), np.ones(len(message), np.bool_)
    more = (ids >= 1 << 7, ids >= 1 << 14)  # whether a second and a third byte of the id follow
    for at, column in enumerate((ids & 127 | more[0] << 7, ids >> 7 & 127 | more[1] << 7, ids >> 14, lengths)):
        message[starts + at] = column
        spelled[starts + at] = False
    message[spelled] = text
    for at, follows in enumerate(more, 1):
        kept[starts[~follows] + at] = False
    return b"".join([
        _number(len(ids)), message[kept].tobytes(), _number(len(ids)), terms.scores[plain].astype("<f4").tobytes(),
        _number(len(terms.added)), *_specials(terms),
    ])  # fmt: skip


def _specials(terms: Terms) -> Iterator[bytes]:
    """Each special token: id, spelling, kind, score, whether it is taken out of words."""
    unknown = terms.id("unk")
    for at in [unknown, *(at for at in reversed(terms.added) if at != unknown)]:
        name, kind = (" ⁇ ", b"\0\1\3unk") if at == unknown else (terms.pieces[at], b"\1\0")
        score = 1.0 if at == unknown else 1 / (at + 1)
        yield b"".join(
            [_number(at), _number(len(name.encode())), name.encode(), kind, struct.pack("<f?", score, False)]
        )


def _number(value: int) -> bytes:
    """Seven bits a byte, the last ones first."""
    parts = [value & 127]
    while value := value >> 7:
        parts[-1] |= 128
        parts.append(value & 127)
    return bytes(parts)


def _sentencepiece(terms: Terms) -> bytes:
    """The vocabulary as a SentencePiece model (a protocol buffer)."""
    kinds = np.full(len(terms.pieces), NORMAL)
    kinds[terms.added] = CONTROL
    kinds[terms.id("unk")] = UNKNOWN
    parts = [_TRAINER % (terms.id("unk"))]
    for name, score, kind in zip(terms.pieces, terms.scores.tolist(), kinds.tolist(), strict=True):
        piece = b"\x0a%c%b\x15%b\x18%c" % (len(name.encode()), name.encode(), struct.pack("<f", score), kind)
        parts.append(b"\x0a%c%b" % (len(piece), piece))
    return b"".join(parts)


def _settings(terms: Terms) -> dict[str, Any]:
    """What `tokenizers` does with a text, as kitoken says it."""
    (size,) = struct.unpack_from("<I", terms.characters)
    # `tokenizers` never looks at the last unit of the map, and kitoken ends the process where it has none: an empty one
    # is never matched.
    units = [*np.frombuffer(terms.characters, "<u4", size // 4 - 1, 4).tolist(), 0]
    return {
        "fallback": ["Unknown", "Skip"],
        "normalization": [
            {"CharsMap": {"map": {"array": units, "normalized": [*terms.characters[4 + size :]]}}},
            {"Replace": {"pattern": {"Regex": "\\s+"}, "replacement": " "}},
            {"Strip": {"character": " ", "left": 0xFFFFFFFF, "right": 0xFFFFFFFF}},
            {"Replace": {"pattern": {"Regex": " "}, "replacement": _SPACE}},
            {"Extend": {"character": _SPACE, "left": 1, "right": 0, "pad": True}},
        ],
        "split": [
            {"Pattern": {"pattern": {"Character": " "}, "behavior": "MergeRight"}},
            {"Pattern": {"pattern": {"Regex": f"{_SPACE}+"}, "behavior": "MergeRight"}},
        ],
        "processing": [{"Collapse": {"id": terms.id("unk")}}],
        "decoding": [],
        "templates": [],
    }
