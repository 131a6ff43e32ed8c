"""Objects in a store (S3, Google Cloud Storage, Azure, HTTP) as files: found by URL, opened, read from any position.

Keys, regions and endpoints come from the environment, as each store's own tools have it (AWS_…, GOOGLE_…, AZURE_…).
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import IO, Any

from me5.errors import InputError, MissingExtraError

# Bytes that are requested at once.
_BLOCK = 1 << 22
_URL = re.compile(r"(?P<store>[a-z][a-z0-9+.-]*://[^/]*)/*(?P<path>.*)", re.DOTALL)


@dataclass(frozen=True)
class ObjectFile:
    """An object, with what a `Path` offers a reader."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """See `Path.name`."""
        return PurePosixPath(self._place[1]).name

    @property
    def stem(self) -> str:
        """See `Path.stem`."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """See `Path.suffix`."""
        return PurePosixPath(self.name).suffix

    def open(self, mode: str = "rb") -> IO[bytes]:
        """The object's bytes. Raises `OSError` where it cannot be read."""
        assert mode == "rb"
        import obstore

        store, path = self._place
        with as_os_errors(self.url):
            return io.BufferedReader(_Raw(obstore.open_reader(store, path, buffer_size=_BLOCK), self.url), 1 << 20)

    def stat(self) -> Any:
        """Its `st_size`, and its `version`, which changes with its content."""
        import obstore

        store, path = self._place
        with as_os_errors(self.url):
            return _stat(obstore.head(store, path))

    def is_file(self) -> bool:
        """See `Path.is_file`."""
        return True

    def is_fifo(self) -> bool:
        """See `Path.is_fifo`."""
        return False

    @property
    def _place(self) -> tuple[Any, str]:
        store, path = split(self.url)
        return store_of(store), path


File = Path | ObjectFile


class _Raw(io.RawIOBase):
    """A reader of obstore as a file of Python."""

    def __init__(self, reader: Any, url: str) -> None:
        self._reader, self._url = reader, url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._reader.seek(offset, whence))

    def tell(self) -> int:
        return int(self._reader.tell())

    def readinto(self, buffer: Any) -> int:
        with as_os_errors(self._url):
            data = memoryview(self._reader.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)


def is_url(name: str) -> bool:
    """Whether a name is that of an object or a folder of objects."""
    return _URL.fullmatch(name) is not None


def file_of(name: str) -> File:
    """A file by its path or URL."""
    return ObjectFile(name) if is_url(name) else Path(name)


def split(url: str) -> tuple[str, str]:
    """The store and the path of a URL: `s3://bucket`, `folder/file`."""
    match = _URL.fullmatch(url)
    assert match is not None
    return match["store"], match["path"].strip("/")


@lru_cache(maxsize=64)
def store_of(url: str) -> Any:
    """The store of a URL without a path. Raises `InputError` for a kind of store that is not known."""
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise MissingExtraError("object stores need a library: pip install 'me5[cloud]'") from error
    try:
        return from_url(url)
    except (BaseError, ValueError) as error:
        raise InputError(f"{url} is not an object store that can be opened: {first_line(error)}") from error


def listed(url: str) -> Iterator[tuple[ObjectFile, Any]]:
    """All objects whose URLs begin with this one and a slash, with what `ObjectFile.stat` says, by name."""
    import obstore

    store, path = split(url)
    with as_os_errors(url):
        metas = [meta for batch in obstore.list(store_of(store), path or None) for meta in batch]
    for meta in sorted(metas, key=lambda meta: meta["path"]):
        yield ObjectFile(f"{store}/{meta['path']}"), _stat(meta)


@contextmanager
def as_os_errors(name: str) -> Iterator[None]:
    """Turn what a store says into an `OSError` of one line, `FileNotFoundError` for what is not there."""
    from obstore.exceptions import BaseError, NotFoundError

    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise FileNotFoundError(2, "No such object", name) from error
    except BaseError as error:
        raise OSError(None, first_line(error), name) from error


def first_line(error: BaseException) -> str:
    """What a store says, without its debug output."""
    return str(error).split("\n", 1)[0]


def _stat(meta: Any) -> Any:
    version = meta["e_tag"] or f"{meta['size']}-{meta['last_modified'].isoformat()}"
    return SimpleNamespace(st_size=meta["size"], version=version)
