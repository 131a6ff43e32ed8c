"""Serve the pages from memory: `/`, `/search` and their files, under a policy that allows nothing from elsewhere."""

import hashlib
from dataclasses import dataclass
from importlib import resources

from fastapi import APIRouter, HTTPException, Request, Response

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class PageFile:
    """One file of the page, with the tag that changes when it does."""

    body: bytes
    content_type: str
    etag: str


def _read() -> dict[str, PageFile]:
    """Every file of this folder that a browser may have, by name."""
    files = {}
    for entry in resources.files(__package__).iterdir():
        if content_type := TYPES.get(entry.name.rpartition(".")[2]):
            body = entry.read_bytes()
            files[entry.name] = PageFile(body, content_type, _etag(body))
    return files


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:20]}"'


FILES = _read()
# What links the pages with each other; nothing where there is no store to search.
_LINK = b'<a id="to-search" class="quiet" href="search">Search documents</a>'
_PLACE = b"<!-- search -->"


def _linked(link: bytes) -> PageFile:
    body = FILES["index.html"].body.replace(_PLACE, link)
    return PageFile(body, TYPES["html"], _etag(body))


def pages(*, search: bool) -> APIRouter:
    """The routes of the pages: the one to try the model, and, where there is a store, the one that searches it."""
    router = APIRouter(include_in_schema=False)
    front = _linked(_LINK if search else b"")

    @router.api_route("/", methods=["GET", "HEAD"])
    def index(request: Request) -> Response:
        """The page to try the model."""
        return _reply(front, request)

    if search:

        @router.api_route("/search", methods=["GET", "HEAD"])
        def searching(request: Request) -> Response:
            """The page that searches."""
            return _reply(FILES["search.html"], request)

    @router.api_route("/page/{name}", methods=["GET", "HEAD"])
    def file(name: str, request: Request) -> Response:
        """A file that a page asks for."""
        if name not in FILES:
            raise HTTPException(404, f"the page has no file {name}; it has {', '.join(sorted(FILES))}")
        return _reply(FILES[name], request)

    return router


def _reply(page_file: PageFile, request: Request) -> Response:
    """The file, or 304 when the browser has it already: it asks each time, so an upgrade shows at once."""
    headers = {
        "etag": page_file.etag,
        "cache-control": "no-cache",
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if page_file.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(page_file.body, media_type=page_file.content_type, headers=headers)
