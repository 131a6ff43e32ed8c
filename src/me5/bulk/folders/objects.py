"""A job's folder in an object store. The first writer of a name wins by a conditional put, or else by a lease."""

import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import IO, Any

from me5.bulk.folders.base import Folder, attempt_id
from me5.errors import InputError, Me5Warning
from me5.files.objects import as_os_errors, file_of, first_line, split, store_of

# In a store without conditional puts, the seconds between a bid and the look at who else has made one, and those
# after which the bid of someone who has died is void.
_SETTLE, _VOID = 2.0, 60.0


class ObjectFolder(Folder):
    """Objects below a URL. Stores must list what was written before: S3, Google Cloud Storage and Azure do."""

    readers = 32

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        name, self._prefix = split(self.url)
        self._store = store_of(name)

    def read(self, name: str) -> bytes | None:
        """See `Folder.read`."""
        import obstore

        try:
            with as_os_errors(self._url(name)):
                return bytes(obstore.get(self._store, self._path(name)).bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{self._url(name)} cannot be read: {error.strerror}") from error

    def write(self, name: str, content: bytes) -> None:
        """See `Folder.write`."""
        self._put(name, content)

    def write_once(self, name: str, content: bytes) -> bool:
        """See `Folder.write_once`."""
        if self._has_conditional_put:
            return self._put_new(name, content)
        return self._put_by_lease(name, content)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """See `Folder.writing`. The object is made on a local disk first."""
        with tempfile.TemporaryFile() as file:
            yield file
            file.flush()
            file.seek(0)
            self._put(name, file)

    @contextmanager
    def reading(self, name: str) -> Iterator[IO[bytes]]:
        """See `Folder.reading`."""
        with file_of(self._url(name)).open("rb") as file:
            yield file

    def names(self, folder: str) -> list[str]:
        """See `Folder.names`."""
        return [meta["path"].removeprefix(f"{self._prefix}/") for meta in self._metas(folder)]

    def remove(self, name: str) -> None:
        """See `Folder.remove`."""
        import obstore

        try:
            with as_os_errors(self._url(name)):
                obstore.delete(self._store, self._path(name))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise InputError(f"{self._url(name)} cannot be removed: {error.strerror}") from error

    @cached_property
    def _has_conditional_put(self) -> bool:
        """Whether the store refuses to replace an object when it is asked to; some ignore the request."""
        probe = f"probes/{attempt_id()}"
        try:
            conditional = self._put_new(probe, b"") and not self._put_new(probe, b"")
        except _NotSupportedError:
            conditional = False
        self.remove(probe)
        if not conditional:
            warnings.warn(
                f"{self.url} is in a store without conditional puts: every commit takes a lease of {_SETTLE:.0f} s "
                "instead, which holds as long as clocks and replies are not later than that",
                Me5Warning, stacklevel=2,
            )  # fmt: skip
        return conditional

    def _put_by_lease(self, name: str, content: bytes) -> bool:
        """Write an object if nobody has, and if of those who want to this call has the least bid."""
        bid = f"leases/{name}/{attempt_id()}"
        self._put(bid, b"")
        try:
            while True:
                time.sleep(_SETTLE)
                if self.read(name) is not None:
                    return False
                void = time.time() - _VOID
                bids = [meta for meta in self._metas(f"leases/{name}") if meta["last_modified"].timestamp() > void]
                if not bids or min(meta["path"] for meta in bids) == self._path(bid):
                    return self._put(name, content)
        finally:
            self.remove(bid)

    def _put_new(self, name: str, content: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

        try:
            with self._explained(name):
                obstore.put(self._store, self._path(name), content, mode="create")
        except (AlreadyExistsError, PreconditionError):
            return False
        except (NotSupportedError, NotImplementedError) as error:
            raise _NotSupportedError from error
        return True

    def _put(self, name: str, content: bytes | IO[bytes]) -> bool:
        import obstore

        with self._explained(name):
            obstore.put(self._store, self._path(name), content)
        return True

    def _metas(self, folder: str) -> list[Any]:
        import obstore

        try:
            with as_os_errors(self._url(folder)):
                metas = [meta for batch in obstore.list(self._store, self._path(folder)) for meta in batch]
        except OSError as error:
            raise InputError(f"{self._url(folder)} cannot be listed: {error.strerror}") from error
        return sorted(metas, key=lambda meta: meta["path"])

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PreconditionError

        try:
            yield
        except (AlreadyExistsError, NotSupportedError, PreconditionError):
            raise
        except (BaseError, OSError) as error:
            raise InputError(
                f"{self._url(name)} cannot be written: {first_line(error)}; check the store and its keys"
            ) from error

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _url(self, name: str) -> str:
        return f"{self.url}/{name}"


class _NotSupportedError(Exception):
    """The store has no conditional puts."""
