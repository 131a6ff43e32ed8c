"""Who may call and what a browser may do: keys, their allowances, other origins, headers, HTTPS."""

import contextlib
import subprocess
from hashlib import sha256

import httpx
import pytest

from me5 import InputError
from me5.service.auth import Key, Keys, read_keys
from me5.service.errors import RateLimited, Unauthorized

OPEN_TO_ALL = ("/health", "/ping", "/metrics", "/openapi.json", "/")
BODY = {"input": "how tall is K2?"}


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sk-1"},
        {"authorization": "bearer sk-1"},
        {"authorization": "sk-1"},
        {"x-api-key": "sk-1"},
        {"authorization": "Basic abc", "x-api-key": "sk-1"},
    ],
    ids=str,
)
def test_a_key_may_stand_in_several_places(headers):
    assert Keys((Key("one", sha256(b"sk-1").digest()),)).find(headers).name == "one"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer sk-2"},
        {"x-api-key": "sk-1" * 1000},
        {"x-api-key": "é"},
    ],
    ids=str,
)
def test_anything_else_is_refused(headers):
    with pytest.raises(Unauthorized):
        Keys((Key("one", sha256(b"sk-1").digest()),)).find(headers)


def test_keys_are_read_from_a_file_and_a_list(tmp_path):
    file = tmp_path / "keys"
    hashed = sha256(b"secret").hexdigest()
    file.write_text(f"# ours\n\nsearch:{hashed}:600\nplain-key\n")
    keys = read_keys(file, "third", 50)
    found = {name: keys.find({"x-api-key": key}) for name, key in [("a", "secret"), ("b", "plain-key"), ("c", "third")]}
    assert [(key.name, key.tokens_per_minute) for key in found.values()] == [
        ("search", 600),
        ("key-4", 50),
        ("key-3", 50),
    ]
    assert "secret" not in repr(keys.__dict__)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("# none\n", "holds no key, which would leave the service open"),
        (f"a:{'0' * 64}\na:{'1' * 64}\n", "two API keys are named a"),
        (None, "cannot be read"),
    ],
)
def test_a_key_file_of_no_use_is_refused(tmp_path, content, said):
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=said):
        read_keys(file, None, None)


def test_an_allowance_refills_evenly_and_gives_no_more_than_it_has():
    clock = Clock()
    allowance = Keys((Key("one", b"", 60),), clock).allowance(Key("one", b"", 60))
    allowance.admit()
    allowance.take(50)
    assert (allowance.most, allowance.left, allowance.full_in) == (60, 10, 50)
    with pytest.raises(
        RateLimited, match="has 10 of its 60 tokens per minute left, and the request needs 30"
    ) as caught:
        allowance.take(30)
    assert caught.value.retry_after == pytest.approx(20)
    clock.now = 20
    allowance.take(30)
    with pytest.raises(RateLimited) as caught:  # before a body is read: the next request may be like the last
        allowance.admit()
    assert caught.value.retry_after == pytest.approx(30)
    allowance.give_back(25)
    allowance.admit()
    assert allowance.left == 25
    clock.now = 1000
    assert (allowance.left, allowance.full_in) == (60, 0)
    with pytest.raises(InputError, match="may use 60 per minute; send fewer texts at a time"):
        allowance.take(61)


def test_a_key_never_gets_more_than_a_minute_s_tokens_at_once():
    clock = Clock()
    allowance = Keys((Key("one", b"", 2000),), clock).allowance(Key("one", b"", 2000))
    taken = 0
    with contextlib.suppress(RateLimited):
        while True:
            allowance.admit()
            allowance.take(150)
            taken += 150
    assert taken == 1950


def test_a_live_service_asks_for_its_key(locked_server):
    with httpx.Client(base_url=locked_server.url) as stranger:
        for path in OPEN_TO_ALL:
            assert stranger.get(path).status_code == 200, path
        for path in ("/v1/models", "/info", "/v1/tasks"):
            assert stranger.get(path).status_code == 401, path
        refused = stranger.post("/v1/embeddings", json=BODY)
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "invalid_api_key"
        assert refused.headers["www-authenticate"] == "Bearer"
        assert stranger.post("/embed", json={"inputs": "a"}).content == b""
        assert set(stranger.post("/v2/embed", json={}).json()) == {"message"}
        # The key is looked at before the body is.
        assert stranger.post("/v1/embeddings", content=b"{" * 100).status_code == 401
    with locked_server.client() as known:
        assert known.post("/v1/embeddings", json=BODY).status_code == 200
    assert locked_server.key not in locked_server.log()


def test_each_key_has_its_own_allowance(launch):
    server = launch("--key-tokens-per-minute", "20", keys="first-key,second-key")
    with server.client() as first:
        assert first.post("/v1/embeddings", json={"input": ["a b c d e"] * 2}).status_code == 200
        refused = first.post("/v1/embeddings", json={"input": ["a b c d e"] * 2})
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert int(refused.headers["retry-after-ms"]) > 0
        assert refused.headers["x-should-retry"] == "true"
        second = first.post("/v1/embeddings", json=BODY, headers={"authorization": "Bearer second-key"})
        assert second.status_code == 200


def test_replies_keep_browsers_careful(server):
    with server.client() as client:
        for reply in (client.get("/health"), client.post("/v1/embeddings", json=BODY), client.get("/nothing")):
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in reply.headers["content-security-policy"]
            assert "server" not in reply.headers
        assert client.post("/v1/embeddings", json=BODY).headers["cache-control"] == "no-store"
        assert "script-src 'self'" in client.get("/").headers["content-security-policy"]


def test_other_origins_may_call_only_where_they_are_named(server, launch):
    asking = {"origin": "https://app.example", "access-control-request-method": "POST"}
    with server.client() as client:
        assert "access-control-allow-origin" not in client.options("/v1/embeddings", headers=asking).headers
    with launch("--cors-origins", "https://app.example", "--no-page").client() as client:
        allowed = client.options("/v1/embeddings", headers=asking)
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        reply = client.post("/v1/embeddings", json=BODY, headers={"origin": "https://app.example"})
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-me5-side" in reply.headers["access-control-expose-headers"]
        stranger = client.options("/v1/embeddings", headers=asking | {"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers
        assert client.get("/").content == b"", "without the page, / is a health check as TEI's"


def certificate(folder):
    files = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run([*command, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return files


def test_https(launch, tmp_path):
    cert, key = certificate(tmp_path)
    server = launch("--tls-cert", str(cert), "--tls-key", str(key))
    assert server.url.startswith("https://")
    import ssl

    with server.client(verify=ssl.create_default_context(cafile=cert)) as client:
        assert client.post("/v1/embeddings", json=BODY).status_code == 200
