"""Text -> token ids, with an explicit truncation policy, and a report of the tokens that every text had and lost.

Policies for a text longer than the model reads, each keeping the prompt and the special tokens:

    end     keep the beginning (what the model card does)
    start   keep the end
    chunk   keep everything: cut into chunks, each a sequence of its own; its vector is their token-weighted mean
    error   refuse, and name the text

A long text is tokenized in parts, cut between two words, where no token spans the cut: the tokens are the same, in a
hundredth of the memory. With a `reach`, no more parts are made than the policy needs.
"""

import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from me5.encoding import open_encoder
from me5.errors import InputError
from me5.panics import panics_named
from me5.prepared import Prepared, Report
from me5.texts import check_text

Truncation = Literal["end", "start", "chunk", "error"]
TRUNCATIONS: tuple[Truncation, ...] = ("end", "start", "chunk", "error")

# Characters of a part where no more is tokenized than is read: eight for each of 512 tokens. Where all is, parts are
# `_LARGE`, and so many characters are tokenized at once: the tokenizers library needs up to 160 bytes for each until
# the ids are taken out.
PART = 4096
_LARGE = 64 * PART
# Where a text may be parted: a space or line break that ends a word or sentence, before a letter or digit. Words are
# tokenized each on its own anyway; no normal form joins a letter to a space; tokens that swallow spaces, such as
# <mask>, are no letters.
_SEAM = re.compile(r"""(?<=[\w.,;:!?)\]"'。!?、…])[ \n](?=[^\W_])""")
_AT_SEAM = re.compile(f"(?={_SEAM.pattern})")
_SEAMED = ("ab cd", "Ab, c9\nDéf.", "1) 南瓜。 abc")


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


_Ids = Sequence[int] | npt.NDArray[np.int64]


@dataclass
class PairFrame:
    """Special tokens before, between and behind two texts, each with its type of token, and the types of the texts."""

    before: list[tuple[int, int]] = field(default_factory=list)
    between: list[tuple[int, int]] = field(default_factory=list)
    behind: list[tuple[int, int]] = field(default_factory=list)
    types: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def special(self) -> int:
        """The number of special tokens in a pair."""
        return len(self.before) + len(self.between) + len(self.behind)

    def sequence(self, first: _Ids, second: _Ids, type_step: int) -> npt.NDArray[np.int64]:
        """The ids of two texts as one sequence; `type_step` is that of `ModelConfig`."""
        # The types are those of tokenizer.json's template, as BERT's own tokenizer classes give them.
        before, between, behind = (
            [token + kind * type_step for token, kind in part] for part in (self.before, self.between, self.behind)
        )
        ids = np.array([*before, *first, *between, *second, *behind], np.int64)
        of_first, of_second = (kind * type_step for kind in self.types)
        ids[len(before) : len(before) + len(first)] += of_first
        at = len(before) + len(first) + len(between)
        ids[at : at + len(second)] += of_second
        return ids


class Tokenizer:
    """A tokenizer.json, or the tokenizer in a GGUF file, and the model's limit in tokens."""

    def __init__(self, path: Path, max_tokens: int, *, lower_case: bool = False) -> None:
        self.max_tokens, self.lower_case = max_tokens, lower_case
        self._encoder = open_encoder(path, lower_case=lower_case)
        self._before, self._after = self._encoder.frame
        self._seams = self._encoder.by_words and all(
            [*self._encoded([text])] == [[*chain(*self._encoded(_AT_SEAM.split(text)))]] for text in _SEAMED
        )

    def limited(self, max_tokens: int) -> "Tokenizer":
        """The same tokenizer with another limit."""
        other = copy.copy(self)
        other.max_tokens = max_tokens
        return other

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The vocabulary's own spelling of ids, special tokens included."""
        return [self._encoder.library.id_to_token(int(token)) or f"<{token}>" for token in ids]

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text that ids stand for, as closely as the vocabulary allows; unknown ids are skipped."""
        return self.decode_all([ids], skip_special=skip_special)[0]

    def decode_all(self, lists: Sequence[Sequence[int]], *, skip_special: bool = True) -> list[str]:
        """The texts of several lists of ids."""
        with panics_named(self._encoder.path):
            return list(self._encoder.library.decode_batch([*map(list, lists)], skip_special_tokens=skip_special))

    @property
    def frame(self) -> tuple[list[int], list[int]]:
        """The special tokens that stand before and behind every text."""
        return self._before, self._after

    @property
    def vocabulary(self) -> int:
        """The number of ids, special and added ones included."""
        return self._encoder.vocabulary

    def bare(self, texts: Sequence[str]) -> Iterator[tuple[list[int], int]]:
        """The ids of each text without special tokens, cut at what a text alone may have, and how many were lost."""
        room = self.max_tokens - len(self._before) - len(self._after)
        for ids in self._encoder.ids(texts):
            yield ids[:room], max(len(ids) - room, 0)

    def look(self, text: str, prefix: str, truncation: Truncation, *, index: int = 0) -> list[Token]:
        """Every token of a text behind its prompt, and which of them `prepare` would cut. Errors name item `index`."""
        lost = self.prepare([text], prefix, truncation, first=index).report.lost[0]
        # As a batch, for `encode` would keep every other thread of the process waiting.
        with panics_named(self._encoder.path):
            (encoding,) = self._encoder.library.encode_batch([prefix + text])
        before, end = len(self._before), len(encoding.ids) - len(self._after)
        in_prompt = self._encoder.tokens_of(prefix, text)
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

    def prepare(
        self, texts: Sequence[str], prefix: str, truncation: Truncation, *, first: int = 0, reach: int | None = None
    ) -> Prepared:
        """Tokenize texts, each with `prefix` in front. Errors count items from `first`.

        With a `reach` in characters, a text is tokenized as far as its policy needs only, and the report's `unseen`
        says where that was not to its end. Raises `InputError` for an item that is not valid text, too long under the
        policy `error`, or without a place to be cut within the reach.
        """
        if truncation not in TRUNCATIONS:
            raise InputError(f"unknown truncation {truncation!r}; expected one of {', '.join(TRUNCATIONS)}")
        for index, text in enumerate(texts):
            check_text(text, first + index)
        plans = [
            self._plan(text, f"text {first + index}", prefix, truncation, reach) for index, text in enumerate(texts)
        ]
        sequences: list[npt.NDArray[np.int64]] = []
        owners: list[int] = []
        report = Report()
        for index, (plan, (ids, unseen)) in enumerate(zip(plans, self._read(plans, reach), strict=True)):
            kept, lost = self._kept(ids, plan, truncation, unseen)
            report.tokens.append(len(ids) + len(self._before) + len(self._after))
            report.lost.append(lost)
            report.chunks.append(len(kept))
            report.unseen.append(unseen)
            sequences.extend(np.array([*self._before, *part, *self._after], np.int64) for part in kept)
            owners.extend([index] * len(kept))
        return Prepared(sequences, np.array(owners, np.int64), report)

    def read(
        self, texts: Sequence[str], names: Sequence[str], truncation: Truncation, reach: int | None = None
    ) -> Iterator[tuple[list[int], int]]:
        """All ids of each text, uncut and without special tokens, and how many characters were not tokenized.

        They are read as far as `prepare` would read them with this policy and `reach`; errors name a text by `names`.
        """
        plans = [self._plan(text, name, "", truncation, reach) for text, name in zip(texts, names, strict=True)]
        yield from self._read(plans, reach)

    def pair_frame(self) -> "PairFrame":
        """What the file's template puts around the two texts of a pair."""
        encoding = self._encoder.library.encode_batch([("a", "a")])[0]
        frame = PairFrame()
        parts, place = (frame.before, frame.between, frame.behind), 0
        for token, kind, text in zip(encoding.ids, encoding.type_ids, encoding.sequence_ids, strict=True):
            if text is None:
                parts[place].append((token, kind))
            else:
                place, frame.types[text] = text + 1, kind
        return frame

    @property
    def _room(self) -> int:
        """Tokens that a text and its prompt may have."""
        return self.max_tokens - len(self._before) - len(self._after)

    def _read(self, plans: Sequence["_Plan"], reach: int | None) -> Iterator[tuple[list[int], int]]:
        """The ids of each plan's text, and the characters that were not tokenized."""
        encoded = self._encoded(chain.from_iterable(plan.parts for plan in plans))
        for plan in plans:
            ids = [*chain.from_iterable(islice(encoded, len(plan.parts)))]
            yield self._completed(ids, plan, reach)

    def _encoded(self, texts: Iterable[str]) -> Iterator[list[int]]:
        """The ids of texts without special tokens; as many at once as are worth it."""
        group: list[str] = []
        chars = 0
        for text in texts:
            group.append(text)
            chars += len(text)
            if chars >= _LARGE:
                yield from self._encoder.ids(group)
                group, chars = [], 0
        yield from self._encoder.ids(group)

    def _plan(self, text: str, name: str, prefix: str, truncation: Truncation, reach: int | None) -> "_Plan":
        """The parts of a text that are needed for certain."""
        plan = _Plan(text, name, prefix, 0, len(text))
        if reach is None or truncation == "chunk":
            ends = [0, *self._seams_of(plan, reach), len(text)]
        elif truncation == "start":
            ends = [self._seam_before(plan, len(text), reach), len(text)]
        else:
            ends = [0, self._seam_behind(plan, 0, reach)]
        plan.at, plan.end = ends[0], ends[-1]
        plan.parts = [plan.part(at, end) for at, end in pairwise(ends)]
        return plan

    def _completed(self, ids: list[int], plan: "_Plan", reach: int | None) -> tuple[list[int], int]:
        """The ids of a plan's parts, and of more of its text if they do not fill the model; and the characters left."""
        while reach is not None and len(ids) <= self._room and (plan.at > 0 or plan.end < len(plan.text)):
            if plan.end - plan.at > reach:
                raise self._endless(plan, reach)
            if plan.at:
                before, plan.at = plan.at, self._seam_before(plan, plan.at, reach)
                ids = next(self._encoded([plan.part(plan.at, before)])) + ids
            else:
                behind, plan.end = plan.end, self._seam_behind(plan, plan.end, reach)
                ids = ids + next(self._encoded([plan.part(behind, plan.end)]))
        if plan.at and plan.prefix:
            head = next(self._encoded([plan.part(0, self._seam_behind(plan, 0, reach))]))
            ids = head[: self._encoder.tokens_of(plan.prefix, plan.text)] + ids
        return ids, len(plan.text) - (plan.end - plan.at)

    def _seams_of(self, plan: "_Plan", reach: int | None) -> Iterator[int]:
        """Where a text is parted that is read to its end."""
        at = 0
        while (at := self._seam_behind(plan, at, reach)) < len(plan.text):
            yield at

    def _seam_behind(self, plan: "_Plan", at: int, reach: int | None) -> int:
        """Where a part ends that begins at `at`."""
        text = plan.text
        least = at + (_LARGE if reach is None else PART)
        limit = len(text) if reach is None else least + reach
        if least < len(text) and self._seams and (seam := _SEAM.search(text, least, limit)):
            return seam.start()
        if reach is not None and limit < len(text):
            raise self._endless(plan, reach)
        return len(text)

    def _seam_before(self, plan: "_Plan", end: int, reach: int | None) -> int:
        """Where a part begins that ends before `end`."""
        low, before, width = end - PART, end - PART, 1024
        while low > 0 and self._seams:
            low, width = max(0, before - width), 4 * width
            *_, seam = [None, *_SEAM.finditer(plan.text, low, before)]
            if seam is not None:
                return seam.start()
            if reach is not None and before - low > reach:
                raise self._endless(plan, reach)
        if reach is not None and end > PART + reach:
            raise self._endless(plan, reach)
        return 0

    def _endless(self, plan: "_Plan", reach: int) -> InputError:
        return InputError(
            f"{plan.name} has {reach:,} characters in a row that cannot be cut to the {self.max_tokens:,} tokens "
            "that the model reads: they hold too few words with spaces between them. Shorten it"
        )

    def _kept(self, ids: list[int], plan: "_Plan", truncation: Truncation, unseen: int) -> tuple[list[list[int]], int]:
        """The ids of a text that the model reads, sequence by sequence; and the number of tokens lost."""
        if len(ids) <= self._room:
            return [ids], 0
        if truncation == "error":
            tokens = len(ids) + self.max_tokens - self._room
            raise InputError(
                f"{plan.name} has {'at least ' if unseen else ''}{tokens:,} tokens, the model reads "
                f"{self.max_tokens}; shorten it, or choose the truncation 'end', 'start' or 'chunk'"
            )
        return self._cut(ids, self._encoder.tokens_of(plan.prefix, plan.text), truncation)

    def _cut(self, ids: list[int], in_prompt: int, truncation: Truncation) -> tuple[list[list[int]], int]:
        """(sequences, tokens lost) of the tokens of a text that is too long; both without special tokens."""
        prompt, body = ids[:in_prompt], ids[in_prompt:]
        room = self._room - len(prompt)
        if room < 1:
            raise InputError(
                f"the prompt alone has {len(prompt)} tokens and the model reads {self.max_tokens}: use a shorter task"
            )
        if truncation == "chunk":
            parts = [body[at : at + room] for at in range(0, len(body), room)]
        else:
            parts = [body[:room] if truncation == "end" else body[-room:]]
        return [[*prompt, *part] for part in parts], len(body) - sum(map(len, parts))


@dataclass
class _Plan:
    """The part of a text, `name` in errors, that is tokenized: its characters from `at` to `end`, in `parts`."""

    text: str
    name: str
    prefix: str
    at: int
    end: int
    parts: list[str] = field(default_factory=list)

    def part(self, at: int, end: int) -> str:
        """The characters from one place to another; the first of all behind the prompt."""
        return self.text[at:end] if at else self.prefix + self.text[:end]
