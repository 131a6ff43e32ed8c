"""mteb's own task classes, on local data, give the figures of `me5 eval`."""

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("mteb", reason="the official tool comes with: pip install mteb")
pytestmark = pytest.mark.filterwarnings("ignore")  # mteb's own, and its dependencies'

from evaluation_sets import write_records  # noqa: E402
from mteb.results import TaskResult  # noqa: E402

from me5 import Embedder, Reranker  # noqa: E402
from me5.evaluation.encoders.checkpoint import CheckpointEncoder  # noqa: E402
from me5.evaluation.mteb import MtebEncoder, MtebReranker, local_tasks, sentence_for  # noqa: E402
from me5.evaluation.protocols import TWO_SIDED, TYPES, evaluate, labels, prompts_of  # noqa: E402
from me5.evaluation.readers import read  # noqa: E402
from me5.evaluation.results import Result, write  # noqa: E402


def test_mteb_gives_the_same_figures(sets: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every kind of task, BUCC's too. Fewer draws for clustering, on both sides: 10 × 16,384 take long."""
    bucc = sets / "bucc"
    bucc.mkdir()
    (bucc / "de-en.test.de").write_text("de-1\tEs regnet.\nde-2\tGuten Morgen.\nde-3\tGute Nacht.\n", "utf-8")
    (bucc / "de-en.test.en").write_text("en-1\tGood night.\nen-2\tI am late.\nen-3\tIt is raining.\n", "utf-8")
    (bucc / "de-en.test.gold").write_text("de-1\ten-3\nde-3\ten-1\n", "utf-8")
    monkeypatch.setattr(labels, "DRAWN", 60)
    encoder, theirs_encoder = CheckpointEncoder(embedder), MtebEncoder(embedder)
    kinds = set()
    for name in sorted(path.name for path in sets.iterdir()):
        (task,), (local,) = read(sets / name), local_tasks(sets / name)
        kinds.add(type(task))
        if hasattr(local, "max_documents_per_cluster"):
            local.max_documents_per_cluster = 60
        ours = evaluate(task, encoder)
        theirs = local.evaluate(theirs_encoder, split="test", encode_kwargs={"batch_size": 4})[task.subset.name]
        shared = set(ours.scores) & set(theirs)
        assert ours.main == local.metadata.main_score
        assert ours.main in shared
        for figure in shared:
            # mteb rounds the figures of retrieval to five places, those of abstention not.
            rounded = TYPES[type(task)] in TWO_SIDED and not figure.startswith("nauc")
            expected = round(ours.scores[figure], 5) if rounded else ours.scores[figure]
            assert theirs[figure] == pytest.approx(expected, abs=1e-6), (name, figure)
        missing = {figure for figure in theirs if isinstance(theirs[figure], float)} - shared
        assert TYPES[type(task)] not in TWO_SIDED or f"nauc_{ours.main}_max" in theirs
        # Where all queries have one value, mteb divides what rounding leaves of nothing.
        left_out = ("nauc", "precision", "recall", "ap", "main_score")  # of classification, mteb's extra means
        assert not {figure for figure in missing if not figure.startswith(left_out)}, name
    assert kinds == set(TYPES)


def test_mteb_s_own_check_of_models(xlmr: Path, build_reranker) -> None:
    """Its mock tasks of every type run on both kinds of model."""
    from mteb.mocks.mock_run import mock_run

    encoder = MtebEncoder(Embedder.load(xlmr, precision="f32", prompts="instruct"))
    reranker = MtebReranker(Reranker.load(build_reranker(), precision="f32"))
    for model, least in ((encoder, 25), (reranker, 4)):
        statuses = [status for _, status in mock_run(model).items() if status is not None]
        # Retrieval without candidates is not for cross-encoders, and mteb says so.
        failed = [status for status in statuses if not isinstance(status, TaskResult)]
        assert [str(status) for status in failed if "requires top_ranked documents" not in str(status)] == []
        assert len(statuses) - len(failed) >= least
        assert model is reranker or not failed


def test_mteb_reads_the_results(sets: Path, tmp_path: Path, encoder: CheckpointEncoder) -> None:
    for name in ("retrieval", "sts", "tatoeba", "topics", "pairs", "reranking"):
        (task,) = read(sets / name)
        outcome = evaluate(task, encoder)
        prompts = tuple(prompts_of(task, encoder))
        path = write(tmp_path, Result(task.subset, TYPES[type(task)], "m", outcome, prompts, 1.0, "f", None))
        found = TaskResult.from_disk(path)
        assert found.scores["test"][0]["main_score"] == outcome.score
        assert found.get_score() == outcome.score


def test_local_tasks_have_a_subset_per_language(sets: Path) -> None:
    (sets / "tatoeba" / "fra-eng.tsv").write_text("Bonjour.\tHello.\n", "utf-8")
    (task,) = local_tasks(sets / "tatoeba")
    assert dict(task.metadata.eval_langs) == {"deu-eng": ["deu-Latn", "eng-Latn"], "fra-eng": ["fra-Latn", "eng-Latn"]}
    write_records(sets / "clusters" / "de.jsonl", [{"sentences": "x", "labels": 1}, {"sentences": "y", "labels": 2}])
    assert len(local_tasks(sets / "clusters")) == 2


@pytest.mark.parametrize(
    ("kind", "name", "prompt", "said"),
    [
        ("Classification", "Unheard", None, "Classify user passages."),
        ("MultilabelClassification", "Unheard", None, "Classify user passages."),
        ("Clustering", "Unheard", None, "Identify categories in user passages."),
        ("STS", "Unheard", None, "Retrieve semantically similar text."),
        ("BitextMining", "Unheard", {"document": "x"}, "Retrieve parallel sentences."),
        (
            "Summarization",
            "Unheard",
            None,
            "Given a news summary, retrieve other semantically similar summaries",
        ),
        ("Retrieval", "Unheard", {"query": "Find it here."}, "Find it here."),
        ("Retrieval", "Unheard", None, "Given a web search query, retrieve relevant passages that answer the query"),
        ("Classification", "EmotionClassification", "theirs", "Classify the emotion expressed in the given Twitter"),
        (
            "Retrieval",
            "MIRACLRetrievalHardNegatives.v2",
            "theirs",
            "Given a question, retrieve Wikipedia passages that answer the question",
        ),
    ],
)
def test_what_a_task_of_mteb_is_told(kind: str, name: str, prompt: object, said: str) -> None:
    assert sentence_for(SimpleNamespace(type=kind, name=name, prompt=prompt)).startswith(said)
