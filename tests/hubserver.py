"""A stand-in for the model hub on this machine: the few addresses that huggingface_hub asks, and faults on demand."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

MAIN = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Repositories (id -> file name -> content), each of one commit, and what is wrong today.

    `cut` breaks the connection after so many bytes of a file; `refuse` answers (status, error code) for a repository;
    `portal` answers every request with a page of its own, as hotel networks do. `requests` is what was asked.
    """

    repositories: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    commits: dict[str, str] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    portal: bool = False
    requests: list[str] = field(default_factory=list)
    address: str = ""

    def add(self, repository: str, folder: Path, commit: str = MAIN, **decoys: bytes) -> None:
        """Serve the files of a folder, and `decoys`."""
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.repositories[repository] = {**files, **decoys}
        self.commits[repository] = commit

    def asked_about(self, repository: str) -> list[str]:
        """The requests about a repository; the library asks other things too."""
        return [line for line in self.requests if f"/{repository}/" in line]

    def downloaded(self) -> set[str]:
        """The names of the files whose content was asked for."""
        asked = (line.partition("/resolve/")[2] for line in self.requests if line.startswith("GET "))
        return {name for path in asked if (name := path.partition("/")[2])}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve until the block ends; then the address refuses connections."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.portal:
            self._send(200, b"<html>Please accept our terms</html>", {"Content-Type": "text/html"})
            return
        repository = next((name for name in self.hub.repositories if f"/{name}/" in path), None)
        if repository is None:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        elif repository in self.hub.refuse:
            status, code = self.hub.refuse[repository]
            self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": f"today: {code}"})
        else:
            self._answer_for(repository, path)

    def _answer_for(self, repository: str, path: str) -> None:
        kind, revision, *rest = path.split(f"/{repository}/", 1)[1].split("/")
        commit = self.hub.commits[repository]
        files = self.hub.repositories[repository]
        if revision not in ("main", commit):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": f"Invalid rev {revision}"})
        elif kind == "revision":
            siblings = [{"rfilename": name} for name in files]
            self._send_json({"id": repository, "sha": commit, "siblings": siblings})
        elif kind == "tree":
            self._send_json(
                [{"type": "file", "path": n, "size": len(c), "oid": _etag(c)} for n, c in sorted(files.items())]
            )
        elif (name := "/".join(rest)) in files:
            self._send_file(name, files[name], commit)
        else:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})

    def _send_file(self, name: str, content: bytes, commit: str) -> None:
        headers = {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        start = 0
        if asked := self.headers.get("Range"):
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(206 if asked else 200, content[start:], headers, cut=self.hub.cut.get(name, len(content)) - start)

    def _send_json(self, content: object) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            sent = body if cut is None else body[: max(cut, 0)]
            self.wfile.write(sent)
            self.close_connection = len(sent) < len(body)


def _etag(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
