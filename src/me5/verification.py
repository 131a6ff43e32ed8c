"""Check that a model is correct on this machine: against the reference engine, itself, and published scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from me5 import catalog
from me5.checkpoint import Checkpoint
from me5.embedder import Embedder
from me5.engine import Precision, open_engine
from me5.engine import precisions as precisions_of
from me5.engine.base import Engine
from me5.engine.reference import ReferenceEngine
from me5.errors import EngineError
from me5.flow import vectors_of
from me5.pairs import Pair, PairPreprocessor
from me5.prepared import Prepared
from me5.preprocessor import Preprocessor
from me5.probes import probes
from me5.prompts import NONE
from me5.vectors import Float32
from me5.weights import Weights

# The smallest cosine to the float32 reference that passes. int8 loses by design, and its loss is printed. fp8 is only
# used where it keeps 0.999.
MIN_COSINE = {"f32": 0.99999, "bf16": 0.9995, "f16": 0.9995, "int8": 0.98, "fp8": 0.9985}
# The same for a cross-encoder: the correlation of its logits, which have a scale of their own, with the reference's.
MIN_CORRELATION = {"f32": 0.99999, "bf16": 0.999, "f16": 0.999, "int8": 0.99, "fp8": 0.99}
# The smallest cosine between a text alone and the same text in a batch, on a GPU. On a CPU they are bit-identical.
MIN_ALONE = {"f32": 1 - 1e-6, "bf16": 0.9999, "f16": 0.9999, "fp8": 0.999}
# Published scores were printed by other libraries: the recording's own tolerance, and 0.5 of 100 for reduced precision.
CARD_TOLERANCE = {"f32": 0.05, "bf16": 0.5, "f16": 0.5, "int8": 2.0, "fp8": 1.0}
_GOLDEN = catalog.GOLDEN_TOLERANCE
GOLDEN_TOLERANCE = {"f32": _GOLDEN, "bf16": _GOLDEN, "f16": _GOLDEN, "int8": 0.02, "fp8": 0.02}


@dataclass(frozen=True)
class Check:
    """One measurement: what, at which precision, the figure, the threshold, and whether it passed; None: not made."""

    name: str
    precision: str
    measured: str
    wanted: str
    passed: bool | None


def verify(
    checkpoint: Checkpoint,
    precisions: Sequence[Precision] = (),
    *,
    threads: int | None = None,
    device: str = "cpu",
) -> Iterator[Check]:
    """Measure a model at each precision, by default at all that the device offers; yields checks as they are made.

    A precision that the hardware lacks is skipped, unless it is the only one: then its `EngineError` is raised. A
    cross-encoder must have one output (`CheckpointError`).
    """
    precisions = precisions or precisions_of(device)
    reference = ReferenceEngine(checkpoint)
    bare = Preprocessor(checkpoint, prompts=NONE) if checkpoint.config.head is None else PairPreprocessor(checkpoint)
    learned = bare.probes()
    prepared = learned if isinstance(bare, Preprocessor) else bare.prepare(_pairs(bare.max_tokens))
    truth: Float32 | None = None
    for precision in precisions:
        try:
            engine = open_engine(
                checkpoint, precision=precision, threads=threads, device=device, probes=learned.sequences
            )
        except EngineError:
            if len(precisions) == 1:
                raise
            continue
        if truth is None:
            truth = reference.embed(prepared.sequences)
        yield _against_reference(engine, prepared, truth)
        yield _against_itself(engine, prepared, exact=device == "cpu")
        if isinstance(bare, Preprocessor):
            yield from _against_published(Embedder.of(bare, engine))
        del engine  # one in memory at a time


def _pairs(max_tokens: int) -> list[Pair]:
    """Translations, sentences about other things, and a pair that fills the whole length."""
    texts = probes(max_tokens)
    return [(text, other) for at, text in enumerate(texts) for other in (texts[0], texts[at - 1])]


def _against_reference(engine: Engine, prepared: Prepared, truth: Float32) -> Check:
    found, precision = next(vectors_of([prepared], engine))[1], engine.precision
    likeness = _likeness(found, truth)
    if _gives_logits(engine):
        name, least = "scores beside the float32 reference", MIN_CORRELATION[precision]
        measured = f"correlation {likeness[0]:.6f}, largest difference {np.abs(found - truth).max():.4f}"
    else:
        name, least = "cosine to the float32 reference", MIN_COSINE[precision]
        measured = f"min {likeness.min():.6f}, mean {likeness.mean():.6f}"
    return Check(name, precision, measured, f"≥ {least}", bool(likeness.min() >= least))


def _gives_logits(engine: Engine) -> bool:
    return engine.dim == 1


def _likeness(found: Float32, truth: Float32) -> Float32:
    """The cosine of each vector with the other; of logits (pairs, 1) their correlation over all pairs."""
    if found.shape[1] == 1:
        return np.corrcoef(found[:, 0], truth[:, 0])[:1, 1].astype(np.float32)
    return np.asarray((found * truth).sum(axis=1))


def _against_itself(engine: Engine, prepared: Prepared, *, exact: bool) -> Check:
    """Texts alone against texts in batches: as the engine plans them, and in fours, the shortest or longest first."""
    name, precision = f"a {'pair' if _gives_logits(engine) else 'text'} alone equals it in batches", engine.precision
    sequences = prepared.sequences
    lengths = [len(ids) for ids in sequences]
    alone = np.concatenate([engine.embed([ids]) for ids in sequences])
    likeness, equal = 1.0, np.ones(len(sequences), bool)
    fours = [[order[at : at + 4] for at in range(0, len(order), 4)] for order in _by_length(lengths)]
    for batches in (engine.plan(lengths), *fours):
        again = np.empty_like(alone)
        for batch in batches:
            again[batch] = engine.embed([sequences[at] for at in batch])
        equal &= (again == alone).all(axis=1)
        likeness = min(likeness, float(_likeness(again, alone).min()))
    if exact:
        return Check(name, precision, f"{equal.sum()} of {len(equal)} to the bit", "all", bool(equal.all()))
    least = MIN_ALONE[precision]
    return Check(name, precision, f"min {likeness:.7f}", f"≥ {least}", likeness >= least)


def _by_length(lengths: Sequence[int]) -> tuple[list[int], list[int]]:
    short_first = np.argsort(lengths).tolist()
    return short_first, short_first[::-1]


def _against_published(embedder: Embedder) -> Iterator[Check]:
    known, precision = embedder.checkpoint.known, embedder.precision
    if known is not None and (other := _unlike(embedder.checkpoint, known)):
        yield Check("published scores", precision, f"not compared: {other}", "", None)
        return
    if known is not None and known.golden:
        query = embedder.encode_query([known.golden_query_prefix + catalog.GOLDEN_QUERY])
        scores = embedder.similarity(query, embedder.encode_document(catalog.GOLDEN_DOCUMENTS))[0]
        yield _difference("published golden scores", precision, scores, known.golden, GOLDEN_TOLERANCE[precision])
    if known is not None and known.card_scores:
        prompts = known.prompts.prefix("query", catalog.CARD_TASK)
        queries = embedder.encode_query([prompts + query for query in catalog.CARD_QUERIES])
        scores = embedder.similarity(queries, embedder.encode_document(catalog.CARD_DOCUMENTS)) * 100
        card = [value for row in known.card_scores for value in row]
        yield _difference("the card's scores × 100", precision, scores.ravel(), card, CARD_TOLERANCE[precision])


def _unlike(checkpoint: Checkpoint, known: catalog.KnownModel) -> str:
    """How a checkpoint of a known name differs in size, as a trimmed one does; empty where it does not.

    A pooler, which no vector depends on, is counted in published sizes and not in ours.
    """
    parameters = Weights(checkpoint.weights, checkpoint.config).parameters
    if known.parameters - parameters in (0, known.dim * (known.dim + 1)):
        return ""
    return f"it has {parameters:,} parameters, {known.id} {known.parameters:,}, as where a vocabulary was trimmed"


def _difference(name: str, precision: str, scores: Float32, wanted: Sequence[float], tolerance: float) -> Check:
    worst = float(np.abs(scores - np.array(wanted)).max())
    return Check(name, precision, f"largest difference {worst:.4f}", f"≤ {tolerance}", worst <= tolerance)
