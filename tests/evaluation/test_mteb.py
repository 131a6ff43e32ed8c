"""mteb's own task classes, on local data, give the figures of `me5 eval`."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mteb", reason="the official tool comes with: pip install mteb")
pytestmark = pytest.mark.filterwarnings("ignore")  # mteb's own, and its dependencies'

from datasets import Dataset, DatasetDict  # noqa: E402
from mteb.abstasks.classification import AbsTaskClassification  # noqa: E402
from mteb.abstasks.retrieval import AbsTaskRetrieval  # noqa: E402
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData  # noqa: E402
from mteb.abstasks.sts import AbsTaskSTS  # noqa: E402
from mteb.abstasks.task_metadata import TaskMetadata  # noqa: E402
from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining  # noqa: E402
from mteb.results import TaskResult  # noqa: E402

from me5 import Embedder  # noqa: E402
from me5.evaluation.encoder import CheckpointEncoder  # noqa: E402
from me5.evaluation.mteb import MtebEncoder  # noqa: E402
from me5.evaluation.protocols import DEFAULT_TASKS, evaluate, prompts_of  # noqa: E402
from me5.evaluation.readers import read  # noqa: E402
from me5.evaluation.results import Result, write  # noqa: E402
from me5.evaluation.task import Bitext, Classification, Retrieval, Similarity, Task  # noqa: E402
from me5.prompts import task_sentence  # noqa: E402


def metadata(task: Task, kind: str, main: str) -> TaskMetadata:
    return TaskMetadata(
        name="Local", description="local", type=kind, main_score=main, prompt=task_sentence(DEFAULT_TASKS[type(task)]),
        dataset={"path": "NA", "revision": "NA"}, category="t2t", modalities=["text"], eval_splits=["test"],
        eval_langs=["eng-Latn"], reference=None, date=None, domains=None, task_subtypes=None, license=None,
        annotations_creators=None, dialect=None, sample_creation=None, bibtex_citation="",
    )  # fmt: skip


def official(task: Task) -> Any:
    """The same task as an instance of mteb's class."""
    if isinstance(task, Retrieval):
        base, kind, main = AbsTaskRetrieval, "Retrieval", "ndcg_at_10"
        corpus = Dataset.from_list([{"id": i, "text": text, "title": ""} for i, text in task.documents.items()])
        queries = Dataset.from_list([{"id": i, "text": text} for i, text in task.queries.items()])
        judged = {query: dict(of_query) for query, of_query in task.relevant.items()}
        split = RetrievalSplitData(corpus=corpus, queries=queries, relevant_docs=judged, top_ranked=None)
        data: Any = {"default": {"test": split}}
    elif isinstance(task, Classification):
        base, kind, main = AbsTaskClassification, "Classification", "accuracy"
        halves = {"train": (task.train, task.train_labels), "test": (task.test, task.test_labels)}
        data = DatasetDict({h: Dataset.from_dict({"text": list(t), "label": list(y)}) for h, (t, y) in halves.items()})
    else:
        base, kind, main = (
            (AbsTaskBitextMining, "BitextMining", "f1")
            if isinstance(task, Bitext)
            else (AbsTaskSTS, "STS", "cosine_spearman")
        )
        columns: dict[str, Any] = {"sentence1": list(task.left), "sentence2": list(task.right)}
        if isinstance(task, Similarity):
            columns["score"] = list(task.scores)
        data = DatasetDict({"test": Dataset.from_dict(columns)})

    def load_data(self: Any, *_: Any, **__: Any) -> None:
        self.dataset, self.data_loaded = data, True

    bounds = {"min_score": 0, "max_score": 5} if kind == "STS" else {}
    members = {"metadata": metadata(task, kind, main), "load_data": load_data, **bounds}
    return type("Local", (base,), members)()


def test_mteb_gives_the_same_figures(sets: Path) -> None:
    embedder = Embedder.load(precision="f32")
    for task in read(sets):
        ours = evaluate(task, CheckpointEncoder(embedder))
        local = official(task)
        local.load_data()
        theirs = local.evaluate(MtebEncoder(embedder), split="test", encode_kwargs={"batch_size": 4})["default"]
        shared = set(ours.scores) & set(theirs)
        assert ours.main in shared
        for name in shared:
            # mteb rounds the figures of retrieval to five places.
            expected = round(ours.scores[name], 5) if isinstance(task, Retrieval) else ours.scores[name]
            assert theirs[name] == pytest.approx(expected, abs=1e-6), name


def test_mteb_reads_the_results(sets: Path, tmp_path: Path) -> None:
    encoder = CheckpointEncoder(Embedder.load(precision="f32"))
    for task in read(sets):
        outcome = evaluate(task, encoder)
        path = write(tmp_path, Result(task.subset, "m", outcome, tuple(prompts_of(task, encoder)), 1.0, None))
        (entry,) = TaskResult.from_disk(path).scores["test"]
        assert entry["main_score"] == outcome.score
