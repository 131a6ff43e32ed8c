"""mteb 2 judges me5: an encoder that satisfies its protocol, with the prompts right on both sides.

    import mteb
    from me5.evaluation.mteb import MtebEncoder

    mteb.evaluate(MtebEncoder(Embedder.load("intfloat/multilingual-e5-large-instruct")), tasks)

Needs `pip install mteb`, which brings torch.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from me5._version import __version__
from me5.embedder import Embedder
from me5.errors import MissingExtraError
from me5.evaluation.encoder import CheckpointEncoder, Float32
from me5.prompts import EVALUATION_TASKS, SIMILAR_TEXT, WEB_SEARCH, Side

try:
    from mteb.models import ModelMeta
    from mteb.similarity_functions import cos_sim, pairwise_cos_sim
except ImportError as error:
    raise MissingExtraError("judging with mteb needs its package: pip install 'mteb>=2.10'") from error

# Of these types the two sides differ. In all others every text carries the prompt.
_TWO_SIDED = {"Retrieval", "Reranking", "InstructionRetrieval", "InstructionReranking"}


class MtebEncoder:
    """An `Embedder` as mteb's EncoderProtocol: queries carry the task's sentence, documents stay as they should."""

    def __init__(self, embedder: Embedder) -> None:
        self._encoder = CheckpointEncoder(embedder)
        name = embedder.checkpoint.name
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": name if name.count("/") == 1 else f"me5/{name.rpartition('/')[2]}",
                "revision": f"{embedder.precision}-me5-{__version__}",
                "max_tokens": embedder.max_seq_length,
                "embed_dim": embedder.dim,
                "use_instructions": embedder.prompts.style == "instruct",
            }
        )

    def encode(
        self, inputs: Iterable[Mapping[str, Any]], *, task_metadata: Any, prompt_type: Any = None, **_: Any
    ) -> Float32:
        """Unit vectors (texts, dim) of mteb's batches; `hf_split`, `hf_subset` and batch sizes make no difference."""
        texts = [text for batch in inputs for text in batch["text"]]
        prompt = self._encoder.prompt(_side(task_metadata.type, prompt_type), _sentence(task_metadata))
        return self._encoder.embed(texts, prompt)

    @staticmethod
    def similarity(left: Any, right: Any) -> Any:
        """Cosines of every left vector with every right one."""
        return cos_sim(np.asarray(left), np.asarray(right))

    @staticmethod
    def similarity_pairwise(left: Any, right: Any) -> Any:
        """Cosines of vectors row by row."""
        return pairwise_cos_sim(np.asarray(left), np.asarray(right))


def _side(task_type: str, prompt_type: Any) -> Side:
    if task_type not in _TWO_SIDED:
        return "both"
    return "document" if getattr(prompt_type, "value", prompt_type) == "document" else "query"


def _sentence(task_metadata: Any) -> str:
    """What the model's authors told it for this task, else what mteb's task says, else the default of the type."""
    told = task_metadata.prompt
    if isinstance(told, Mapping):
        told = told.get("query")
    fallback = WEB_SEARCH if task_metadata.type in _TWO_SIDED else SIMILAR_TEXT
    by_type = EVALUATION_TASKS.get(task_metadata.type, fallback)
    return str(EVALUATION_TASKS.get(task_metadata.name) or told or by_type)
