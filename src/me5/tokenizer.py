"""Text -> token ids, with an explicit policy for what is too long, and a report of what every text had and lost.

Policies for a text longer than the model reads, each keeping the prompt and the special tokens:

    end     keep the beginning (what the model card does)
    start   keep the end
    chunk   keep everything: cut into chunks, each a sequence of its own; its vector is their token-weighted mean
    error   refuse, and name the text
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import tokenizers

from me5.errors import CheckpointError, InputError

Truncation = Literal["end", "start", "chunk", "error"]
TRUNCATIONS: tuple[Truncation, ...] = ("end", "start", "chunk", "error")


@dataclass
class Report:
    """How many tokens texts had, lost and became; grows with every call that it is passed to.

    `tokens` counts prompt and special tokens too, before truncation; `lost` the tokens that the model did not read;
    `chunks` the sequences that a text became. One number per text each, in input order.
    """

    tokens: "array[int]" = field(default_factory=lambda: array("q"))
    lost: "array[int]" = field(default_factory=lambda: array("q"))
    chunks: "array[int]" = field(default_factory=lambda: array("q"))

    def add(self, other: "Report") -> None:
        """Append the figures of another report."""
        self.tokens.extend(other.tokens)
        self.lost.extend(other.lost)
        self.chunks.extend(other.chunks)

    @property
    def texts(self) -> int:
        """The number of texts so far."""
        return len(self.tokens)

    @property
    def truncated(self) -> list[int]:
        """The index of every text that lost tokens."""
        return [index for index, lost in enumerate(self.lost) if lost]

    def __str__(self) -> str:
        summary = f"{self.texts:,} texts, {sum(self.tokens):,} tokens"
        if truncated := self.truncated:
            summary += f"; {len(truncated):,} truncated, {sum(self.lost):,} tokens lost"
        return summary


@dataclass(frozen=True)
class Prepared:
    """Texts as an engine takes them: token sequences, the text that each belongs to, and the report.

    `sequences` are int64 arrays of ids with special tokens; `owners` (sequences,) int64 rises from 0 to texts - 1.
    """

    sequences: list[npt.NDArray[np.int64]]
    owners: npt.NDArray[np.int64]
    report: Report

    @property
    def texts(self) -> int:
        """The number of texts."""
        return self.report.texts


@dataclass(frozen=True)
class Token:
    """One token of a prompted text. `start` and `end` count its characters in that text; None for a special token.

    `prompt` says that it lies within the prompt, `lost` that truncation keeps it from the model.
    """

    id: int
    piece: str
    start: int | None
    end: int | None
    special: bool
    prompt: bool
    lost: bool


class Tokenizer:
    """A tokenizer.json and the model's limit in tokens."""

    def __init__(self, path: Path, max_tokens: int, *, lower_case: bool = False) -> None:
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(f"{path} cannot be read as a tokenizer: {error}") from error
        # Published files carry limits and padding of their own (all-MiniLM-L6-v2: 128 tokens, padded to 128).
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        if lower_case:  # the prompt too, as sentence-transformers does
            steps = [tokenizers.normalizers.Lowercase(), self._tokenizer.normalizer]
            self._tokenizer.normalizer = tokenizers.normalizers.Sequence([step for step in steps if step is not None])
        self.max_tokens, self.lower_case = max_tokens, lower_case
        # The special tokens that the file's template puts around a text.
        template = self._tokenizer.encode("a")
        inner = [i for i, special in enumerate(template.special_tokens_mask) if not special]
        self._before = template.ids[: inner[0]] if inner else template.ids
        self._after = template.ids[inner[-1] + 1 :] if inner else []

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The vocabulary's own spelling of ids, special tokens included."""
        return [self._tokenizer.id_to_token(int(token)) or f"<{token}>" for token in ids]

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text that ids stand for, as near as the vocabulary tells; unknown ids stand for nothing."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=skip_special)
        return text

    @property
    def frame(self) -> tuple[list[int], list[int]]:
        """The special tokens that stand before and behind every text."""
        return self._before, self._after

    @property
    def vocabulary(self) -> int:
        """The number of ids, special and added ones included."""
        size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        return size

    def bare(self, texts: Sequence[str]) -> Iterator[tuple[list[int], int]]:
        """The ids of each text without special tokens, cut at what a text alone may have, and how many were lost."""
        room = self.max_tokens - len(self._before) - len(self._after)
        for encoding in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False):
            ids = encoding.ids
            yield ids[:room], max(len(ids) - room, 0)

    def look(self, text: str, prefix: str, truncation: Truncation, *, index: int = 0) -> list[Token]:
        """Every token of a text behind its prompt, and which of them `prepare` would cut. Errors name item `index`."""
        lost = self.prepare([text], prefix, truncation, first=index).report.lost[0]
        encoding = self._tokenizer.encode(prefix + text)
        before, end = len(self._before), len(encoding.ids) - len(self._after)
        in_prompt = self._prompt_tokens(prefix + text, len(prefix))
        first_lost = before + in_prompt if truncation == "start" else end - lost
        return [
            Token(
                id=token,
                piece=self.pieces([token])[0],
                start=None if special else span[0],
                end=None if special else span[1],
                special=bool(special),
                prompt=before <= at < before + in_prompt,
                lost=first_lost <= at < first_lost + lost,
            )
            for at, (token, span, special) in enumerate(
                zip(encoding.ids, encoding.offsets, encoding.special_tokens_mask, strict=True)
            )
        ]

    def prepare(self, texts: Sequence[str], prefix: str, truncation: Truncation, *, first: int = 0) -> Prepared:
        """Tokenize texts, each with `prefix` in front. Errors count items from `first`.

        Raises `InputError` for an item that is no valid text, or too long under the policy `error`.
        """
        if truncation not in TRUNCATIONS:
            raise InputError(f"unknown truncation {truncation!r}; expected one of {', '.join(TRUNCATIONS)}")
        for index, text in enumerate(texts):
            check_text(text, first + index)
        prompted = [prefix + text for text in texts]
        encoded = self._tokenizer.encode_batch_fast(prompted)
        sequences: list[npt.NDArray[np.int64]] = []
        owners: list[int] = []
        report = Report()
        for index, encoding in enumerate(encoded):
            ids = encoding.ids
            report.tokens.append(len(ids))
            if len(ids) <= self.max_tokens:
                kept, lost = [ids], 0
            elif truncation == "error":
                raise InputError(
                    f"text {first + index} has {len(ids):,} tokens, the model reads {self.max_tokens}; "
                    "shorten it, or choose the truncation 'end', 'start' or 'chunk'"
                )
            else:
                body = ids[len(self._before) : len(ids) - len(self._after)]
                kept, lost = self._cut(body, self._prompt_tokens(prompted[index], len(prefix)), truncation)
            report.lost.append(lost)
            report.chunks.append(len(kept))
            sequences.extend(np.array(part, np.int64) for part in kept)
            owners.extend([index] * len(kept))
        return Prepared(sequences, np.array(owners, np.int64), report)

    def _prompt_tokens(self, prompted: str, prompt_chars: int) -> int:
        """How many tokens lie within the prompt; its last space may be part of the first word behind it."""
        if not prompt_chars:
            return 0
        head = self._tokenizer.encode(prompted[: prompt_chars + 200], add_special_tokens=False)
        return sum(1 for _, end in head.offsets if end <= prompt_chars)

    def _cut(self, ids: list[int], in_prompt: int, truncation: Truncation) -> tuple[list[list[int]], int]:
        """(sequences, tokens lost) of the tokens of a text that is too long; `ids` come without special tokens."""
        prompt, body = ids[:in_prompt], ids[in_prompt:]
        room = self.max_tokens - len(self._before) - len(self._after) - len(prompt)
        if room < 1:
            raise InputError(
                f"the prompt alone has {len(prompt)} tokens and the model reads {self.max_tokens}: use a shorter task"
            )
        if truncation == "chunk":
            parts = [body[at : at + room] for at in range(0, len(body), room)]
        else:
            parts = [body[:room] if truncation == "end" else body[-room:]]
        sequences = [[*self._before, *prompt, *part, *self._after] for part in parts]
        return sequences, len(body) - sum(map(len, parts))


def texts_of(texts: str | Iterable[str]) -> Iterable[str]:
    """What is to be embedded; a string is one text.

    Raises `InputError` for what is no iterable of texts, or gives its names where its texts are meant.
    """
    if isinstance(texts, str):
        return [texts]
    kind = type(texts).__name__
    if isinstance(texts, Mapping):
        raise InputError(f"expected texts, got a {kind}, which gives its keys; pass its values: list(texts.values())")
    if hasattr(texts, "columns"):  # of pandas, polars, Arrow and others, which need not be installed
        raise InputError(f"expected texts, got a {kind}, a table; pass one of its columns, such as table['text']")
    if not isinstance(texts, Iterable) or isinstance(texts, bytes | bytearray):
        raise InputError(f"expected a string or an iterable of strings, got {kind}")
    return texts


def check_text(text: object, index: int) -> None:
    """Raise `InputError` naming the item unless it is a string of valid Unicode."""
    if not isinstance(text, str):
        raise InputError(
            f"text {index} is {_describe(text)}, expected a string; drop it, or convert it with str() if that is meant"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"text {index} holds a lone surrogate, U+{ord(text[error.start]):04X} at character {error.start}, which is "
            "no valid Unicode; the file was probably decoded with errors='surrogateescape'. Replace it, for example "
            "with text.encode('utf-8', 'replace').decode()"
        ) from error


def _describe(value: object) -> str:
    if value is None:
        return "None"
    shown = repr(value)
    return f"{type(value).__name__} ({shown if len(shown) <= 40 else shown[:37] + '...'})"
