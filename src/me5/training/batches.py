"""The examples of a step -> token sequences and targets: prompts, sides, negatives and masks.

Everything drawn here follows from the seed, the step and the part of the batch, never from the process: several
processes make the same batch and each keeps its own share of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from me5.data.vectors import Vectors
from me5.errors import InputError, counted
from me5.prompts import Prompts
from me5.training import distributed
from me5.training.recipe import Data, Recipe
from me5.training.sampler import Sampler
from me5.training.targets import Targets
from me5.training.tokens import Ids, TokenStore


@dataclass(frozen=True)
class Entry:
    """An entry of the recipe's data, its store, its pairs by group, and the teacher's vector of every query."""

    data: Data
    store: TokenStore
    members: tuple[tuple[int, Ids], ...]
    vectors: Vectors | None = None


@dataclass(frozen=True)
class Batch:
    """One process's share of a step, and the targets of the whole step.

    These count queries and documents process by process, as they come together when all are gathered. `vectors`
    (documents, dim) stand in for `documents` where a teacher is learned. Of a cross-encoder, each of `documents` holds
    its query too, and `queries` are none.
    """

    queries: list[Ids]
    documents: list[Ids]
    targets: Targets
    vectors: npt.NDArray[np.float16] | None
    groups: tuple[str, ...]

    @property
    def tokens(self) -> int:
        """Of all sequences, special tokens and prompts included."""
        return sum(map(len, self.queries)) + sum(map(len, self.documents))


@dataclass(frozen=True)
class _Pair:
    """A query and a positive, by their numbers in a store, with the prompt before each side."""

    entry: Entry
    row: int
    query: int
    document: int
    swapped: bool
    prefixes: tuple[str, str]
    negatives: tuple[int, ...]

    @property
    def first(self) -> int:
        """The text on the query side."""
        return self.document if self.swapped else self.query

    @property
    def second(self) -> int:
        """The text on the document side."""
        return self.query if self.swapped else self.document


_NOTHING: Ids = np.empty(0, np.int64)


class _Document(NamedTuple):
    """A text among a batch's documents, and the number of the pair that it came with."""

    pair: int
    text: int
    negative: bool


class _Draw:
    """What steps of one kind draw from: the groups of their entries, by weight."""

    def __init__(self, recipe: Recipe, entries: Sequence[Entry], steps: int) -> None:
        self.groups = [(entry, group, rows) for entry in entries for group, rows in entry.members]
        sizes = [len(rows) for _, _, rows in self.groups]
        shares = np.concatenate([_shares(entry) for entry in entries]).tolist()
        batch = recipe.batch
        self.sampler = Sampler(sizes, shares, seed=recipe.seed, steps=steps, batch=batch.size, parts=batch.parts)


class Batches:
    """The batch of any step."""

    def __init__(
        self, recipe: Recipe, entries: Sequence[Entry], *, steps: int, prompts: Prompts,
        frame: tuple[list[int], list[int]], tokenize: Callable[[str], list[int]],
        join: Callable[[Ids, Ids], Ids] | None = None,
    ) -> None:  # fmt: skip
        """`frame` is what stands before and behind every sequence, `tokenize` gives the ids of a prompt.

        `join`, given for a cross-encoder, makes one sequence of two texts. Raises `InputError` for an instruction that
        cannot be used, and for texts that do not fit together.
        """
        self._recipe, self._prompts, self._join = recipe, prompts, join
        for entry in entries:
            if join is not None:
                self._check_room(entry.data, len(join(_NOTHING, _NOTHING)))
            if entry.data.instructions and prompts.style != "instruct":
                raise InputError(
                    f"{entry.data.dataset}: instructions are for instruct models, and this one's prompts have the "
                    f"style {prompts.style}; leave them out, or set model.prompts"
                )
            for sentence in entry.data.instructions:
                prompts.prefix("query", sentence)
        self._before, self._after = (np.array(ids, np.int64) for ids in frame)
        self._prefix = lru_cache(maxsize=4096)(lambda text: np.array(tokenize(text), np.int64))
        self._taught = np.random.default_rng((recipe.seed, 1)).random(steps) < recipe.shares()[True]
        # Steps of a kind are counted for themselves, so that no example is passed over by those of the other.
        self._turns = np.where(self._taught, np.cumsum(self._taught), np.cumsum(~self._taught)) - 1
        self._draws = {
            taught: _Draw(recipe, [entry for entry in entries if entry.data.serves(taught=taught)], int(count))
            for taught, count in ((True, self._taught.sum()), (False, (~self._taught).sum()))
            if count
        }

    def make(self, step: int) -> Batch:
        """The share of a step that is this process's."""
        taught = bool(self._taught[step])
        draw = self._draws[taught]
        pairs: list[_Pair] = []
        names = []
        for number, part in enumerate(draw.sampler.draw(int(self._turns[step]))):
            entry, group, rows = draw.groups[part.group]
            rng = np.random.default_rng((self._recipe.seed, step, number))
            pairs += self._drawn(entry, rows[part.places], rng, taught=taught)
            of_part = entry.store.groups[group]
            names.append(f"{of_part.source} {of_part.query_lang}>{of_part.document_lang}")
        if len(pairs) < distributed.world():
            raise InputError(f"step {step + 1} has {counted(len(pairs), 'pair')} for {distributed.world()} processes")
        groups = tuple(sorted(set(names)))
        if taught:
            return self._learned(pairs, np.random.default_rng((self._recipe.seed, step, len(names))), groups)
        return self._contrasted(pairs, groups)

    def _drawn(self, entry: Entry, rows: Ids, rng: np.random.Generator, *, taught: bool) -> list[_Pair]:
        """The pairs of a part: one prompt for all of them, unless a query has its own; sides change at random."""
        data, store = entry.data, entry.store
        sentence = None
        if data.instructions and rng.random() < data.prompted:
            sentence = data.instructions[int(rng.integers(len(data.instructions)))]
        if taught:
            assert self._recipe.teacher is not None
            swaps = rng.random(len(rows)) >= self._recipe.teacher.query_share
        else:
            swaps = rng.random(len(rows)) < (0.5 if data.symmetric else 0.0)
        prefixes = self._prefixes(sentence, symmetric=data.symmetric)
        drawn = []
        for row, swapped in zip(rows.tolist(), swaps.tolist(), strict=True):
            query, document, _ = store.pairs[row].tolist()
            negatives, _ = store.negatives.of(query)
            wanted = 0 if taught else min(self._recipe.batch.negatives, len(negatives))
            chosen = tuple(rng.choice(negatives, wanted, replace=False).tolist()) if wanted else ()
            text = int(store.queries[query, 0])
            drawn.append(_Pair(entry, row, text, document, swapped, prefixes, chosen))
        return drawn

    def _prefixes(self, sentence: str | None, *, symmetric: bool) -> tuple[str, str]:
        prompts = self._prompts
        if prompts.style == "instruct":
            query = prompts.prefix("query", sentence) if sentence else ""
            return query, query if symmetric else ""
        side = prompts.prefix("both" if symmetric else "query")
        return side, side if symmetric else prompts.prefix("document")

    def _sequence(self, pair: _Pair, text: int, *, query: bool) -> Ids:
        """A text with its prompt and special tokens, at most as long as the model reads."""
        data, store = pair.entry.data, pair.entry.store
        own = int(store.queries[store.pairs[pair.row, 0], 1])
        if own >= 0 and self._prompts.style == "instruct" and (query or data.symmetric):
            prefix = self._instruction(store, own)
        else:
            prefix = self._prefix(pair.prefixes[0 if query else 1])
        room = self._recipe.model.max_tokens - len(prefix) - len(self._before) - len(self._after)
        if room < 1:
            raise InputError(
                f"{data.dataset}: a prompt has {len(prefix)} tokens, the model reads {self._recipe.model.max_tokens}; "
                "shorten the instruction, or raise model.max_tokens"
            )
        limit = data.query_tokens if query else data.document_tokens
        return np.concatenate([self._before, prefix, store.text(text, min(limit, room)), self._after])

    def _check_room(self, data: Data, special: int) -> None:
        """Both texts of a pair at full length must fit, so that their own limits are all that cuts them."""
        sides, limit = (data.query_tokens, data.document_tokens), self._recipe.model.max_tokens
        needed = sum(sides) + special
        if needed > limit:
            raise InputError(
                f"{data.dataset}: query_tokens {sides[0]}, document_tokens {sides[1]} and {special} special tokens are "
                f"{needed} together, and model.max_tokens is {limit}; lower the former or raise the latter"
            )

    def _pair(self, pair: _Pair, text: int) -> Ids:
        """A query with a document, as a cross-encoder reads them."""
        assert self._join is not None
        data, store = pair.entry.data, pair.entry.store
        return self._join(store.text(pair.first, data.query_tokens), store.text(text, data.document_tokens))

    def _instruction(self, store: TokenStore, sentence: int) -> Ids:
        """The prompt of a query with an instruction of its own, which the store has as a text."""
        first, _, last = self._prompts.prefix("query", "x y").partition("x y")
        return np.concatenate([self._prefix(first), store.text(sentence, 512), self._prefix(last)])

    def _contrasted(self, pairs: Sequence[_Pair], groups: tuple[str, ...]) -> Batch:
        """Queries against documents: each query's positive, then the negatives of all, process by process."""
        laid = [document for share in _shares_of(len(pairs)) for document in _laid(pairs, share)]
        own = distributed.share(len(pairs))
        targets = Targets(
            torch.tensor([int(pair.entry.store.keys[pair.first]) for pair in pairs]),
            torch.tensor([int(pairs[document.pair].entry.store.keys[document.text]) for document in laid]),
            torch.tensor([(document.pair, place) for place, document in enumerate(laid) if not document.negative]),
            ignore=_known_elsewhere(pairs, laid),
            owners=torch.tensor([document.pair if document.negative else -1 for document in laid]),
            **self._scores(pairs, laid),
        )
        here = [(pairs[document.pair], document.text) for document in laid if document.pair in own]
        if self._join is not None:
            return Batch([], [self._pair(*one) for one in here], targets, None, groups)
        queries = [self._sequence(pairs[number], pairs[number].first, query=True) for number in own]
        documents = [self._sequence(*one, query=False) for one in here]
        return Batch(queries, documents, targets, None, groups)

    def _scores(self, pairs: Sequence[_Pair], laid: Sequence[_Document]) -> dict[str, torch.Tensor]:
        """The teacher's scores of each query's own documents, where the loss has distillation."""
        if self._recipe.loss.distillation == 0:
            return {}
        places: dict[int, list[int]] = {}  # of each pair: its positive, then its negatives
        for place, document in enumerate(laid):
            places.setdefault(document.pair, []).append(place)
        found: list[tuple[int, int, float]] = []
        for number, pair in enumerate(pairs):
            store = pair.entry.store
            known, of_known = store.negatives.of(int(store.pairs[pair.row, 0]))
            scores = dict(zip(known.tolist(), of_known.tolist(), strict=True))
            own = [float(store.scores[pair.row]), *(scores[text] for text in pair.negatives)]
            missing = len(own) - int(np.isfinite(own).sum())
            if pair.swapped or missing == len(own):
                continue  # nothing was scored for this query: it has the contrastive part alone
            if missing:
                raise InputError(
                    f"{store.facts['dataset']}: a query of source {store.groups[store.pairs[pair.row, 2]].source} has "
                    "teacher scores for some of its documents only; run `me5 data score` after mining"
                )
            found += [(number, place, score) for place, score in zip(places[number], own, strict=True)]
        if not found:
            return {}
        return {
            "teacher_pairs": torch.tensor([(query, place) for query, place, _ in found]),
            "teacher_scores": torch.tensor([score for _, _, score in found]),
        }

    def _learned(self, pairs: Sequence[_Pair], rng: np.random.Generator, groups: tuple[str, ...]) -> Batch:
        """Texts against the teacher's vectors of their query sides, and of a bank of others, process by process."""
        assert self._recipe.teacher is not None
        entry = pairs[0].entry
        assert entry.vectors is not None
        bank = np.sort(rng.integers(len(entry.vectors), size=self._recipe.teacher.bank))
        bank_keys = entry.store.keys[entry.store.queries[bank, 0]]
        keys = np.array([pair.entry.store.keys[pair.query] for pair in pairs], np.int64)
        document_keys: list[npt.NDArray[np.int64]] = []
        positives: list[tuple[int, int]] = []
        for share, of_bank in zip(_shares_of(len(pairs)), _shares_of(len(bank)), strict=True):
            first = sum(map(len, document_keys))
            positives += [(number, first + at) for at, number in enumerate(share)]
            document_keys += [keys[share.start : share.stop], bank_keys[of_bank.start : of_bank.stop]]
        here = [pairs[number] for number in distributed.share(len(pairs))]
        own = distributed.share(len(bank))
        return Batch(
            [self._sequence(pair, pair.first, query=True) for pair in here],
            [],
            Targets(torch.from_numpy(keys), torch.from_numpy(np.concatenate(document_keys)), torch.tensor(positives)),
            np.concatenate([_vectors_of(here), entry.vectors.take(bank[own.start : own.stop])]),
            groups,
        )


def _shares_of(count: int) -> list[range]:
    """The share of each process in so many things."""
    return [distributed.share(count, rank) for rank in range(distributed.world())]


def _laid(pairs: Sequence[_Pair], share: range) -> list[_Document]:
    """The documents of a process, in order: the positives of its pairs, then the negatives of those not swapped."""
    positives = [_Document(number, pairs[number].second, negative=False) for number in share]
    negatives = [
        _Document(number, text, negative=True)
        for number in share
        if not pairs[number].swapped
        for text in pairs[number].negatives
    ]
    return positives + negatives


def _vectors_of(pairs: Sequence[_Pair]) -> npt.NDArray[np.float16]:
    """The teacher's vectors of the query sides of some pairs."""
    places: dict[int, list[int]] = {}
    for place, pair in enumerate(pairs):
        places.setdefault(id(pair.entry.vectors), []).append(place)
    taken = []
    for of_entry in places.values():
        entry = pairs[of_entry[0]].entry
        assert entry.vectors is not None
        taken.append(entry.vectors.take(entry.store.pairs[[pairs[place].row for place in of_entry], 0]))
    order = np.argsort(np.concatenate(list(places.values())))
    vectors: npt.NDArray[np.float16] = np.concatenate(taken)[order]
    return vectors


def chosen(data: Data, store: TokenStore, *, ranks: bool = False) -> tuple[tuple[int, Ids], ...]:
    """The pairs of a store that an entry asks for, by group. Raises `InputError` where there are none.

    `ranks`: for a cross-encoder, which learns nothing from a query without a hard negative.
    """
    for name, wanted, present in (
        ("source", data.sources, {group.source for group in store.groups}),
        ("language", data.languages, {lang for g in store.groups for lang in (g.query_lang, g.document_lang)}),
    ):
        unknown = sorted(set(wanted or ()) - present)
        if unknown:
            raise InputError(f"{data.dataset} has no {name} {', '.join(unknown)}; it has {', '.join(sorted(present))}")
    usable = _with_negatives(data, store) if ranks else np.ones(len(store), bool)
    found = []
    for number, group in enumerate(store.groups):
        if data.sources is not None and group.source not in data.sources:
            continue
        if data.languages is not None and not {group.query_lang, group.document_lang} <= set(data.languages):
            continue
        rows = store.members[number][usable[store.members[number]]]
        if data.longest is not None:
            sides = store.queries[store.pairs[rows, 0], 0], store.pairs[rows, 1]
            rows = rows[np.maximum(*(store.lengths(side) for side in sides)) <= data.longest]
        if len(rows):
            found.append((number, rows))
    if not found:
        raise InputError(f"{data.dataset} has no pair that fits sources, languages and longest of its entry")
    return tuple(found)


def _with_negatives(data: Data, store: TokenStore) -> npt.NDArray[np.bool_]:
    """Whether the query of each pair has a hard negative."""
    hard = np.diff(store.negatives.starts) > 0
    if not hard.any():
        raise InputError(f"{data.dataset} has no hard negatives, and a cross-encoder needs them; see `me5 data mine`")
    of_pairs: npt.NDArray[np.bool_] = hard[store.pairs[:, 0]]
    return of_pairs


def _shares(entry: Entry) -> npt.NDArray[np.float64]:
    sizes = np.array([len(rows) for _, rows in entry.members], np.float64)
    powers = sizes**entry.data.alpha
    shares: npt.NDArray[np.float64] = powers * entry.data.weight / powers.sum()
    return shares


def _known_elsewhere(pairs: Sequence[_Pair], laid: Sequence[_Document]) -> torch.Tensor:
    """(query, document) of the batch where the document is known to be right for the query, or not to be judged."""
    # Of each text: where it is a document, and where a swapped pair made a query of it.
    places: dict[tuple[int, int], list[int]] = {}
    asked: dict[tuple[int, int], list[int]] = {}
    positive: dict[int, int] = {}
    for place, document in enumerate(laid):
        pair = pairs[document.pair]
        places.setdefault((id(pair.entry.store), document.text), []).append(place)
        if not document.negative:
            positive[document.pair] = place
            if pair.swapped:
                asked.setdefault((id(pair.entry.store), pair.first), []).append(document.pair)
    found = []
    for number, pair in enumerate(pairs):
        store, own = pair.entry.store, positive[number]
        known, _ = store.known.of(int(store.pairs[pair.row, 0]))
        for text in known.tolist():
            if pair.swapped:  # the query stands among the documents, the documents that answer it among the queries
                found += [(other, own) for other in asked.get((id(store), text), []) if other != number]
            else:
                found += [(number, place) for place in places.get((id(store), text), []) if place != own]
    return torch.tensor(found, dtype=torch.int64).reshape(-1, 2)
