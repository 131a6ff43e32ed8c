"""`me5 eval` as it is used: results in files, comparison, report, prompts, speed."""

import json
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pytest
from evaluation_sets import make_sets
from typer.testing import CliRunner

from me5 import InputError
from me5.cli import app
from me5.errors import PromptError
from me5.evaluation import results
from me5.evaluation.report import as_html
from me5.evaluation.results import Result
from me5.evaluation.task import Outcome, Subset


def run(*arguments: str) -> str:
    with warnings.catch_warnings():
        result = CliRunner().invoke(app, ["eval", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """A folder with one set of each kind."""
    return make_sets(tmp_path / "data")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a run over sets of every kind but clustering, which takes its time."""
    sets = make_sets(tmp_path_factory.mktemp("sets"))
    folder = tmp_path_factory.mktemp("results")
    paths = [str(sets / name) for name in ("retrieval", "reranking", "sts", "pairs", "tatoeba", "topics")]
    shown = run("run", *paths, "--out", str(folder), "--precision", "f32")
    assert "retrieval/small" in shown
    assert "2 queries without judgements left out" in shown
    return folder


def test_results_have_mtebs_shape_and_tell_their_prompts(out: Path) -> None:
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    names = ("pairs", "reranking", "retrieval", "sts", "tatoeba", "topics")
    assert found == [
        "BM25/reranking.json", "BM25/retrieval.json", *(f"me5-small (f32)/{name}.json" for name in names),
    ]  # fmt: skip
    told = json.loads((out / "me5-small (f32)" / "retrieval.json").read_text("utf-8"))
    (entry,) = told["scores"]["test"]
    assert entry["hf_subset"] == "small"
    assert entry["main_score"] == entry["ndcg_at_10"]
    query, document = told["me5"]["prompts"]
    assert query["text"].startswith("Instruct: Given a web search query")
    assert query["task"] == "Given a web search query, retrieve relevant passages that answer the query"
    assert document["text"] == ""
    read = {(r.model, r.subset.task): r for r in results.read(out)}
    assert read["me5-small (f32)", "pairs"].outcome.main == "max_ap"
    assert read["me5-small (f32)", "sts"].interval is not None


def test_compare(out: Path) -> None:
    shown = run("compare", str(out / "BM25"), str(out / "me5-small (f32)"))
    assert "A: BM25   B: me5-small (f32)" in shown
    told = json.loads(run("compare", str(out / "BM25"), str(out / "me5-small (f32)"), "--json"))
    assert [row["set"] for row in told["rows"]] == ["reranking/en", "retrieval/small"]
    assert told["rows"][1]["difference"] == pytest.approx(told["rows"][1]["b"] - told["rows"][1]["a"])
    same = json.loads(run("compare", *[str(out / "me5-small (f32)" / "retrieval.json")] * 2, "--json"))
    assert (same["rows"][0]["difference"], same["rows"][0]["p"]) == (0.0, 1.0)
    for paths, said in (
        ((out, out), "holds results of BM25, me5-small"),
        ((out / "BM25", out / "me5-small (f32)" / "sts.json"), "no set in common"),
        ((out / "nowhere", out), "does not exist"),
    ):
        result = CliRunner().invoke(app, ["eval", "compare", *map(str, paths)])
        assert isinstance(result.exception, InputError)
        assert said in str(result.exception)


class Page(HTMLParser):
    """Checks that a page is well-formed, and gathers what it refers to and shows."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attributes if name in ("href", "src")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_is_one_page_that_loads_nothing(out: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    run("report", str(out), "-o", str(path), "--title", "A <b>title</b>")
    text = path.read_text("utf-8")
    page = Page(text)
    assert all(link.startswith("#task-") for link in page.links)
    assert not {"script", "link", "img", "iframe", "b"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://", text)
    assert "A &lt;b&gt;title&lt;/b&gt;" in text
    for shown in ("Precision and recall", "Cosine and human score", "Failures to read", "published: LaBSE"):
        assert (shown in text) == (shown != "published: LaBSE"), shown  # its mean is of 112 languages
    table = tmp_path / "table.md"
    run("report", str(out), "-o", str(table))
    assert "| set | BM25 | me5-small (f32) |" in table.read_text("utf-8")
    result = CliRunner().invoke(app, ["eval", "report", str(out), "-o", "page.pdf"])
    assert isinstance(result.exception, InputError)


def test_published_figures_stand_beside_their_language() -> None:
    outcome = Outcome({"ndcg_at_10": 0.5}, "ndcg_at_10", {"q": 0.5})
    made = [
        Result(Subset("MIRACL", code, (languages,)), "Retrieval", "m", outcome, (), 1.0, "f", None)
        for code, languages in (("sw", "swa-Latn"), ("te", "tel-Telu"))
    ]
    text = as_html(made, "t")
    assert "published, mE5-large: 74.9" in text
    assert f"published, mE5-large: {(74.9 + 84.6) / 2:.1f}" in text


def test_command_as_json(sets: Path) -> None:
    told = json.loads(run("run", str(sets / "sts"), "--json", "--precision", "f32"))
    assert [entry["task_name"] for entry in told] == ["sts"]


def test_results_of_two_runs_stand_in_one_file(sets: Path, tmp_path: Path) -> None:
    other, out = sets / "tatoeba" / "fra-eng.tsv", tmp_path / "out"
    other.write_text("Bonjour.\tHello.\n", "utf-8")
    for name in ("deu", "fra", "deu"):
        run("run", str(sets / "tatoeba" / f"{name}-eng.tsv"), "--out", str(out), "--precision", "f32")
    (path,) = out.rglob("*.json")
    told = json.loads(path.read_text("utf-8"))
    assert sorted(entry["hf_subset"] for entry in told["scores"]["test"]) == ["deu-eng", "fra-eng"]
    assert told["evaluation_time"] == pytest.approx(sum(told["me5"]["seconds"].values()))
    assert list(path.parent.iterdir()) == [path]
    arguments = ["eval", "run", str(other), "--out", str(out), "--precision", "f32", "--task", "sts"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, InputError)
    assert "was made with another prompt: both" in str(result.exception)
    assert json.loads(path.read_text("utf-8")) == told
    path.write_text("{}", "utf-8")
    with pytest.raises(InputError, match=r"tatoeba\.json is not a result of me5 eval run"):
        results.read(out)


def test_prompts_tells_the_spread(sets: Path, xlmr: Path) -> None:
    arguments = ("--phrasing", "Find the passage", "--phrasing", "sts", "--precision", "f32")
    told = json.loads(run("prompts", str(sets / "retrieval"), *arguments, "--json"))
    (spread,) = told["spreads"]
    sentences = [phrasing["sentence"] for phrasing in spread["phrasings"]]
    own = "Given a web search query, retrieve relevant passages that answer the query"
    assert sentences == [own, "Find the passage", "Retrieve semantically similar text.", "(no prompt)"]
    means = [phrasing["mean"] for phrasing in spread["phrasings"][:-1]]
    assert spread["range"] == pytest.approx(max(means) - min(means))
    expected = json.loads(run("run", str(sets / "retrieval"), "--no-bm25", "--precision", "f32", "--json"))
    assert means[0] == expected[0]["scores"]["test"][0]["main_score"]
    shown = run("prompts", str(sets / "retrieval"), "--precision", "f32")
    assert "spread of 6 phrasings" in shown  # its own is among the known ones
    fixed = ["eval", "prompts", str(sets / "sts"), "--model", str(xlmr), "--prompts", "prefix", "--phrasing", "a b"]
    assert isinstance(CliRunner().invoke(app, fixed).exception, PromptError)


def test_speed_tells_what_is_kept(sets: Path, tmp_path: Path) -> None:
    base = tmp_path / "speed"
    precisions = ("--precision", "f32", "--precision", "int8")
    arguments = (str(sets / "sts"), str(sets / "retrieval"), *precisions, "--dim", "64", "--texts", "8")
    shown = run("speed", *arguments, "-o", str(base))
    assert "64 × binary" in shown
    told = json.loads(base.with_suffix(".json").read_text("utf-8"))
    rows = [(point["precision"], point["dim"], point["vectors"]) for point in told["points"]]
    kinds = ("float32", "int8", "binary")
    assert rows == [*(("f32", dim, kind) for dim in (384, 64) for kind in kinds), ("int8", 384, "float32")]
    assert told["points"][0]["kept"] == 1.0
    assert [point["bytes_per_vector"] for point in told["points"][:6]] == [1536, 384, 48, 256, 64, 8]
    assert all(point["tokens_per_second"] > 0 for point in told["points"])
    expected = json.loads(run("run", str(sets / "sts"), "--precision", "f32", "--json"))[0]
    assert told["points"][0]["by_task"]["sts (STS)"] == pytest.approx(
        expected["scores"]["test"][0]["main_score"], abs=1e-5
    )
    Page(base.with_suffix(".svg").read_text("utf-8"))
    assert "| f32 | 384 × float32 | 1,536 |" in base.with_suffix(".md").read_text("utf-8")
