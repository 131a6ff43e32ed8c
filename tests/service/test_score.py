"""me5's own routes: the card's scores, with what the page shows of them."""

import numpy as np
import pytest
from vectors import ROUNDING

from me5 import TASKS, Embedder

QUERIES = ["how much protein should a female eat", "南瓜的家常做法"]
DOCUMENTS = [
    "46 grams of protein per day for women ages 19 to 70.",
    "清炒南瓜丝:嫩南瓜半个切成细丝。",
    "Bake for an hour.",
]


def score(client, status=200, **fields):
    reply = client.post("/v1/score", json={"queries": QUERIES, "documents": DOCUMENTS, **fields})
    assert reply.status_code == status, reply.text[:500]
    return reply.json()


def test_scores_are_dot_products_of_the_two_sides(client):
    embedder = Embedder.load()
    reply = score(client)
    expected = embedder.encode_query(QUERIES) @ embedder.encode_document(DOCUMENTS).T * 100
    np.testing.assert_allclose(reply["scores"], expected, rtol=0, atol=100 * ROUNDING)
    assert reply["ranking"] == np.argsort(-np.array(reply["scores"]), axis=1).tolist()
    assert reply["prompt"] == {side: embedder.prompts.prefix(side, None) for side in ("query", "document")}
    assert reply["usage"]["truncated"] == 0
    assert reply["timings"]["total_ms"] > 0
    assert reply["texts"] is None if "texts" in reply else True


def test_details_tell_tokens_cuts_and_a_map(client):
    long = "one two three four five " * 300
    reply = score(client, documents=[*DOCUMENTS, long], details=True, task="question-answering")
    prompt = reply["prompt"]["query"]
    assert TASKS["question-answering"] in prompt
    texts = reply["texts"]
    assert [(text["side"], text["index"]) for text in texts] == [("query", 0), ("query", 1)] + [
        ("document", at) for at in range(4)
    ]
    for text in texts:
        assert len(text["tokens"]) == text["token_count"]
        assert sum(token["lost"] for token in text["tokens"]) == text["lost"]
        assert text["truncated"] == (text["lost"] > 0)
    assert texts[0]["text"] == prompt + QUERIES[0]
    assert texts[-1]["truncated"]
    assert reply["usage"]["truncated"] == 1
    points = np.array([[point["x"], point["y"]] for point in reply["map"]])
    assert points.shape == (6, 2)
    assert points.std(axis=0)[0] >= points.std(axis=0)[1] > 0


def test_one_query_and_one_document_have_a_map_too(client):
    reply = score(client, queries=["a"], documents=["a b"], details=True)
    assert np.isfinite([[point["x"], point["y"]] for point in reply["map"]]).all()


def test_tasks_are_listed(client):
    listed = client.get("/v1/tasks").json()
    assert {task["name"]: task["sentence"] for task in listed["tasks"]} == dict(TASKS)
    assert listed["style"] == "instruct"
    assert listed["default"] in TASKS.values() or listed["default"] in TASKS


@pytest.mark.parametrize(
    ("fields", "said", "param"),
    [
        ({"queries": []}, "`queries` is an empty list", "queries"),
        ({"documents": ["a", ""]}, "`documents` holds an empty string, item 1", "documents"),
        ({"task": "web-serch"}, "did you mean web-search?", "task"),
        ({"documents": ["a"] * 300, "details": True}, "at most 256", "documents"),
        ({"queries": ["a"] * 100, "documents": ["a"] * 200, "details": True}, "more than the 256", "documents"),
        ({"truncation": "error", "queries": ["one two three " * 400]}, "`queries`: text 0", "queries"),
        ({"details": 1}, "`details`", "details"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_named(client, fields, said, param):
    error = score(client, 400, **fields)["error"]
    assert said in error["message"]
    assert error["param"] == param
