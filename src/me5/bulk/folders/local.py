"""A job's folder in a file system."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from me5.bulk.folders.base import Folder
from me5.errors import InputError
from me5.files.atomic import explained, replacing, write_once


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
