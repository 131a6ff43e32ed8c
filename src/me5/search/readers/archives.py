"""Files that are ZIP archives of XML: how much they may unpack to."""

from collections.abc import Iterable
from zipfile import ZipFile

from me5.errors import InputError
from me5.search.readers.plain import MOST


def check_unpacked(archive: ZipFile, names: Iterable[str]) -> None:
    """Refuse an archive of which these parts unpack to more than is read. Raises `KeyError` for one that is not there.

    `zipfile` reads no more than the size that is stated.
    """
    size = sum(archive.getinfo(name).file_size for name in names)
    if size > 2 * MOST:
        raise InputError(
            f"unpacks to {size:,} bytes of XML, and at most {2 * MOST:,} are read; split it into several files"
        )
