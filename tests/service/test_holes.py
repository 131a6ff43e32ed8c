"""Looking for holes: requests made from the OpenAPI document, bodies made to break, and no reply may be a 500."""

import contextlib
import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from me5.service.app import create_app
from me5.service.settings import ServiceSettings

EXAMPLES = 12
QUIET = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
POSTS = (
    "/v1/embeddings", "/embed", "/", "/embed_all", "/similarity", "/tokenize", "/decode", "/v2/embed", "/v1/embed",
    "/v1/score", "/rerank", "/v1/rerank", "/v2/rerank",
)  # fmt: skip


@pytest.fixture(scope="module")
def small_server(launch, build_reranker):
    """A live service with a reranker, and with limits that keep requests small."""
    limits = ("--max-items", "64", "--max-request-tokens", "20000", "--max-body-bytes", "200000")
    return launch(*limits, "--reranker", str(build_reranker()))


@pytest.fixture(scope="module")
def described(small_server):
    """The document of that service."""
    return schemathesis.openapi.from_url(f"{small_server.url}/openapi.json")


def operations():
    """(method, path) of everything in the document."""
    paths = create_app(ServiceSettings()).openapi()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


@pytest.mark.parametrize(("method", "path"), operations())
def test_what_the_document_promises_is_kept(described, method, path):
    @given(case=described[path][method].as_strategy())
    @QUIET
    def kept(case):
        # The document cannot say which model names, sides and tasks agree with each other, so some of what it allows is
        # refused; everything else of a reply must be as it says.
        case.call_and_validate(excluded_checks=[schemathesis.checks.positive_data_acceptance])

    kept()


def test_the_document_names_every_route():
    document = create_app(ServiceSettings()).openapi()
    assert set(POSTS) <= set(document["paths"])
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description") or operation.get("summary"), f"{method} {path}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "input", "inputs", "texts", "queries", "documents", "model", "side", "task", "input_type", "prompt_name",
    "truncate", "truncation", "truncation_direction", "dimensions", "normalize", "encoding_format", "embedding_types",
    "ids", "parameters", "details", "source_sentence", "sentences", "output_dimension", "priority", "images", "query",
    "top_n", "raw_scores",
)  # fmt: skip
TYPED = {"content-type": "application/json"}
ODD_TEXTS = ("", "\x00", "a\u200fb", "😀" * 50, "\u202e", "query: a", "a" * 5000, "\n\n", "\ufeff", "e\u0301" * 30)


@given(
    path=st.sampled_from(POSTS),
    body=st.dictionaries(
        st.sampled_from(FIELDS), JSON | st.sampled_from(ODD_TEXTS) | st.lists(st.sampled_from(ODD_TEXTS))
    ),
)
@settings(max_examples=300)
def test_odd_fields_are_refused_or_served(client, path, body):
    reply = client.post(path, content=json.dumps(body), headers=TYPED)
    assert reply.status_code < 500 or reply.status_code in (503, 504), reply.text[:300]
    assert reply.json() is not None


def is_an_object(body):
    """Whether these bytes are a JSON object: Hypothesis tries the literals of our own code, and some are requests."""
    with contextlib.suppress(ValueError):
        return isinstance(json.loads(body), dict)
    return False


@given(path=st.sampled_from(POSTS), body=st.binary(max_size=200).filter(lambda body: not is_an_object(body)))
@settings(max_examples=200)
def test_bytes_that_are_no_object_are_refused(client, path, body):
    reply = client.post(path, content=body, headers=TYPED)
    assert 400 <= reply.status_code < 500
