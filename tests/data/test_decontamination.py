"""Evaluation texts leave training data, with a list of why; what is merely similar stays."""

import json
import random

import pytest

from me5.data.contract import Document, Example, Query
from me5.data.decontamination import LIST, decontaminate, evaluation_texts
from me5.data.letters import letters
from me5.data.runs import STRIDE, WINDOW, Runs
from me5.data.writing import write_dataset
from me5.errors import InputError

LONG = (
    "The old lighthouse keeper wrote every evening in a small blue book how many ships had passed the narrow strait, "
    "and which of them had answered his light."
)


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def evaluation(tmp_path):
    """A retrieval set, parallel sentences and a file of lines."""
    folder = tmp_path / "eval" / "beir" / "ships"
    (folder / "qrels").mkdir(parents=True)
    jsonl(folder / "corpus.jsonl", {"_id": "1", "title": "Lighthouse", "text": LONG}, {"_id": "2", "text": "Unjudged."})
    jsonl(folder / "queries.jsonl", {"_id": "q", "text": "Who counted ships?"})
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t1\t1\n")
    (tmp_path / "eval" / "deu-eng.tsv").write_text("Guten Morgen\tGood morning\n")
    (tmp_path / "lines.txt").write_text("\nA line of its own.\n")
    return tmp_path


def test_equal_texts_and_long_runs_go_with_their_relations(evaluation):
    clean = Example(Query("what is tea?"), Document("A drink."), source="tea")
    inside = Document(f"Found in a drawer. {LONG.upper().replace(',', ' –')} Nobody knows the rest.")
    items = [
        clean,
        Example(Query("good MORNING!"), Document("Bom dia"), source="greet"),
        Example(Query("what is in the drawer?"), inside, source="drawer"),
        Example(Query("two answers?"), inside, source="drawer"),
        Example(Query("two answers?"), Document("Another one."), source="drawer"),
        Example(Query("what is tea?"), Document("A LINE, of its own"), "negative", source="tea"),
        Document("Unjudged!"),
    ]
    dataset = write_dataset(evaluation / "set", items, step={})
    paths = [evaluation / "eval", evaluation / "lines.txt"]
    done = decontaminate(dataset, evaluation / "clean", paths)
    assert [value.text for value in done.queries()] == ["what is tea?", "two answers?"]
    assert [value.text for value in done.documents()] == ["A drink.", "Bom dia", "Another one.", "Unjudged!"]
    assert done.counts["relations"] == 2
    listed = [json.loads(line) for line in (done.folder / LIST).read_text("utf-8").splitlines()]
    told = {(row["table"], row["match"], row["place"], tuple(row["sources"])) for row in listed}
    assert told == {
        ("queries", "equal", "eval/deu-eng: right 1", ("greet",)),
        ("documents", "run", "beir/ships: document 1", ("drawer",)),
        ("documents", "equal", "line 2", ("tea",)),
    }
    assert next(row for row in listed if row["match"] == "run")["shared"] in letters(LONG)
    step = done.steps[-1]
    assert step["removed"]["queries, without a positive left"] == 1
    assert "eval/beir/ships/corpus.jsonl" in step["evaluation"][str(evaluation / "eval")]


def test_a_query_without_a_positive_takes_no_document_of_the_same_text_with_it(tmp_path):
    """A query without an instruction and a document without a title have one id where their texts are equal."""
    (tmp_path / "lines.txt").write_text("contaminated\n")
    items = [Example(Query("both"), Document("contaminated")), Example(Query("other"), Document("both"))]
    dataset = write_dataset(tmp_path / "set", items, step={})
    done = decontaminate(dataset, tmp_path / "clean", [tmp_path / "lines.txt"])
    assert [value.text for value in done.queries()] == ["other"]
    assert [value.text for value in done.documents()] == ["both"]
    assert done.counts["positive"] == 1


def test_runs_of_many_training_texts_are_boilerplate(evaluation):
    items = [Document(f"{LONG} Number {count} of many.") for count in range(4)] + [Document(LONG)]
    dataset = write_dataset(evaluation / "set", [*items, Document("Other.")], step={})
    for common, left in ((4, 6), (5, 1)):
        done = decontaminate(dataset, evaluation / f"clean{common}", [evaluation / "eval"], common=common)
        # None is equal: the evaluation text has a title in front.
        assert done.counts["documents"] == left


def test_a_whole_corpus_counts_on_demand(evaluation):
    dataset = write_dataset(evaluation / "set", [Document("Unjudged!"), Document("Other.")], step={})
    done = decontaminate(dataset, evaluation / "clean", [evaluation / "eval"], whole_corpus=True)
    assert [value.text for value in done.documents()] == ["Other."]


def test_what_a_classifier_learns_from_is_no_evaluation_text(tmp_path):
    (tmp_path / "train.tsv").write_text("x\tlearned\ny\tlearned too\n")
    (tmp_path / "test.tsv").write_text("x\tjudged\ny\tjudged too\n")
    assert [text for _, _, text in evaluation_texts(tmp_path)] == ["judged", "judged too"]


def test_nothing_to_compare_with_is_an_error(tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    dataset = write_dataset(tmp_path / "set", [Document("a")], step={})
    with pytest.raises(InputError, match="no texts in the evaluation sets"):
        decontaminate(dataset, tmp_path / "clean", [tmp_path / "empty.txt"])


def weight(text):
    return sum(2 if "぀" <= character <= "鿿" else 1 for character in text)


@pytest.mark.parametrize("alphabet", ["abcdefghijklmnopqrstuvwxyz", "天地人山川水火木金土日月あいう", "ab天地"])
def test_runs_agree_with_a_plain_search(alphabet):
    """Every shared run of the promised length is found, none is that is shorter, and what is found is there."""
    draw = random.Random(alphabet)
    known = ["".join(draw.choices(alphabet, k=draw.randrange(20, 150))) for _ in range(30)]
    looked, longest = [], []
    for _ in range(200):
        source = draw.choice(known)
        at, size = draw.randrange(len(source)), draw.randrange(5, 90)
        piece = source[at : at + size]
        looked.append("X" * draw.randrange(40) + piece + "Y" * draw.randrange(40))
        longest.append(weight(piece))
    looked.append("")
    runs = Runs()
    runs.add(known[:10])
    runs.add(known[10:])
    hits = {hit.row: hit for hit in runs.find(looked)}
    for row, size in enumerate(longest):
        if size >= WINDOW + 2 * STRIDE:
            assert row in hits
        if row in hits:
            found = looked[row][hits[row].start : hits[row].end]
            assert found in known[hits[row].known]
            assert weight(found) >= WINDOW
        elif size < WINDOW:
            assert row not in hits
    assert 20 < len(hits) < 180
    assert len(runs) == 30


def test_runs_never_reach_over_the_end_of_a_text():
    runs = Runs()
    runs.add([LONG[:40], LONG[40:]])
    assert runs.find([LONG[:40], LONG]) != []
    assert [hit.row for hit in runs.find([LONG[:40], LONG[40:80]])] == []
