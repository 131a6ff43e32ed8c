"""Where a job keeps its files: a folder of named contents, in which of several writers of a name the first can win."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import IO


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


def attempt_id() -> str:
    """A name for one attempt, unlike that of any other."""
    return secrets.token_hex(4)
