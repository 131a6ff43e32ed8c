"""Where a job keeps its files: a folder of named contents, in which of several writers of a name the first can win."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from me5.errors import InputError
from me5.files.atomic import explained, replacing, write_once


class Folder(ABC):
    """Files by name, such as `commits/part-00017.json`. `url` is what users call it."""

    url: str
    # Threads that read many small files at once.
    readers = 1

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """The content of a file, None where there is none."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file, or replace it; whole or not at all."""

    @abstractmethod
    def write_once(self, name: str, content: bytes) -> bool:
        """Write a file unless there is one, and say whether this call did: of several writers the first wins."""

    @abstractmethod
    def writing(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A new file to write to, which appears when the block ends well."""

    @abstractmethod
    def reading(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A file to read from, at any position."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The names of all files within a folder, unfinished ones too, in order."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def read_all(self, names: Iterable[str]) -> list[bytes]:
        """The contents of many files, those that vanish left out."""
        with ThreadPoolExecutor(self.readers, "me5-read") as pool:
            return [content for content in pool.map(self.read, names) if content is not None]


class LocalFolder(Folder):
    """A folder of a file system, shared between machines or not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = str(path)

    def read(self, name: str) -> bytes | None:
        """See `Folder.read`."""
        path = self.path / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error

    def write(self, name: str, content: bytes) -> None:
        """See `Folder.write`."""
        with replacing(self._place(name)) as file:
            file.write(content)

    def write_once(self, name: str, content: bytes) -> bool:
        """See `Folder.write_once`."""
        return write_once(self._place(name), content)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """See `Folder.writing`."""
        with replacing(self._place(name), clear=False) as file:
            yield file

    @contextmanager
    def reading(self, name: str) -> Iterator[IO[bytes]]:
        """See `Folder.reading`."""
        with (self.path / name).open("rb") as file:
            yield file

    def names(self, folder: str) -> list[str]:
        """See `Folder.names`."""
        place = self.path / folder
        return sorted(f"{folder}/{path.name}" for path in place.iterdir()) if place.is_dir() else []

    def remove(self, name: str) -> None:
        """See `Folder.remove`."""
        with explained(str(self.path / name)):
            (self.path / name).unlink(missing_ok=True)

    def _place(self, name: str) -> Path:
        path = self.path / name
        with explained(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path


def folder_of(url: str) -> Folder:
    """The folder that a user names."""
    return LocalFolder(Path(url).absolute())


def attempt_id() -> str:
    """A name for one attempt, unlike that of any other."""
    return secrets.token_hex(4)
