"""A token store says what the tokenizer says, and is made once."""

import numpy as np
import pytest
import tiny

from me5.data.contract import Document, Example, Query
from me5.data.dataset import TEXT_TABLES, Dataset
from me5.data.jobs import Workspace
from me5.data.texts import lay_out
from me5.data.writing import write_dataset
from me5.errors import InputError
from me5.tokenizer import Tokenizer
from me5.training.batches import chosen
from me5.training.recipe import Data
from me5.training.tokens import TokenStore, open_store


def opened(workshop, folder, *, max_tokens: int = 128, lower_case: bool = False) -> tuple[TokenStore, Tokenizer, list]:
    file = workshop / "tokenizer" / "tokenizer.json"
    tokenizer = Tokenizer(file, max_tokens, lower_case=lower_case)
    told: list[tuple[int, int]] = []
    store = open_store(
        Dataset.open(workshop / "data"), file, tokenizer, folder, advance=lambda *counts: told.append(counts)
    )
    return store, tokenizer, told


def test_texts_are_those_of_the_tokenizer(workshop, tmp_path) -> None:
    store, tokenizer, told = opened(workshop, tmp_path)
    dataset = Dataset.open(workshop / "data")
    documents = [document.whole for document in dataset.documents()]
    queries = [query.text for query in dataset.queries()]
    texts = documents + queries + [tiny.OWN]
    found = sorted(store.text(number, 1000).tolist() for number in range(len(texts)))
    assert found == sorted(ids for ids, _ in tokenizer.bare(texts))
    assert sum(count for count, _ in told) == len(texts)
    assert sum(count for _, count in told) == store.facts["tokens"]
    for number, text in enumerate(queries):
        assert store.text(store.queries[number, 0], 5).tolist() == next(tokenizer.bare([text]))[0][:5]
    rows = np.arange(len(texts))
    assert store.lengths(rows).tolist() == [len(store.text(row, 1000)) for row in rows]
    assert store.facts["truncated"] == 0
    assert len(store) == len(tiny.QUESTIONS) + len(tiny.SECOND) + len(tiny.LEFT)


def test_what_belongs_to_whom(workshop, tmp_path) -> None:
    store, tokenizer, _ = opened(workshop, tmp_path)

    def text(number: int) -> tuple[int, ...]:
        return tuple(store.text(number, 1000).tolist())

    def ids(told: str) -> tuple[int, ...]:
        return tuple(next(tokenizer.bare([told]))[0])

    query = next(q for q in range(len(store.queries)) if text(store.queries[q, 0]) == ids(tiny.QUESTIONS[1]))
    assert {text(number) for number in store.known.of(query)[0]} == {ids(tiny.ANSWERS[number]) for number in (1, 2)}
    assert {text(number) for number in store.negatives.of(query)[0]} == {
        ids(tiny.ANSWERS[number]) for number in tiny.negatives_of(1)
    }
    own = next(q for q in range(len(store.queries)) if text(store.queries[q, 0]) == ids(tiny.QUESTIONS[tiny.WITH_OWN]))
    assert text(store.queries[own, 1]) == ids(tiny.OWN)
    assert store.queries[query, 1] == -1
    assert [(group.source, group.query_lang, group.document_lang) for group in store.groups] == [
        ("parallel", "de", "en"),
        ("qa", "en", "en"),
    ]
    assert [len(rows) for rows in store.members] == [len(tiny.LEFT), len(tiny.QUESTIONS) + len(tiny.SECOND)]


def test_it_is_made_once_for_a_tokenizer_and_a_length(workshop, tmp_path) -> None:
    first, _, told = opened(workshop, tmp_path)
    again, _, none = opened(workshop, tmp_path)
    assert told
    assert not none
    assert again.folder == first.folder
    assert again.keys.tolist() == first.keys.tolist()
    cut, _, told = opened(workshop, tmp_path, max_tokens=12)
    assert told
    assert cut.folder != first.folder
    assert cut.facts["truncated"] == int((first.lengths(np.arange(first.facts["texts"])) > 10).sum()) > 0
    lower, _, _ = opened(workshop, tmp_path, lower_case=True)
    assert lower.folder not in (first.folder, cut.folder)


def test_the_same_text_is_the_same_to_mining_and_to_the_loss(workshop, tmp_path) -> None:
    examples = [
        Example(Query("What?", instruction="Find."), Document("The answer.", title="One")),
        Example(Query("what"), Document("the ANSWER", title="Two")),
        Example(Query("the answer!"), Document("Another.")),
    ]
    dataset = write_dataset(tmp_path / "data", examples, step={})
    file = workshop / "tokenizer" / "tokenizer.json"
    store = open_store(dataset, file, Tokenizer(file, 128), tmp_path, advance=lambda *counts: None)
    documents, queries = (lay_out(dataset, table, Workspace(tmp_path / "job")).keys for table in TEXT_TABLES)
    assert store.keys[: len(documents)].tolist() == documents.tolist()
    assert store.keys[store.queries[:, 0]].tolist() == queries.tolist()
    assert documents[0] == documents[1] == queries[2] != documents[2]
    assert queries[0] == queries[1]


def test_entries_choose_sources_languages_and_lengths(workshop, tmp_path) -> None:
    store, _, _ = opened(workshop, tmp_path)

    def rows(**wanted: object) -> list[int]:
        found = chosen(Data(dataset=workshop / "data", **wanted), store)
        return sorted(int(row) for _, rows in found for row in rows)

    assert len(rows()) == len(store)
    assert len(rows(sources=("parallel",))) == len(tiny.LEFT)
    assert len(rows(languages=("en",))) == len(tiny.QUESTIONS) + len(tiny.SECOND)
    assert 0 < len(rows(longest=20)) < len(store)
    with pytest.raises(InputError, match="has no source q; it has parallel, qa"):
        rows(sources=("q",))
    with pytest.raises(InputError, match="has no language fr; it has de, en"):
        rows(languages=("fr",))
    with pytest.raises(InputError, match="no pair that fits"):
        rows(sources=("parallel",), languages=("en",))
