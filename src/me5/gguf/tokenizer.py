"""Tokenizers in GGUF's terms: read from a file's settings, or from a tokenizer.json, and built.

Two kinds exist: `t5`, Unigram as XLM-RoBERTa has it, and `bert`, WordPiece. llama.cpp knows no more of them than these
terms, so what they cannot say is refused where a file is written, and assumed as XLM-RoBERTa and BERT have it where one
is read.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from me5.errors import CheckpointError
from me5.gguf.header import File
from me5.panics import panics_named
from me5.probes import SENTENCES

# llama.cpp's kinds of tokens.
NORMAL, UNKNOWN, CONTROL, USER, UNUSED = 1, 2, 3, 4, 5
_SPACE, _MASK = "▁", "<mask>"
# Whose id stands under which key. llama.cpp misspells the separator's.
_IDS = {
    "cls": "cls_token_id", "sep": "seperator_token_id", "bos": "bos_token_id", "eos": "eos_token_id",
    "unk": "unknown_token_id", "pad": "padding_token_id", "mask": "mask_token_id",
}  # fmt: skip
_PREFIX = "tokenizer.ggml."
# Besides sentences in many languages, what tokenizers of other kinds read otherwise.
_ODD = (
    "  Two  spaces,\ttabs\n\nand line breaks ", "ÉCOLE École école ﬁne ＡＢＣ ｶﾀｶﾅ", "e\u0301cole \u1ea5 ấ",
    "co-op's 3.14 (e.g.) #1/2 don't", "a <mask> b </s> <s>", "zero\u200bwidth\u00adhyphen\u00a0space", "▁word ##piece",
)  # fmt: skip


@dataclass(frozen=True)
class Terms:
    """A tokenizer: its pieces as GGUF spells them, int32 kinds, float32 scores (Unigram), the map of characters.

    `ids` has the special tokens by what they are for. `source` is named in errors.
    """

    source: Path
    model: str
    pieces: Sequence[str]
    kinds: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    characters: bytes
    ids: Mapping[str, int]

    def id(self, *names: str) -> int:
        """The id of a special token, under the first name that has one."""
        for name in names:
            if name in self.ids:
                return self.ids[name]
        raise CheckpointError(f"{self.source}: {_PREFIX}{_IDS[names[0]]} is missing, the tokenizer needs it")

    @cached_property
    def joined(self) -> str:
        """All pieces, each behind a NUL: what is asked of them together takes a fifth of the time."""
        return "\0".join(["", *self.pieces])

    @cached_property
    def spelled(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """The bytes of all pieces together, and how many each has; none may hold a NUL."""
        joined = np.frombuffer(f"{self.joined}\0".encode(), np.uint8)
        return joined[joined > 0], np.diff(np.flatnonzero(joined == 0)) - 1

    @cached_property
    def special(self) -> list[int]:
        """The ids of special tokens, in order: those that the file calls so, and those that have a purpose."""
        called = np.flatnonzero((self.kinds == CONTROL) | (self.kinds == UNKNOWN)).tolist()
        return sorted({*called, *self.ids.values()})

    @property
    def added(self) -> list[int]:
        """The ids of all tokens that are found in a text before it is normalized."""
        return sorted({*self.special, *np.flatnonzero(self.kinds == USER).tolist()})


def read(file: File) -> Terms:
    """What a file's settings say. Raises `CheckpointError` where it holds no tokenizer, or one of another kind."""
    settings = file.settings
    model = settings.get(f"{_PREFIX}model")
    if model not in ("t5", "bert"):
        raise CheckpointError(
            f"{file.path}: the tokenizer is of the kind {model!r:.60}, me5 reads 't5' (Unigram) and 'bert' (WordPiece)"
        )
    if settings.get(f"{_PREFIX}add_space_prefix", True) is not True:
        raise CheckpointError(f"{file.path}: a tokenizer without {_SPACE} in front of words is not supported")
    pieces = file.strings(f"{_PREFIX}tokens")
    kinds = file.numbers(f"{_PREFIX}token_type").astype(np.int32)
    scores = file.numbers(f"{_PREFIX}scores").astype(np.float32) if model == "t5" else np.empty(0, np.float32)
    for name, numbers in (("token types", kinds), *((("scores", scores),) if model == "t5" else ())):
        if len(numbers) != len(pieces):
            raise CheckpointError(f"{file.path}: {len(pieces):,} tokens and {len(numbers):,} {name}")
    key = f"{_PREFIX}precompiled_charsmap"
    characters = file.numbers(key).tobytes() if key in settings else b""
    return _used(Terms(file.path, model, pieces, kinds, scores, characters, _read_ids(file, len(pieces))))


def from_json(path: Path) -> Terms:
    """A tokenizer.json in GGUF's terms. Raises `CheckpointError` where they cannot say it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = content["model"].get("vocab")
    if content["model"].get("type") == "Unigram":
        model, names = "t5", [piece for piece, _ in vocabulary]
        ids = {"unk": content["model"]["unk_id"]}
        scores = [score for _, score in vocabulary]
    elif content["model"].get("type") == "WordPiece":
        model, names, scores = "bert", sorted(vocabulary, key=vocabulary.get), []
        ids = {"unk": vocabulary[content["model"]["unk_token"]]}
    else:
        raise _unsayable(path, f"its model is {content['model'].get('type')!r}, expected Unigram or WordPiece")
    kinds = np.full(len(names), NORMAL, np.int32)
    for token in content["added_tokens"]:
        if token["id"] >= len(names):
            raise _unsayable(path, f"the added token {token['content']!r} has the id {token['id']:,}, past the pieces")
        kinds[token["id"]] = CONTROL if token["special"] else USER
        if token["content"].lower() in ("<pad>", "[pad]", _MASK, "[mask]"):
            ids[token["content"].lower().strip("<>[]")] = token["id"]
    tokenizer = Tokenizer.from_str(json.dumps({**content, "truncation": None, "padding": None}))
    frame = tokenizer.encode("").ids
    if len(frame) != 2:
        raise _unsayable(path, f"it puts {len(frame)} special tokens around a text, expected 2")
    ids |= dict.fromkeys(("cls", "bos"), frame[0]) | dict.fromkeys(("sep", "eos"), frame[1])
    if model == "t5":
        kinds[ids["unk"]] = UNKNOWN
    else:
        names = [name if kinds[at] == CONTROL else _phantom(name) for at, name in enumerate(names)]
    terms = Terms(path, model, names, kinds, np.array(scores, np.float32), _characters(content["normalizer"]), ids)
    built = build(terms)
    for text in (*SENTENCES, *_ODD):
        if built.encode(text).ids != tokenizer.encode(text).ids:
            raise _unsayable(path, f"{text!r} would become other tokens")
    return terms


def build(terms: Terms) -> Tokenizer:
    """The tokenizer of these terms."""
    try:
        with panics_named(terms.source):
            return _unigram(terms) if terms.model == "t5" else _wordpiece(terms)
    except CheckpointError:
        raise
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"{terms.source}: its tokenizer cannot be built: {error}") from error


def settings(terms: Terms, rows: int) -> Mapping[str, Any]:
    """Terms as the settings of a file whose word table has so many rows; those that no token uses have a name."""
    spare = rows - len(terms.pieces)
    found: dict[str, Any] = {
        "model": terms.model,
        "pre": "default",
        "tokens": [*terms.pieces, *(f"[PAD{at}]" for at in range(len(terms.pieces), rows))],
        "token_type": [*terms.kinds.tolist(), *[UNUSED] * spare],
        "add_bos_token": True,
        "add_eos_token": True,
        **{_IDS[name]: at for name, at in terms.ids.items()},
    }
    if terms.model == "t5":
        found["scores"] = [*map(float, terms.scores), *[-10000.0] * spare]
        found["add_space_prefix"] = found["remove_extra_whitespaces"] = True
        if terms.characters:
            found["precompiled_charsmap"] = terms.characters
    return {f"{_PREFIX}{name}": value for name, value in found.items()}


def _read_ids(file: File, count: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, suffix in _IDS.items():
        value = file.settings.get(f"{_PREFIX}{suffix}")
        if value is None:
            continue
        if type(value) is not int or not 0 <= value < count:
            raise CheckpointError(f"{file.path}: {_PREFIX}{suffix} is {value!r:.60}, expected an id below {count:,}")
        found[name] = value
    return found


def _used(terms: Terms) -> Terms:
    """Without the names of rows that no token uses: as pieces they would match texts.

    Files made from a SentencePiece model, which has no mask, name its id and leave its token unused.
    """
    pieces, kinds, scores = list(terms.pieces), terms.kinds, terms.scores
    mask = terms.ids.get("mask")
    if mask is not None and kinds[mask] == UNUSED:
        pieces[mask], kinds[mask], scores[mask] = _MASK, CONTROL, 0
    used = np.flatnonzero(kinds != UNUSED)
    end = int(used[-1]) + 1 if used.size else 0
    return replace(terms, pieces=pieces[:end], kinds=kinds[:end], scores=scores[:end])


def _unigram(terms: Terms) -> Tokenizer:
    """As transformers builds XLM-RoBERTa's: split at white space, a ▁ in front of every word."""
    pieces, mask = terms.pieces, terms.ids.get("mask")
    vocabulary = [*zip(pieces, map(float, terms.scores), strict=True)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=terms.id("unk"), byte_fallback=False))
    if terms.characters:
        tokenizer.normalizer = normalizers.Precompiled(terms.characters)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(_SPACE, prepend_scheme="always", split=True)]
    )
    tokenizer.decoder = decoders.Metaspace(_SPACE, prepend_scheme="always", split=True)
    tokenizer.add_special_tokens([AddedToken(pieces[at], lstrip=at == mask, normalized=False) for at in terms.special])
    own = np.flatnonzero(terms.kinds == USER).tolist()
    tokenizer.add_tokens([AddedToken(pieces[at], normalized=False) for at in own])
    _frame(tokenizer, pieces, terms.id("bos"), terms.id("eos"))
    return tokenizer


def _wordpiece(terms: Terms) -> Tokenizer:
    """As transformers builds BERT's. GGUF spells the beginnings of words with ▁, and what follows without ##."""
    names = [
        piece if kind == CONTROL else piece[1:] if piece.startswith(_SPACE) else f"##{piece}"
        for piece, kind in zip(terms.pieces, terms.kinds, strict=True)
    ]
    unknown = names[terms.id("unk")]
    tokenizer = Tokenizer(models.WordPiece({name: at for at, name in enumerate(names)}, unk_token=unknown))
    # The file does not say whether case counts; a vocabulary with capital letters was made where it does.
    lower = not any(name.lower() != name for name, kind in zip(names, terms.kinds, strict=True) if kind == NORMAL)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(names[at], normalized=False) for at in sorted(set(terms.ids.values()))])
    _frame(tokenizer, names, terms.id("cls", "bos"), terms.id("sep", "eos"))
    return tokenizer


def _frame(tokenizer: Tokenizer, pieces: Sequence[str], before: int, after: int) -> None:
    """The special tokens around every text."""
    first, last = pieces[before], pieces[after]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} {last} $B {last}" if first == "<s>" else f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[(first, before), (last, after)],
    )


def _phantom(name: str) -> str:
    return name[2:] if name.startswith("##") else f"{_SPACE}{name}"


def _characters(normalizer: Mapping[str, Any] | None) -> bytes:
    """The map of characters of a tokenizer.json; empty where it has none."""
    steps = (normalizer or {}).get("normalizers", [normalizer or {}])
    maps = [step["precompiled_charsmap"] for step in steps if step.get("type") == "Precompiled"]
    return base64.b64decode(maps[0]) if maps else b""


def _unsayable(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{path} cannot be written into a GGUF file, where llama.cpp would read texts otherwise: {why}. Export the "
        "model to a folder"
    )
