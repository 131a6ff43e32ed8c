"""Passages: they fit, they say where they stand, nothing is lost, and they end where sentences do."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from me5 import InputError
from me5.search.documents import Document, Section
from me5.search.files import Stamp
from me5.search.indexing import Indexing, Work
from me5.search.splitting import Splitter, sentences


def rows_of(index, document, kind="text"):
    """What the store gets of a document."""
    indexing = Indexing(index.store, index.embedder)
    work = Work("s", kind, "v", Stamp(1, 0), [document])
    pairs = [(work, passage) for passage in Splitter(index.embedder, 64).split(document)]
    indexing._splitter = Splitter(index.embedder, 64)
    fitted = indexing._fit(pairs)
    passages = sorted((passage for (_, passage), _ in fitted), key=lambda passage: passage.start)
    return passages, [tokens for _, tokens in fitted]


LONG = {
    "English": "K2 is tall. It rises to 8,611 metres, does it not? Yes! " * 40,
    "Chinese": "清炒南瓜丝要用嫩南瓜。先把南瓜切成细丝,再下锅翻炒。" * 60,
    "Thai": "ประเทศไทยมีภูเขาสูงหลายแห่ง " * 80,
    "no spaces": "x" * 4000,
    "emoji": "👩‍👩‍👧‍👦" * 300,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_passages_fit_and_nothing_is_lost(index, text):
    document = Document(text, "A title that is rather long " * 20)
    passages, sequences = rows_of(index, document)
    assert len(passages) > 1
    assert max(map(len, sequences)) <= 64
    assert all(text[passage.start : passage.end] == passage.text for passage in passages)
    assert all(left.end <= right.start for left, right in pairwise(passages))
    assert "".join("".join(passage.text.split()) for passage in passages) == "".join(text.split())


@settings(max_examples=25)
@given(st.text(max_size=600))
def test_any_text_is_cut_without_loss(embedder, text):
    splitter = Splitter(embedder, 16)
    passages = list(splitter.split(Document(text)))
    halves = [
        half for passage in passages for half in (splitter.halve(passage) if len(passage.text) > 1 else [passage])
    ]
    for pieces in (passages, halves):
        assert all(text[piece.start : piece.end] == piece.text for piece in pieces)
        assert "".join("".join(piece.text.split()) for piece in pieces) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "ends"), [(LONG["English"], ".?!"), (LONG["Chinese"], "。")], ids=["English", "Chinese"]
)
def test_passages_end_where_sentences_do_across_line_breaks(index, text, ends):
    wrapped = (
        "\n".join(text[at : at + 50] for at in range(0, len(text), 50))
        if " " not in text
        else text.replace(", ", ",\n")
    )
    passages, _ = rows_of(index, Document(wrapped))
    assert all(passage.text[-1] in ends for passage in passages)


def test_headings_become_titles(index):
    document = Document("Intro. Body.", "Guide", sections=(Section("", 0, 6), Section("Part: Deep", 7, 12)))
    passages, _ = rows_of(index, document)
    assert [(passage.title, passage.text) for passage in passages] == [
        ("Guide", "Intro."),
        ("Guide: Part: Deep", "Body."),
    ]
    assert passages[1].written(128) == "Guide: Part: Deep Body."


def test_a_limit_that_the_model_cannot_keep_is_refused(embedder):
    with pytest.raises(InputError, match="between 16 and 512 tokens"):
        Splitter(embedder, 513)


def test_sentences_in_many_scripts():
    text = "K2 is tall. Is it?\nYes 8,611 m. 富士山は高い。次の文。 यह एक है। दूसरा।\n\nLast"
    found = [text[start:end] for start, end in sentences(text)]
    assert found == ["K2 is tall.", "Is it?", "Yes 8,611 m.", "富士山は高い。", "次の文。", "यह एक है।", "दूसरा।", "Last"]
    assert sentences(" \n\n ") == []
