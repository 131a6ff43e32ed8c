"""mteb 2 judges me5, on its own tasks or on local files: prompts right on both sides, no hub.

    import mteb
    from me5.evaluation.mteb import MtebEncoder, local_tasks

    model = MtebEncoder(Embedder.load("intfloat/multilingual-e5-large-instruct"))
    mteb.evaluate(model, local_tasks(Path("data")), cache=None)

Needs `pip install mteb`, which brings torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from me5._version import __version__
from me5.embedder import Embedder
from me5.errors import MissingExtraError
from me5.evaluation.encoders.base import Float32
from me5.evaluation.encoders.checkpoint import CheckpointEncoder
from me5.evaluation.protocols import TWO_SIDED, TYPES, labels, sentence_of
from me5.evaluation.readers import read
from me5.evaluation.sentences import TYPE_SENTENCES, sentence_of_set
from me5.evaluation.task import (
    Bitext,
    Classification,
    Clustering,
    PairClassification,
    Reranking,
    Retrieval,
    Similarity,
    Task,
)
from me5.prompts import EVALUATION_TASKS, SIMILAR_TEXT, WEB_SEARCH, Side
from me5.reranker import Reranker

try:
    from datasets import Dataset
    from mteb.abstasks.abstask import AbsTask
    from mteb.abstasks.classification import AbsTaskClassification
    from mteb.abstasks.clustering import AbsTaskClustering
    from mteb.abstasks.pair_classification import AbsTaskPairClassification
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
    from mteb.abstasks.sts import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining
    from mteb.models import ModelMeta
    from mteb.similarity_functions import cos_sim, pairwise_cos_sim
except ImportError as error:
    raise MissingExtraError("evaluating with mteb needs its package: pip install 'mteb>=2.10'") from error

# Instruction tasks have two sides too; me5 has no protocol for them.
_SIDED = TWO_SIDED | {"InstructionRetrieval", "InstructionReranking"}
_CLASSES: Mapping[type, tuple[Any, str]] = {
    Retrieval: (AbsTaskRetrieval, "ndcg_at_10"),
    Reranking: (AbsTaskRetrieval, "map_at_1000"),
    Bitext: (AbsTaskBitextMining, "f1"),
    Similarity: (AbsTaskSTS, "cosine_spearman"),
    PairClassification: (AbsTaskPairClassification, "max_ap"),
    Classification: (AbsTaskClassification, "accuracy"),
    Clustering: (AbsTaskClustering, "v_measure"),
}


class MtebEncoder:
    """An `Embedder` as mteb's EncoderProtocol: queries carry the task's sentence, documents stay as they should."""

    def __init__(self, embedder: Embedder) -> None:
        self._encoder = CheckpointEncoder(embedder)
        self.mteb_model_meta = _meta(
            embedder.checkpoint.name,
            embedder.precision,
            embedder.max_seq_length,
            embed_dim=embedder.dim,
            use_instructions=embedder.prompts.style == "instruct",
        )

    def encode(
        self, inputs: Iterable[Mapping[str, Any]], *, task_metadata: Any, prompt_type: Any = None, **_: Any
    ) -> Float32:
        """Unit vectors (texts, dim) of mteb's batches; `hf_split`, `hf_subset` and batch sizes make no difference."""
        texts = [text for batch in inputs for text in batch["text"]]
        prompt = self._encoder.prompt(_side(task_metadata.type, prompt_type), sentence_for(task_metadata))
        return self._encoder.embed(texts, prompt)

    @staticmethod
    def similarity(left: Any, right: Any) -> Any:
        """Cosines of every left vector with every right one."""
        return cos_sim(np.asarray(left), np.asarray(right))

    @staticmethod
    def similarity_pairwise(left: Any, right: Any) -> Any:
        """Cosines of vectors row by row."""
        return pairwise_cos_sim(np.asarray(left), np.asarray(right))


class MtebReranker:
    """A `Reranker` as mteb's CrossEncoderProtocol. Scores are the raw logits; a task's sentence is not read."""

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker
        self.mteb_model_meta = _meta(
            reranker.checkpoint.name, reranker.precision, reranker.max_tokens, is_cross_encoder=True
        )

    def predict(self, inputs1: Iterable[Mapping[str, Any]], inputs2: Iterable[Mapping[str, Any]], **_: Any) -> Float32:
        """The logits (pairs,) of each query with the document in the same place of mteb's batches."""
        queries, documents = ([text for batch in inputs for text in batch["text"]] for inputs in (inputs1, inputs2))
        return self._reranker.score(zip(queries, documents, strict=True), activation="identity")


def _meta(name: str, precision: str, max_tokens: int, **fields: Any) -> ModelMeta:
    return ModelMeta.create_empty(
        {
            "name": name if name.count("/") == 1 else f"me5/{name.rpartition('/')[2]}",
            "revision": f"{precision}-me5-{__version__}",
            "max_tokens": max_tokens,
            **fields,
        }
    )


def _side(task_type: str, prompt_type: Any) -> Side:
    if task_type not in _SIDED:
        return "both"
    return "document" if getattr(prompt_type, "value", prompt_type) == "document" else "query"


def sentence_for(task_metadata: Any) -> str:
    """What the model's authors told it for this task, else what mteb's task says, else the default of the type."""
    sentence = task_metadata.prompt
    if isinstance(sentence, Mapping):
        sentence = sentence.get("query")
    kind = task_metadata.type.removeprefix("Instruction").removeprefix("Multilabel")
    fallback = EVALUATION_TASKS.get(kind, WEB_SEARCH if kind in _SIDED else SIMILAR_TEXT)
    return str(sentence_of_set(task_metadata.name) or sentence or TYPE_SENTENCES.get(kind, fallback))


def local_tasks(path: Path) -> list[AbsTask]:
    """The tasks that files hold (see `readers`) as instances of mteb's own classes, their data loaded.

    Subsets of one name and type make one task; of clustering each is a task of its own, for mteb draws texts for one
    subset after the other from the same random numbers. Raises `InputError` as `readers.read` does.
    """
    groups: dict[tuple[str, ...], list[Task]] = {}
    for task in read(path):
        subset = task.subset
        alone = subset.name if isinstance(task, Clustering) else ""
        groups.setdefault((subset.task, TYPES[type(task)], subset.split, alone), []).append(task)
    return [_local(tasks) for tasks in groups.values()]


def _local(tasks: Sequence[Task]) -> AbsTask:
    first = tasks[0]
    base, main = _CLASSES[type(first)]
    kind: Any = TYPES[type(first)]
    metadata = TaskMetadata(
        name=first.subset.task, description="From local files.", type=kind, main_score=main,
        prompt=sentence_of(first), dataset={"path": "NA", "revision": "NA"}, category="t2t", modalities=["text"],
        eval_splits=[first.subset.split], eval_langs={task.subset.name: list(task.subset.languages) for task in tasks},
        reference=None, date=None, domains=None, task_subtypes=None, license=None, annotations_creators=None,
        dialect=None, sample_creation=None, bibtex_citation="",
    )  # fmt: skip
    members: dict[str, Any] = {"metadata": metadata, "load_data": lambda _self, *_, **__: None}
    if isinstance(first, Similarity):
        scores = [score for task in tasks if isinstance(task, Similarity) for score in task.scores]
        members |= {"min_score": min(scores), "max_score": max(scores)}
    if isinstance(first, Clustering):
        members |= {
            "max_fraction_of_documents_to_embed": None,
            "max_document_to_embed": len(labels.drawn(len(first.texts))),
        }
    local: AbsTask = type("LocalTask", (base,), members)()
    local.dataset = {task.subset.name: _halves(task) for task in tasks}
    local.data_loaded = True
    return local


def _halves(task: Task) -> dict[str, Any]:
    """Split -> data, in the shape of the task's class."""
    split = task.subset.split
    if isinstance(task, Retrieval | Reranking):
        return {split: _ranked(task)}
    if isinstance(task, Classification):
        halves = (("train", task.train, task.train_labels), (split, task.test, task.test_labels))
        return {half: Dataset.from_dict({"text": list(texts), "label": list(of)}) for half, texts, of in halves}
    if isinstance(task, Clustering):
        flat = [list(of_text) if len(of_text) > 1 else of_text[0] for of_text in task.labels]
        return {split: Dataset.from_dict({"sentences": list(task.texts), "labels": flat})}
    columns: dict[str, Any] = {"sentence1": list(task.left), "sentence2": list(task.right)}
    if isinstance(task, Bitext) and task.gold is not None:  # as mteb's BUCC: a plain table, its sides of unequal length
        return {split: columns | {"gold": list(enumerate(task.gold))}}
    if isinstance(task, Similarity):
        columns["score"] = list(task.scores)
    if isinstance(task, PairClassification):
        columns["labels"] = list(task.labels)
    return {split: Dataset.from_dict(columns)}


def _ranked(task: Retrieval | Reranking) -> RetrievalSplitData:
    ids, texts = zip(*task.documents, strict=True)
    return RetrievalSplitData(
        corpus=Dataset.from_dict({"id": list(ids), "text": list(texts), "title": [""] * len(ids)}),
        queries=Dataset.from_dict({"id": list(task.queries), "text": list(task.queries.values())}),
        relevant_docs={query: dict(of_query) for query, of_query in task.relevant.items()},
        top_ranked={query: list(listed) for query, listed in task.candidates.items()}
        if isinstance(task, Reranking)
        else None,
    )
