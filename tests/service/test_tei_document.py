"""TEI's own OpenAPI document, made requests of by schemathesis: our replies are what it says.

The document is TEI's, so it is not among our files: `make suites` fetches it, and names it in ME5_TEI_DOCUMENT.
"""

import json
import os
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

DOCUMENT = os.environ.get("ME5_TEI_DOCUMENT", "")
pytestmark = pytest.mark.skipif(not DOCUMENT, reason="make suites fetches TEI's document")
ROUTES = (
    "/embed", "/embed_all", "/embed_sparse", "/similarity", "/rerank", "/predict", "/tokenize", "/decode", "/info",
    "/health", "/metrics",
)  # fmt: skip
_ERROR = {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}
# What TEI's own service does too, though its document leaves some of it out: a body that is no valid request is a 422
# on every route, an empty list a 400.
REFUSED = {"description": "refused", "content": {"application/json": _ERROR}}


def _document():
    content = json.loads(Path(DOCUMENT).read_text("utf-8"))
    for methods in content["paths"].values():
        for operation in methods.values():
            for status in ("400", "413", "422", "424"):
                operation["responses"].setdefault(status, REFUSED)
    return content


@pytest.fixture(scope="module")
def described(launch, build_reranker):
    limits = ("--max-items", "64", "--max-request-tokens", "20000", "--max-body-bytes", "200000")
    server = launch(*limits, "--allow-dimensions", "--reranker", str(build_reranker()))
    document = schemathesis.openapi.from_dict(_document())
    document.config.update(base_url=server.url)
    return document


@pytest.mark.parametrize("path", ROUTES)
def test_replies_are_what_the_document_says(described, path):
    method = "GET" if path in ("/info", "/health", "/metrics") else "POST"

    @given(case=described[path][method].as_strategy())
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def kept(case):
        # Names of prompts and ids of tokens are those of the model, which the document cannot know. Methods that it
        # leaves out, and fields of the wrong type, are looked at in test_holes.
        case.call_and_validate(
            checks=[
                schemathesis.checks.not_a_server_error,
                schemathesis.checks.status_code_conformance,
                schemathesis.checks.content_type_conformance,
                schemathesis.checks.response_schema_conformance,
            ]
        )

    kept()
