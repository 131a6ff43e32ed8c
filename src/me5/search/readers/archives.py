"""Archives of XML, as office programs and makers of books write them: opened, measured and parsed within limits."""

import contextlib
import posixpath
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

from me5.errors import InputError
from me5.search.readers.plain import MOST

# How files of the older office programs begin; the newer ones lock a file by putting it into one of that form.
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_RELATIONSHIP = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"


class Archive:
    """An open archive; what is too large in it is an `InputError`."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self.names = frozenset(file.namelist())

    def check_unpacked(self, names: Iterable[str]) -> None:
        """Refuse an archive of which these parts unpack to more than is read."""
        size = sum(self._file.getinfo(name).file_size for name in names)
        if size > 2 * MOST:
            raise InputError(
                f"unpacks to {size:,} bytes of XML, and at most {2 * MOST:,} are read; split it into several files"
            )

    def load(self, name: str) -> bytes:
        """The bytes of a file in it. `zipfile` reads no more than the size that is stated."""
        with self._file.open(name) as entry:
            raw = entry.read(MOST + 1)
        if len(raw) > MOST:
            raise InputError(f"{name} in it has more than {MOST:,} bytes")
        return raw

    def xml(self, name: str) -> Element:
        """The root of a file of XML. Entities of its own, which could stand for any amount of text, are refused."""

        def refuse(entity: str, *_: object) -> None:
            raise InputError(f"{name} in it declares the XML entity {entity!r:.60}, and entities are not expanded")

        raw = self.load(name)
        declarations = expat.ParserCreate()
        declarations.EntityDeclHandler = refuse
        declarations.Parse(raw, True)
        return ElementTree.fromstring(raw)

    def title(self, name: str) -> str:
        """The title in a file of metadata, nothing where there is none."""
        return " ".join(self.xml(name).findtext(f".//{_TITLE}", "").split()) if name in self.names else ""

    def related(self, name: str) -> Iterator[tuple[str, str, str]]:
        """(id, the last part of its type, name) of what a part of Microsoft's formats refers to within the archive."""
        folder, own = posixpath.split(name)
        listed = posixpath.join(folder, "_rels", f"{own}.rels")
        for one in self.xml(listed).iter(_RELATIONSHIP) if listed in self.names else ():
            if one.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/", folder, unquote(one.get("Target", ""))))
                yield one.get("Id", ""), one.get("Type", "").rpartition("/")[2], target.removeprefix("/")


@contextlib.contextmanager
def opened(path: Path, form: str, *, whole: bool = True) -> Iterator[Archive]:
    """An archive in a form that is called so in errors. `whole` says that all of its XML is read at once."""
    try:
        with path.open("rb") as file:
            if file.read(len(_OLE)) == _OLE:
                raise InputError(
                    f"is locked with a password, or in the form of older office programs; save it as {form}, unlocked"
                )
        with zipfile.ZipFile(path) as packed:
            archive = Archive(packed)
            if whole:
                archive.check_unpacked(name for name in archive.names if name.endswith((".xml", ".rels")))
            yield archive
    except (
        zipfile.BadZipFile, zlib.error, EOFError, SyntaxError, expat.ExpatError, KeyError, NotImplementedError,
        RuntimeError,
    ) as error:  # fmt: skip
        raise InputError(f"cannot be read as {form}: {error or type(error).__name__}") from error
