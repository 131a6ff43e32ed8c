"""Hits that say the same, and several hits of one document."""

import json

import pytest

from me5 import InputError
from me5.search import Document, Hit
from me5.search.folding import folded
from me5.search.hits import Copy

LONG = (
    "The museum opens at nine and closes at six. Visitors leave their coats at the entrance, where lockers take "
    "a coin. Guided tours begin every hour in the great hall and last for about forty minutes; children are "
    "welcome on all of them, and so are dogs on a leash."
)


def hit(text, source="a.txt", *, kind="text", at=None):
    return Hit(0.5, source, "", text, 0, len(text), at, "en", kind, {}, f"{source}{at}{text}")


def left(*hits, k=10, fold=True, group=None):
    return [(one.text, one.place, [copy.place for copy in one.also]) for one in folded(hits, k, fold=fold, group=group)]


def test_equal_letters_are_the_same_whatever_the_layout():
    assert left(hit("One  two."), hit("other", "b.txt"), hit("one\ntwo", "c.pdf", kind="pdf", at=3)) == [
        ("One  two.", "a.txt", ["c.pdf, page 3"]),
        ("other", "b.txt", []),
    ]
    (one,) = folded([hit("x", "a.csv", kind="csv", at=1), hit("X", "b.txt")], 10, fold=True, group=None)
    assert one.also == (Copy("b.txt", "b.txt"),)


@pytest.mark.parametrize(
    ("better", "worse", "same"),
    [
        (LONG, LONG.replace("coats", "jackets"), True),
        (LONG, LONG.replace("nine", "9"), False),
        (LONG.replace("nine", "9"), LONG.replace("nine", "10"), False),
        ("Open from Monday to Friday.", "Open from Monday to Sunday.", False),
        # What says less than a better one is a part of it; what says more is not.
        (LONG, LONG[LONG.index("Guided") :], True),
        (LONG[LONG.index("Guided") :], LONG, False),
        ("Yes. It does.", "Yes.", False),
        (LONG, LONG.upper()[::-1], False),
        ("…", "—", False),
        ("", "", True),
        ("\ud800", "\ud800", True),
    ],
)
def test_what_repeats_a_better_one(better, worse, same):
    assert len(folded([hit(better), hit(worse, "b.txt")], 10, fold=True, group=None)) == (1 if same else 2)
    assert len(folded([hit(better), hit(worse, "b.txt")], 10, fold=False, group=None)) == 2


def test_a_place_is_named_once_and_never_beside_itself():
    hits = [hit(LONG), hit(LONG[20:]), hit(LONG, "b.txt"), hit(LONG[30:], "b.txt")]
    assert left(*hits) == [(LONG, "a.txt", ["b.txt"])]


def test_the_best_passage_of_each_document():
    """A page of a PDF is no document, a row of a table is one; a copy shows its document, as far as it goes."""
    hits = [
        hit("one", "a.pdf", kind="pdf", at=1), hit("two", "a.pdf", kind="pdf", at=2),
        hit("three", "t.csv", kind="csv", at=1), hit("four", "t.csv", kind="csv", at=2),
        hit("five", "t.csv", kind="csv", at=2),
        hit("ONE", "b.txt"), hit("six", "b.txt"),
    ]  # fmt: skip
    assert left(*hits, group="document") == [
        ("one", "a.pdf, page 1", ["b.txt"]),
        ("three", "t.csv, line 1", []),
        ("four", "t.csv, line 2", []),
    ]
    assert [text for text, _, _ in left(*hits, group="document", fold=False)] == ["one", "three", "four", "ONE"]


def test_no_more_than_asked_for_with_all_their_copies():
    assert left(hit("one"), hit("two"), hit("three"), hit("ONE", "b.txt"), k=2) == [
        ("one", "a.txt", ["b.txt"]),
        ("two", "a.txt", []),
    ]


@pytest.fixture
def copies(index):
    """Thirty copies of one text, and four documents more, one of three passages."""
    texts = [f"Rivers flow to the sea. {word}" for word in ("Slowly.", "In the end.", "With fish.")]
    documents = {f"copy-{number:02}": Document(LONG) for number in range(30)}
    documents |= {f"other-{at}": Document(text) for at, text in enumerate(texts)}
    documents["long"] = Document(
        "\n\n".join(f"The museum in town {at}. {'It opens at nine. ' * 40}" for at in range(3))
    )
    index.add_documents(documents)
    index.finish()
    return index


@pytest.mark.parametrize("by", ["both", "vectors", "words"])
def test_a_search_goes_on_behind_the_copies(copies, by):
    question = "when does the museum open?"
    hits = copies.search(question, 5, by=by)
    assert len(hits) == 5
    first = next(hit for hit in hits if hit.text == LONG)
    assert len(first.also) == 29
    assert {copy.source for copy in first.also} | {first.source} == {f"copy-{number:02}" for number in range(30)}
    grouped = copies.search(question, 5, by=by, group="document")
    assert len({hit.source for hit in grouped}) == len(grouped) == 5
    assert len(copies.search(question, 5, by=by, fold=False)) == 5
    five, eight = (copies.search(question, count, by=by, fold=False) for count in (5, 8))
    # Copies have equal scores; which of them come is open.
    assert [hit.score for hit in five] == [hit.score for hit in eight[:5]]


def test_hits_can_be_written_as_json(copies):
    from dataclasses import asdict

    (hit,) = copies.search("museum", 1)
    assert json.loads(json.dumps(asdict(hit)))["also"][0].keys() == {"source", "place"}


def test_a_group_that_there_is_not(copies):
    with pytest.raises(InputError, match="group must be 'document' or None, got 'source'"):
        copies.search("museum", group="source")
