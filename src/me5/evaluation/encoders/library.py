"""A model of the sentence-transformers library under test, with me5's prompts on the right side."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from me5 import catalog, fingerprint
from me5.errors import CheckpointError, MissingExtraError
from me5.evaluation.encoders.base import Float32, Prompt, prompt_of, unit
from me5.preprocessor import choose_prompts
from me5.progress import Advance
from me5.prompts import Prompts, Side, from_sentence_transformers

try:
    import sentence_transformers
except ImportError as error:
    raise MissingExtraError("evaluating its models needs the library: pip install sentence-transformers") from error

# Texts that are embedded between two moves of the progress bar.
_STEP = 1024


class LibraryEncoder:
    """See `Encoder`. No remote code is run."""

    def __init__(self, model: str, prompts: Prompts | None = None) -> None:
        self.name = f"{Path(model).name if Path(model).is_dir() else model} (sentence-transformers)"
        try:
            self._model = sentence_transformers.SentenceTransformer(model, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"sentence-transformers cannot load {model}: {error}") from error
        known = catalog.recognise(Path(model)) if Path(model).is_dir() else catalog.find(model)
        listed = from_sentence_transformers({name: text or "" for name, text in self._model.prompts.items()})
        self._prompts = choose_prompts(prompts, listed or (known.prompts if known else None), model)

    @cached_property
    def fingerprint(self) -> str:
        """See `Encoder.fingerprint`."""
        settings = {
            "library": sentence_transformers.__version__,
            "max_seq_length": self._model.max_seq_length,
            "modules": str(self._model),
        }
        return fingerprint.of_network(settings, self._model.state_dict().items())

    def prompt(self, side: Side, task: str) -> Prompt:
        """See `Encoder.prompt`."""
        return prompt_of(self._prompts, side, task)

    def embed(self, texts: Sequence[str], prompt: Prompt, advance: Advance | None = None) -> Float32:
        """See `Encoder.embed`."""
        blocks = []
        for start in range(0, len(texts), _STEP):
            step = list(texts[start : start + _STEP])
            found = self._model.encode(step, prompt=prompt.text, show_progress_bar=False, convert_to_numpy=True)
            blocks.append(unit(found, len(step), self.name))
            if advance is not None:
                advance(len(step), 0)
        dim = self._model.get_embedding_dimension() or 0
        return np.concatenate(blocks) if blocks else np.empty((0, dim), np.float32)
