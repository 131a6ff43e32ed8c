"""Copies go, what they related to stays; what only looks alike stays too."""

import random

import pytest

from me5.data.contract import Document, Example, Query
from me5.data.duplicates import DeduplicationSettings, deduplicate
from me5.data.letters import letters
from me5.data.writing import write_dataset
from me5.errors import InputError

WORDS = (
    "river", "stone", "bridge", "market", "winter", "letter", "garden", "silver", "window", "forest", "engine",
    "bottle", "paper", "candle", "mirror",
)  # fmt: skip


def passage(seed, words=60):
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) + str(draw.choice("abcdefgh")) for _ in range(words))


def pieces(text):
    return {letters(text)[at : at + 5] for at in range(len(letters(text)) - 4)}


def similarity(one, other):
    return len(pieces(one) & pieces(other)) / len(pieces(one) | pieces(other))


def texts(dataset, table):
    values = dataset.documents() if table == "documents" else dataset.queries()
    return [value.text for value in values]


def related(dataset):
    documents = {value.id: value.text for value in dataset.documents()}
    queries = {value.id: value.text for value in dataset.queries()}
    return {(queries[r.query_id], documents[r.document_id]): r.kind for r in dataset.relations()}


def cleaned(tmp_path, *items, near=0.8, **settings):
    dataset = write_dataset(tmp_path / "set", items, step={"step": "test"})
    return deduplicate(dataset, tmp_path / "clean", DeduplicationSettings(near, **settings))


def test_of_equal_letters_the_first_stays_and_takes_over_the_relations(tmp_path):
    tea, copy, bread = Document("A drink."), Document("a DRINK"), Document("Food.")
    one, same, other = Query("tea?"), Query("Tea"), Query("Tea", instruction="Translate")
    dataset = cleaned(
        tmp_path,
        Example(one, tea, source="a"),
        Example(same, copy, source="b"),
        Example(other, copy, source="b"),
        Example(same, bread, "negative", source="b"),
    )
    assert texts(dataset, "documents") == ["A drink.", "Food."]
    assert texts(dataset, "queries") == ["tea?", "Tea"]
    assert related(dataset) == {
        ("tea?", "A drink."): "positive", ("Tea", "A drink."): "positive", ("tea?", "Food."): "negative",
    }  # fmt: skip
    step = dataset.steps[-1]
    assert step["removed"] == {"documents": {"equal": 1, "near": 0}, "queries": {"equal": 1, "near": 0}}
    assert len(dataset.steps) == 2


def test_a_copy_of_a_positive_among_the_negatives_is_a_positive(tmp_path):
    query, document, copy = Query("tea?"), Document("A drink."), Document("A drink!")
    dataset = cleaned(tmp_path, Example(query, copy, "negative"), Example(query, document))
    assert related(dataset) == {("tea?", "A drink!"): "positive"}
    assert dataset.steps[-1]["contradictions"] == 1


def test_nearly_equal_documents_are_copies_and_others_are_not(tmp_path):
    """The truth beside it: Jaccard similarity over all pieces, computed in full."""
    originals = [passage(seed) for seed in range(40)]
    near = [text.replace("riverb", "riverz", 1) + " more" for text in originals[:20]]
    far = [
        " ".join([*text.split()[:30], *passage(1000 + seed).split()[:30]]) for seed, text in enumerate(originals[:20])
    ]
    assert min(similarity(*pair) for pair in zip(originals[:20], near, strict=True)) > 0.9
    assert max(similarity(*pair) for pair in zip(originals[:20], far, strict=True)) < 0.7
    query = Query("any")
    dataset = cleaned(tmp_path, *(Example(query, Document(text)) for text in originals + near + far))
    assert texts(dataset, "documents") == originals + far
    assert dataset.counts["positive"] == 60
    assert dataset.steps[-1]["removed"]["documents"]["near"] == 20


def test_what_is_near_a_copy_alone_stays(tmp_path):
    """A chain of small changes joins nothing that is far apart."""
    words = passage(1, 100).split()
    chain = [" ".join(["changed"] * count + words[count:]) for count in range(0, 90, 6)]
    assert min(map(similarity, chain[:8], chain[1:9])) > 0.85
    assert similarity(chain[0], chain[8]) < 0.7
    left = texts(cleaned(tmp_path, *(Document(text) for text in chain)), "documents")
    assert left[0] == chain[0]
    assert 2 < len(left) < len(chain)
    assert all(max(similarity(text, kept) for kept in left) > 0.7 for text in chain)


def test_other_numbers_other_meaning(tmp_path):
    base = passage(3) + " in the year 1984"
    dataset = cleaned(tmp_path, Document(base), Document(base.replace("1984", "1985")), Document(base + " too"))
    assert texts(dataset, "documents") == [base, base.replace("1984", "1985")]


def test_a_hard_negative_that_is_near_its_positive_stays(tmp_path):
    query, other = Query("which one?"), Query("another")
    right, wrong, copy = passage(6) + " smaller inland", passage(6) + " larger inland", passage(6) + " smaller inlands"
    dataset = cleaned(
        tmp_path,
        Example(query, Document(right)),
        Example(query, Document(wrong), "negative"),
        Example(other, Document(copy)),
    )
    assert related(dataset) == {
        ("which one?", right): "positive", ("which one?", wrong): "negative", ("another", right): "positive",
    }  # fmt: skip
    assert dataset.steps[-1]["removed"]["documents"]["near"] == 1


def test_queries_are_compared_in_full_only_when_asked(tmp_path):
    items = (Query(passage(4)), Query(passage(4) + " more"))
    assert len(texts(cleaned(tmp_path, *items), "queries")) == 2
    (tmp_path / "near").mkdir()
    assert len(texts(cleaned(tmp_path / "near", *items, near_queries=True), "queries")) == 1


def test_an_instruction_that_queries_share_does_not_make_them_alike(tmp_path):
    task, other = passage(6), passage(7)
    items = (Query("who built the bridge over the river?", task), Query("who painted the museum on the hill?", task))
    assert len(texts(cleaned(tmp_path, *items, near_queries=True, shortest_query=20), "queries")) == 2
    items = (Query("who built the bridge over the river?", task), Query("who built the bridge over the rivers?", task))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert len(texts(cleaned(tmp_path / "a", *items, near_queries=True, shortest_query=20), "queries")) == 1
    items = (items[0], Query("who built the bridge over the rivers?", other))
    assert len(texts(cleaned(tmp_path / "b", *items, near_queries=True, shortest_query=20), "queries")) == 2


def test_exact_only_and_wrong_similarity(tmp_path):
    items = (Document(passage(5)), Document(passage(5) + " more"))
    assert len(texts(cleaned(tmp_path, *items, near=None), "documents")) == 2
    with pytest.raises(InputError, match=r"near is 0.2; expected a similarity from 0.5 to 1"):
        DeduplicationSettings(0.2)
