"""EPUB: chapters in the order of reading, what is no chapter, and books that are locked or damaged."""

import zipfile

import pytest

from me5 import InputError
from me5.search.documents import NoTextError
from me5.search.readers import Columns, archives, kind_of

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
PAGE = '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"{}><head><title/></head><body>{}</body></html>'


def package(items, spine, language="de"):
    listed = "".join(
        f'<item id="{name}" href="{href}" media-type="{kind}" {more}/>' for name, href, kind, more in items
    )
    order = "".join(f'<itemref idref="{name}"/>' for name in spine)
    return (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        f"<dc:title>Die  Hütte</dc:title><dc:language>{language}</dc:language></metadata>"
        f"<manifest>{listed}</manifest><spine>{order}</spine></package>"
    )


ENTITY = '<!DOCTYPE package [<!ENTITY lol "lol"><!ENTITY lots "&lol;&lol;">]>'


@pytest.fixture
def files():
    xhtml = "application/xhtml+xml"
    items = [
        ("nav", "nav.xhtml", xhtml, 'properties="nav"'), ("cover", "cover.xhtml", xhtml, ""),
        ("two", "text/b.xhtml", xhtml, ""), ("one", "text/a%20b.xhtml", xhtml, ""), ("pic", "p.png", "image/png", ""),
    ]  # fmt: skip
    return {
        "META-INF/container.xml": CONTAINER,
        "OEBPS/book.opf": package(items, ["nav", "cover", "one", "two", "pic"]),
        "OEBPS/nav.xhtml": PAGE.format("", "<nav>Inhalt</nav>"),
        "OEBPS/cover.xhtml": PAGE.format("", "<img src='p.png'/>"),
        "OEBPS/text/a b.xhtml": PAGE.format("", "<h1>Der Weg</h1><p>Er ist steil.</p>"),
        "OEBPS/text/b.xhtml": PAGE.format(' lang="ja"', "<h1>温泉</h1><p>湯は四十二度。</p>"),
        "OEBPS/p.png": "no picture",
    }


def write(path, files):
    with zipfile.ZipFile(path, "w") as book:
        for name, content in files.items():
            book.writestr(name, content)
    return path


def read(path):
    return list(kind_of(path).read(path, Columns(), lambda *told: pytest.fail(str(told))))


def test_chapters_come_in_the_order_of_reading(tmp_path, files):
    first, second = read(write(tmp_path / "hut.epub", files))
    assert (first.at, first.title, first.language) == (2, "Die Hütte", "de")
    assert (second.at, second.language) == (3, "ja")
    assert [(section.title, first.text[section.start : section.end].strip()) for section in first.sections] == [
        ("Der Weg", "Er ist steil.")
    ]
    assert "湯は四十二度。" in second.text


def test_a_hit_tells_its_chapter(index, docs, files):
    write(docs / "hut.epub", files)
    with index:
        assert index.add([docs]).bad == []
    (hit,) = index.search("温泉", 1)
    assert (hit.place, hit.title) == ("docs/hut.epub, chapter 3", "Die Hütte: 温泉")


def test_books_that_cannot_be_read_are_named(tmp_path, files):
    encrypted = '<encryption><CipherReference URI="OEBPS/{}"/></encryption>'
    for more, error, reason in (
        ({"META-INF/encryption.xml": encrypted.format("text/b.xhtml")}, InputError, "locked against copying"),
        ({"META-INF/container.xml": "<container/>"}, InputError, "names no package"),
        ({"OEBPS/book.opf": "<package"}, InputError, "cannot be read as EPUB"),
        ({"OEBPS/book.opf": package([], [])}, NoTextError, "holds no text"),
        ({"OEBPS/book.opf": ENTITY + package([], [])}, InputError, "declares the XML entity 'lol'"),
    ):
        with pytest.raises(error, match=reason):
            read(write(tmp_path / "b.epub", files | more))
    fonts = {"META-INF/encryption.xml": encrypted.format("font.otf")}
    assert len(read(write(tmp_path / "b.epub", files | fonts))) == 2
    files.pop("OEBPS/text/b.xhtml")
    with pytest.raises(InputError, match=r"cannot be read as EPUB: .*b\.xhtml"):
        read(write(tmp_path / "b.epub", files))
    (tmp_path / "b.epub").write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot be read as EPUB"):
        read(tmp_path / "b.epub")


def test_a_chapter_is_read_once_and_all_unpack_to_so_much_at_most(tmp_path, files, monkeypatch):
    items = [("one", "text/b.xhtml", "application/xhtml+xml", "")]
    files["OEBPS/book.opf"] = package(items, ["one"] * 50)
    book = write(tmp_path / "b.epub", files)
    assert len(read(book)) == 1
    files["OEBPS/text/b.xhtml"] = PAGE.format("", "long " * 1000)
    write(book, files)
    monkeypatch.setattr(archives, "MOST", 2400)
    with pytest.raises(InputError, match=r"unpacks to 5,1\d\d bytes of XML, and at most 4,800 are read"):
        read(book)
