"""Models under test: one contract (`base`), one file per kind, one door (`open_encoder`)."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from me5.calibration.applied import Calibration
from me5.embedder import Embedder
from me5.errors import CalibrationError, InputError, Me5Warning, caller
from me5.evaluation.encoders.base import Encoder
from me5.evaluation.encoders.cached import CachedEncoder
from me5.evaluation.encoders.checkpoint import CheckpointEncoder
from me5.prompts import STYLES

if TYPE_CHECKING:
    from me5.engine import Precision

LIBRARY = "st:"


def open_encoder(
    model: str | None,
    *,
    revision: str | None = None,
    device: str = "cpu",
    precision: "Precision" = "auto",
    threads: int | None = None,
    prompts: str | None = None,
    cache: Path | None = None,
) -> Encoder:
    """The model that a command line names.

    A me5 checkpoint (folder, hub id, None for the bundled one); `st:NAME` for sentence-transformers; or the address of
    a service, see `EndpointEncoder`, whose key is read from ME5_API_KEY. `prompts` is a style of `STYLES`.
    """
    style = STYLES[prompts] if prompts is not None else None
    elsewhere = model is not None and model.startswith((LIBRARY, "http://", "https://"))
    if elsewhere and (device != "cpu" or precision != "auto" or threads is not None or revision is not None):
        raise InputError(f"{model} is not run by me5; leave --device, --precision, --threads and --revision out")
    if model is not None and model.startswith(LIBRARY):
        from me5.evaluation.encoders.library import LibraryEncoder

        encoder: Encoder = LibraryEncoder(model.removeprefix(LIBRARY), style)
    elif elsewhere and model is not None:
        from me5.evaluation.encoders.endpoint import EndpointEncoder

        encoder = EndpointEncoder(model, prompts=style, key=os.environ.get("ME5_API_KEY"))
    else:
        embedder = Embedder.load(
            model, revision=revision, device=device, precision=precision, threads=threads, prompts=style
        )
        encoder = CheckpointEncoder(embedder)
    return CachedEncoder(encoder, cache) if cache is not None else encoder


def calibration_of(encoder: Encoder) -> Calibration | None:
    """What the cosines of a me5 checkpoint mean; None where nothing is there, or me5 does not run the model.

    One for other vectors is as good as none, and is warned of.
    """
    own = encoder.encoder if isinstance(encoder, CachedEncoder) else encoder
    if not isinstance(own, CheckpointEncoder):
        return None
    try:
        return own.embedder.calibration
    except CalibrationError as error:
        warnings.warn(f"the calibration is not judged: {error}", Me5Warning, stacklevel=caller())
        return None
