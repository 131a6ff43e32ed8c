"""A query and a document -> one token sequence, as cross-encoders read them; logits of sequences -> scores of pairs.

Policies for a pair longer than the model reads, each keeping the special tokens:

    end     keep the beginnings: the longer text is cut first, down to the length of the other, then both, as
            transformers does where it is told to truncate
    start   the same with the ends
    chunk   keep the whole document: cut into chunks, each beside the query; the best one's score is the pair's
    error   refuse, and name the pair
"""

import copy
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from me5 import fingerprint
from me5.checkpoint import Checkpoint
from me5.errors import CheckpointError, InputError, described
from me5.heads import Activation, Head
from me5.prepared import Prepared, Report
from me5.preprocessor import CheckpointReader, check_truncation
from me5.probes import probes
from me5.texts import check_text
from me5.tokenizer import PairFrame, Truncation
from me5.vectors import Float32

Pair = tuple[str, str]
Ids = list[int]
TokenIds = npt.NDArray[np.int64]


class PairPreprocessor(CheckpointReader):
    """A cross-encoder's checkpoint with the tokenizer and the truncation that apply to pairs of query and document.

    `max_tokens` None is the model's own limit. Safe to use from several threads. Raises `InputError` for a wrong
    setting, `CheckpointError` for a checkpoint that is not a cross-encoder with one output.
    """

    def _settle(self, checkpoint: Checkpoint, max_tokens: int | None, truncation: Truncation) -> None:
        self.head = _only_output(checkpoint)
        super()._settle(checkpoint, max_tokens, truncation)

    @cached_property
    def _frame(self) -> PairFrame:
        """It does not depend on the limit, which may change."""
        return self.tokenizer.pair_frame()

    def fingerprint(self, precision: str) -> str:
        """A fingerprint of everything that decides the logit of a pair; see `fingerprint.of_vectors`."""
        return fingerprint.of_vectors(
            self.checkpoint, precision=precision, max_tokens=self.max_tokens, truncation=self.truncation, prompts=None
        )

    def probes(self) -> Prepared:
        """Pairs of the built-in texts, each the query once and the document once; see `CheckpointReader.probes`."""
        whole = copy.copy(self)
        whole.max_tokens = self.checkpoint.config.max_tokens
        texts = probes(whole.max_tokens)
        return whole.prepare([*zip(texts, texts[1:] + texts[:1], strict=True)], truncation="end")

    def prepare(
        self,
        pairs: Sequence[Pair],
        *,
        truncation: Truncation | None = None,
        first: int = 0,
        reach: int | None = None,
    ) -> Prepared:
        """Tokenize pairs of query and document. Errors count pairs from `first`.

        Of a pair, the report counts the tokens of both texts and the special ones; `reach` is that of
        `Tokenizer.prepare`.
        """
        truncation = truncation or self.truncation
        check_truncation(truncation)
        for index, pair in enumerate(pairs, first):
            _check_pair(pair, index)
        # A query with many documents is tokenized once.
        asked = {query: f"query {index}" for index, (query, _) in reversed([*enumerate(pairs, first)])}
        queries = dict(zip(asked, self.tokenizer.read([*asked], [*asked.values()], truncation, reach), strict=True))
        names = [f"document {index}" for index in range(first, first + len(pairs))]
        documents = self.tokenizer.read([document for _, document in pairs], names, truncation, reach)
        sequences: list[TokenIds] = []
        owners: list[int] = []
        report = Report()
        step = self.checkpoint.config.type_step
        for index, ((query, _), (document_ids, left)) in enumerate(zip(pairs, documents, strict=True)):
            query_ids, query_left = queries[query]
            kept, lost = self._kept(query_ids, document_ids, truncation, first + index)
            report.tokens.append(len(query_ids) + len(document_ids) + self._frame.special)
            report.lost.append(lost)
            report.chunks.append(len(kept))
            report.unseen.append(query_left + left)
            sequences.extend(self._frame.sequence(*texts, step) for texts in kept)
            owners.extend([index] * len(kept))
        return Prepared(sequences, np.array(owners, np.int64), report)

    @staticmethod
    def merge(logits: Float32, prepared: Prepared) -> Float32:
        """One logit per pair from those of its sequences (sequences, 1): float32 (pairs,), that of its best chunk."""
        if not prepared.texts:
            return np.empty(0, np.float32)
        best: Float32 = np.maximum.reduceat(logits[:, 0], np.searchsorted(prepared.owners, np.arange(prepared.texts)))
        return best

    def scores(self, logits: Float32, activation: Activation | None = None) -> Float32:
        """Scores from logits; `activation` None is the checkpoint's own."""
        activation = activation or self.head.activation
        if activation == "identity":
            return logits
        if activation != "sigmoid":
            raise InputError(f"unknown activation {activation!r}; expected sigmoid or identity")
        # By tanh, which overflows nowhere.
        squeezed: Float32 = np.float32(0.5) * (np.float32(1) + np.tanh(np.float32(0.5) * logits))
        return squeezed

    def _kept(self, query: Ids, document: Ids, truncation: Truncation, index: int) -> tuple[list[tuple[Ids, Ids]], int]:
        """The ids of both texts in each sequence of a pair, and the number of tokens lost."""
        special = self._frame.special
        room = self.max_tokens - special
        if room < 2:
            raise InputError(f"max_tokens is {self.max_tokens}, of which {special} are special: nothing is left")
        tokens = len(query) + len(document)
        if tokens <= room:
            return [(query, document)], 0
        if truncation == "error":
            raise InputError(
                f"pair {index} has {tokens + special:,} tokens, the model reads {self.max_tokens}; shorten its "
                "document, or choose the truncation 'end', 'start' or 'chunk'"
            )
        if truncation == "chunk":
            query = query[: max(room // 2, room - len(document))]
            step = max(room - len(query), 1)
            parts = [document[at : at + step] for at in range(0, max(len(document), 1), step)]
            return [(query, part) for part in parts], tokens - len(query) - len(document)
        of_query, of_document = _longest_first(len(query), len(document), room)
        if truncation == "start":
            return [(query[len(query) - of_query :], document[len(document) - of_document :])], tokens - room
        return [(query[:of_query], document[:of_document])], tokens - room


def _longest_first(query: int, document: int, room: int) -> tuple[int, int]:
    """How many tokens of each text stay where both together are too many."""
    shorter = min(query, document)
    if shorter > room // 2:
        half = room // 2
        return (half, room - half) if query <= document else (room - half, half)
    return (query, room - query) if query <= document else (room - document, document)


def _only_output(checkpoint: Checkpoint) -> Head:
    head = checkpoint.config.head
    if head is None:
        raise CheckpointError(
            f"{checkpoint.name} is not a cross-encoder: its config.json names no class for sequence classification. "
            "Load models that embed with me5.Embedder"
        )
    if head.outputs != 1:
        raise CheckpointError(
            f"{checkpoint.name} has {head.outputs} outputs; expected a cross-encoder with one, a reranker"
        )
    return head


def _check_pair(pair: object, index: int) -> None:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InputError(f"pair {index} is {described(pair)}, expected a query and a document")
    for text, kind in zip(pair, ("query", "document"), strict=True):
        check_text(text, index, kind)
