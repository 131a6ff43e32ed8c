"""The pipeline of a reranker: the query of a request takes the place of the prompt, logits that of vectors.

It has a worker, a queue and limits of its own, so that reranking and embedding do not wait for each other.
"""

from collections.abc import Sequence
from dataclasses import replace

from me5.calibration.applied import Calibration
from me5.notices import Notices
from me5.pairs import PairPreprocessor
from me5.prepared import Prepared
from me5.service.dispatch import Observer
from me5.service.errors import Unhealthy
from me5.service.inputs import Inputs
from me5.service.pipeline import Pipeline
from me5.service.settings import ServiceSettings
from me5.service.worker import EngineOptions
from me5.vectors import Float32


class RerankingPipeline(Pipeline):
    """The cross-encoder of a service: `embed` gives the logits (texts, 1) of the inputs' query with each text.

    Raises as `Pipeline`; `start` raises `CheckpointError` for a model that is not a reranker.
    """

    def __init__(
        self, settings: ServiceSettings, observer: Observer | None = None, *, opener: str = EngineOptions.opener
    ) -> None:
        own = replace(
            settings, model=settings.reranker, revision=settings.reranker_revision, prompts="none", max_tokens=None
        )
        super().__init__(own, observer, opener=opener)
        self._pairs: PairPreprocessor | None = None

    @property
    def dim(self) -> int:
        """How many logits a pair has."""
        return 1

    @property
    def pairs(self) -> PairPreprocessor:
        """What reads pairs. Raises `Unhealthy` before it is loaded."""
        if self._pairs is None:
            raise Unhealthy("the service is starting", 5.0)
        return self._pairs

    def _open_tokenizer(self) -> None:
        self._pairs = PairPreprocessor(self._checkpoint, truncation=self._settings.truncation)

    def _find_calibration(self) -> Calibration | None:
        return None

    def _notices(self) -> Notices:
        return Notices(None, "pairs")

    def _tokenized(self, texts: Sequence[str], inputs: Inputs, first: int, reach: int | None) -> Prepared:
        pairs = [(inputs.prompt, text) for text in texts]
        return self.pairs.prepare(pairs, truncation=self._policy(inputs), first=first, reach=reach)

    def _merged(self, rows: Float32, prepared: Prepared, *, unit: bool) -> Float32:  # noqa: ARG002  logits have no norm
        return self.pairs.merge(rows, prepared)[:, None]
