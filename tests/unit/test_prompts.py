"""Prompts byte for byte: every style, side and task; what is refused; what texts carry already."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import E5_PROMPTS, SENTENCES, XLMR
from vectors import load, sentence_transformer

from me5 import TASKS, Embedder, Prompts, PromptWarning
from me5.errors import PromptError
from me5.prompts import E5_PREFIX, EVALUATION_TASKS, INSTRUCT, NONE, from_sentence_transformers

WEB = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
SIMILAR = "Instruct: Retrieve semantically similar text.\nQuery: "
NAMED = Prompts("prefix", query="Q: ", document="D: ", both="S: ", named={"query": "Q: ", "clustering": "C: "})

EXPECTED = {
    "instruct query": (INSTRUCT, "query", None, WEB),
    "instruct document": (INSTRUCT, "document", None, ""),
    "instruct both": (INSTRUCT, "both", None, SIMILAR),
    "instruct short name": (
        INSTRUCT, "query", "fact-check",
        "Instruct: Given a claim, retrieve documents that support or refute the claim\nQuery: ",
    ),
    "instruct evaluation name": (
        INSTRUCT, "query", "NFCorpus",
        "Instruct: Given a question, retrieve relevant documents that best answer the question\nQuery: ",
    ),
    "instruct evaluation name in other case": (
        INSTRUCT, "both", "banking77classification",
        "Instruct: Given a online banking query, find the corresponding intents\nQuery: ",
    ),
    "instruct BEIR's spelling": (
        INSTRUCT, "query", "trec-covid",
        "Instruct: Given a query on COVID-19, retrieve documents that answer the query\nQuery: ",
    ),
    "instruct one of the CQADupstack sets": (
        INSTRUCT, "query", "CQADupstackEnglishRetrieval",
        "Instruct: Given a question, retrieve detailed question descriptions from Stackexchange that are duplicates to "
        "the given question\nQuery: ",
    ),
    "instruct free sentence": (INSTRUCT, "query", "Find  the Satz! ", "Instruct: Find  the Satz! \nQuery: "),
    "instruct other default": (
        Prompts("instruct", default_task="Do this."), "query", None, "Instruct: Do this.\nQuery: ",
    ),
    "prefix query": (E5_PREFIX, "query", None, "query: "),
    "prefix document": (E5_PREFIX, "document", None, "passage: "),
    "prefix both": (E5_PREFIX, "both", None, "query: "),
    "named": (NAMED, "both", "clustering", "C: "),
    "named query": (NAMED, "document", "query", "Q: "),
    "none query": (NONE, "query", None, ""),
    "none document": (NONE, "document", None, ""),
    "none both": (NONE, "both", None, ""),
}  # fmt: skip


@pytest.mark.parametrize(("prompts", "side", "task", "expected"), EXPECTED.values(), ids=EXPECTED.keys())
def test_prefixes_byte_for_byte(prompts: Prompts, side, task, expected: str) -> None:
    assert prompts.prefix(side, task) == expected


@pytest.mark.parametrize("task", [*TASKS, *EVALUATION_TASKS])
def test_every_task_is_one_clean_line(task: str) -> None:
    sentence = {**TASKS, **EVALUATION_TASKS}[task]
    assert INSTRUCT.prefix("query", task) == f"Instruct: {sentence}\nQuery: "
    assert sentence == " ".join(sentence.split())
    assert sentence.endswith(".") == (sentence in {TASKS["sts"], TASKS["bitext"], TASKS["classification"]})


REFUSED = {
    "typing error": (INSTRUCT, "query", "websearch", "unknown task 'websearch'; did you mean web-search"),
    "evaluation typing error": (INSTRUCT, "query", "NFCorpsu", r"did you mean nfcorpus.*\? Or use a name"),
    "nothing near": (INSTRUCT, "query", "zzzzzz", "unknown task 'zzzzzz'; use a name .*web-search.*or a sentence"),
    "empty": (INSTRUCT, "query", "", "unknown task ''"),
    "blank": (INSTRUCT, "query", "  ", "unknown task"),
    "two lines": (INSTRUCT, "query", "Find this.\nQuery: that", "a task is one line"),
    "carriage return": (INSTRUCT, "query", "Find\rthis now", "a task is one line"),
    "task for documents": (INSTRUCT, "document", "sts", "documents of an instruct model stay bare.*got the task 'sts'"),
    "task for prefixes": (E5_PREFIX, "query", "sts", "this model has fixed prompts and takes no task, got 'sts'"),
    "task for none": (NONE, "both", "Find this.", "fixed prompts and takes no task"),
    "unknown named": (NAMED, "query", "sts", "its named prompts are clustering, query"),
    "side": (INSTRUCT, "passage", None, "unknown side 'passage'; expected one of query, document, both"),
}


@pytest.mark.parametrize(("prompts", "side", "task", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals_say_what_would_work(prompts: Prompts, side, task, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        prompts.prefix(side, task)


def test_a_task_that_is_no_text_is_refused() -> None:
    with pytest.raises(PromptError, match="a task is a string, got int"):
        INSTRUCT.prefix("query", 3)  # type: ignore[arg-type]


LISTED = {
    "nothing": ({}, None),
    "empty texts": ({"query": "", "document": ""}, None),
    "e5": (E5_PROMPTS, ("query: ", "passage: ", "query: ")),
    "passage": ({"query": "q: ", "passage": "p: "}, ("q: ", "p: ", "q: ")),
    "corpus": ({"query": "q: ", "corpus": "c: "}, ("q: ", "c: ", "q: ")),
    "query only": ({"query": "search_query: "}, ("search_query: ", "", "search_query: ")),
    "own similarity prompt": ({"query": "q: ", "document": "d: ", "sts": "s: "}, ("q: ", "d: ", "s: ")),
    "instruct": ({"query": WEB, "document": ""}, (WEB, "", SIMILAR)),
    "instruct without the last space": ({"query": "Instruct: Do.\nQuery:"}, ("Instruct: Do.\nQuery:", "", None)),
    "instruct with document prompt": ({"query": WEB, "document": "d: "}, (WEB, "d: ", WEB)),
}


@pytest.mark.parametrize(("listed", "expected"), LISTED.values(), ids=LISTED.keys())
def test_prompts_that_a_folder_lists(listed: dict, expected) -> None:
    prompts = from_sentence_transformers(listed)
    if expected is None:
        assert prompts is None
        return
    query, document, both = expected
    assert (prompts.prefix("query"), prompts.prefix("document")) == (query, document)
    if both is not None:
        assert prompts.prefix("both") == both


def test_a_listed_instruct_prompt_takes_tasks() -> None:
    prompts = from_sentence_transformers({"query": "Instruct: Do this.\nQuery: ", "document": ""})
    assert prompts.prefix("query") == "Instruct: Do this.\nQuery: "
    assert prompts.prefix("query", "web-search") == WEB


@pytest.mark.parametrize(
    "listed",
    [
        E5_PROMPTS,
        {"query": WEB, "document": ""},
        {"query": "Instruct: Do this.\nQuery:"},
        {"document": "d: ", "query": None},
    ],
    ids=["e5", "instruct", "instruct without space", "documents only"],
)
def test_the_folders_prompts_work_as_in_sentence_transformers(build_folder, listed: dict) -> None:
    folder = build_folder(replace(XLMR, prompts=listed))
    embedder, model = Embedder.load(folder, precision="f32"), sentence_transformer(folder)
    texts = list(SENTENCES[:6])
    bare = load(folder).encode(texts)
    for ours, theirs, name in (
        (embedder.encode_query(texts), model.encode_query(texts), "query"),
        (embedder.encode_document(texts), model.encode_document(texts), "document"),
    ):
        assert np.abs(ours - theirs).max() < 5e-6
        assert (np.abs(ours - bare).max() > 1e-3) == bool(listed.get(name))


CARRIED = {
    "E5 query": (E5_PREFIX, "query: how tall is K2?", "query: "),
    "E5 passage": (NONE, "passage: 8,611 m", "passage: "),
    "instruct": (INSTRUCT, WEB + "how tall", "Instruct: …"),
    "instruct without spaces": (INSTRUCT, "Instruct:Find it\nQuery:how tall", "Instruct: …"),
    "the model's own": (NAMED, "C: some text", "C: "),
    "bare": (E5_PREFIX, "how tall is K2?", None),
    "inside": (E5_PREFIX, "a query: how tall", None),
    "no space": (E5_PREFIX, "query:how tall", None),
    "half an instruction": (INSTRUCT, "Instruct: them well", None),
    "empty": (INSTRUCT, "", None),
}


@pytest.mark.parametrize(("prompts", "text", "expected"), CARRIED.values(), ids=CARRIED.keys())
def test_a_prompt_in_the_text_is_noticed(prompts: Prompts, text: str, expected: str | None) -> None:
    assert prompts.carried_by(text) == expected


def test_the_embedder_warns_of_carried_prompts_once_per_call(xlmr: Path) -> None:
    embedder = load(xlmr, "fake", prompts=E5_PREFIX)
    texts = ["bare", "query: one", "passage: two", "three"]
    told = r"already start with a prompt such as 'query: ': 2 of 4 \(items 1, 2\)"
    with pytest.warns(PromptWarning, match=told) as caught:
        embedder.encode_query(texts)
    assert len(caught) == 1
    assert Path(caught[0].filename) == Path(__file__)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder.encode_query(["bare", "three"])


@pytest.mark.filterwarnings("ignore::me5.PromptWarning")  # the bare model is given the prompts in the text
def test_the_embedder_puts_the_prompt_in_front_of_each_side(xlmr: Path) -> None:
    embedder, bare = load(xlmr, "fake", prompts=INSTRUCT), load(xlmr, "fake")
    np.testing.assert_array_equal(embedder.encode_query("ok"), bare.encode(WEB + "ok"))
    np.testing.assert_array_equal(embedder.encode_document("ok"), bare.encode("ok"))
    np.testing.assert_array_equal(embedder.encode("ok"), bare.encode(SIMILAR + "ok"))
    np.testing.assert_array_equal(embedder.encode("ok", task="web-search"), bare.encode(WEB + "ok"))
