"""What the cosines of hits mean: their probability and their percentile; and which hits fit at all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from me5.calibration.applied import LEAST_PASSAGES, Calibration, check_share
from me5.calibration.background import Background
from me5.calibration.bound import Sides, Vectors
from me5.errors import CalibrationError
from me5.search import language
from me5.search.hits import Hit
from me5.search.schema import BACKGROUND_KEY, CALIBRATION_KEY
from me5.search.snapshot import Snapshot
from me5.search.store import Store
from me5.vectors import Float32


@dataclass(frozen=True)
class Fit:
    """What a hit must keep to: a probability, or a risk that the calibration has a cut for. None: anything.

    Raises `InputError` for what is not a share.
    """

    min_probability: float | None = None
    max_risk: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("min_probability", self.min_probability), ("max_risk", self.max_risk)):
            if value is not None:
                check_share(name, value)

    @property
    def asked(self) -> bool:
        """Whether anything is."""
        return self.min_probability is not None or self.max_risk is not None


ANYTHING = Fit()
_TOO_FEW = (
    "{uri} has {count} passages, and its calibration says what fits where there are at least {least}; leave out what "
    "asks for a probability or a risk, or calibrate with labelled pairs of query and document: `me5 calibrate {uri} "
    "PAIRS`"
)


@dataclass(frozen=True)
class Scale:
    """A calibration and a background, as far as there are any, for a question in a language.

    `neighbourhood` is what the question's cosines are measured against, where that is known.
    """

    calibration: Calibration | None
    background: Background | None
    language: str
    fit: Fit
    neighbourhood: float | None = None

    def of(self, hits: Sequence[Hit]) -> list[Hit]:
        """The hits that fit, with what their cosines mean."""
        cosines = np.array([np.nan if hit.cosine is None else hit.cosine for hit in hits])
        probabilities: list[float | None] = [None] * len(hits)
        if self.calibration is not None:
            probabilities = self.calibration.probability(cosines, self.neighbourhood).tolist()
        return [
            replace(hit, probability=probability, percentile=self._percentile(hit))
            for hit, probability in zip(hits, probabilities, strict=True) if self._fits(hit, probability)
        ]  # fmt: skip

    def _percentile(self, hit: Hit) -> float | None:
        if self.background is None or hit.cosine is None:
            return None
        return self.background.percentile(hit.cosine, self.language, hit.language)

    def _fits(self, hit: Hit, probability: float | None) -> bool:
        if not self.fit.asked:
            return True
        assert self.calibration is not None
        assert hit.cosine is not None
        least, risk = self.fit.min_probability, self.fit.max_risk
        enough = least is None or (probability is not None and probability >= least)
        placed = float(self.calibration.placed(hit.cosine, self.neighbourhood))
        return enough and (risk is None or placed >= self.calibration.cut(risk))


def keep(store: Store, found: Calibration | Background) -> None:
    """Keep a calibration or a background in a store. Raises `CalibrationError` for another model's."""
    settings = store.settings
    found.vectors.check(Vectors(settings.model, settings.fingerprint, settings.precision, settings.dim))
    store.keep(CALIBRATION_KEY if isinstance(found, Calibration) else BACKGROUND_KEY, found.to_json())


@dataclass(frozen=True)
class Cosines:
    """Whose cosines a search looks at: the prompts of both sides, and the calibration of the model (None: none).

    One that is `general` is of nobody's own texts, and tells only where a fit is asked for.
    """

    sides: Sides
    own: Callable[[], Calibration | None]
    general: bool = False

    def scale(self, store: Snapshot, question: str, vector: Float32 | None, fit: Fit) -> Scale | None:
        """What those of a question with this vector mean in a store; None where nothing tells.

        Its own calibration tells, else that of the model.

        Raises `CalibrationError` where a fit is asked for and there is no calibration, one for other prompts only, one
        that tells nothing in so small a store, or none that keeps the risk.
        """
        calibration = self._calibration(store, needed=fit.asked)
        neighbourhood = None
        if calibration is not None and calibration.neighbourhood is not None:
            if vector is not None and calibration.tells(store.count):
                neighbourhood = store.neighbourhood(vector)
            if neighbourhood is None:
                if fit.asked:
                    raise CalibrationError(_TOO_FEW.format(uri=store.uri, count=store.count, least=LEAST_PASSAGES))
                calibration = None
        if fit.max_risk is not None and calibration is not None:
            calibration.cut(fit.max_risk)
        background = store.background
        if background is not None and background.sides != self.sides:
            background = None
        if calibration is None and background is None:
            return None
        spoken = language.detect_question(question) if background else ""
        return Scale(calibration, background, spoken, fit, neighbourhood)

    def _calibration(self, store: Snapshot, *, needed: bool) -> Calibration | None:
        """The first that is for these prompts. Raises `CalibrationError` where there is none and one is needed."""
        refused: CalibrationError | None = None
        looks: list[Callable[[], Calibration | None]] = [lambda: store.calibration]
        if needed or not self.general:
            looks.append(self.own)
        for look in looks:
            try:
                if (found := look()) is not None:
                    found.sides.check(self.sides)
                    return found
            except CalibrationError as error:
                refused = refused or error
        if needed:
            raise refused or CalibrationError(
                f"{store.uri} has no calibration, nor has its model, so that nothing says which passages fit; make one "
                f"from labelled pairs: `me5 calibrate {store.uri} PAIRS`"
            )
        return None
