"""Slides, sheets and LibreOffice's texts: all that they show, in its place; what is locked or broken is named."""

import datetime
import re
import zipfile

import openpyxl
import pytest

from me5 import InputError
from me5.search.documents import NOWHERE
from me5.search.readers import Columns, kind_of, read

P = "http://schemas.openxmlformats.org/presentationml/2006/main"
A = "http://schemas.openxmlformats.org/drawingml/2006/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
C = "http://schemas.openxmlformats.org/drawingml/2006/chart"
MC = "http://schemas.openxmlformats.org/markup-compatibility/2006"
NAMES = f'xmlns:p="{P}" xmlns:a="{A}" xmlns:r="{R}" xmlns:c="{C}" xmlns:mc="{MC}"'
OASIS = "urn:oasis:names:tc:opendocument:xmlns"
ODF = " ".join(f'xmlns:{name}="{OASIS}:{name}:1.0"' for name in ("text", "table", "office", "style"))
ODF += f' xmlns:draw="{OASIS}:drawing:1.0" xmlns:dc="http://purl.org/dc/elements/1.1/"'
TITLE = '<x xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{}</dc:title></x>'
OLE = bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 1000


def archive(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def documents(path, told=None):
    return list(kind_of(path).read(path, Columns(), lambda *what: (pytest.fail if told is None else told.append)(what)))


def parts(document):
    return {part.title: document.text[part.start : part.end].strip() for part in document.sections}


def shape(text, kind=""):
    placeholder = f"<p:nvSpPr><p:nvPr><p:ph {f'type={chr(34)}{kind}{chr(34)}' if kind else ''}/></p:nvPr></p:nvSpPr>"
    lines = "".join(f"<a:p><a:r><a:t>{line}</a:t></a:r></a:p>" for line in text.split("\n"))
    return f"<p:sp>{placeholder}<p:txBody>{lines}</p:txBody></p:sp>"


def relationships(**targets):
    listed = "".join(
        f'<Relationship Id="{name}" Type="{R}/{kind}" Target="{target}"/>' for name, (kind, target) in targets.items()
    )
    return (
        f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{listed}</Relationships>'
    )


def slide(content, more=""):
    return f"<p:sld {NAMES} {more}><p:cSld><p:spTree>{content}</p:spTree></p:cSld></p:sld>"


TABLE = (
    "<p:graphicFrame><a:tbl><a:tr><a:tc><a:txBody><a:p><a:r><a:t>wide</a:t></a:r></a:p></a:txBody></a:tc>"
    '<a:tc hMerge="1"><a:txBody><a:p/></a:txBody></a:tc><a:tc><a:txBody><a:p><a:r><a:t>end</a:t></a:r></a:p></a:txBody>'
    "</a:tc></a:tr></a:tbl></p:graphicFrame>"
)
TWICE = (
    f"<mc:AlternateContent><mc:Choice>{shape('new')}</mc:Choice><mc:Fallback>{shape('new')}</mc:Fallback>"
    "</mc:AlternateContent>"
)
CHART = (
    f"<c:chart {NAMES}><c:title><a:p><a:r><a:t>Visits</a:t></a:r></a:p></c:title>"
    + "<c:ser><c:cat><c:strCache><c:pt><c:v>May</c:v></c:pt><c:pt><c:v>June</c:v></c:pt></c:strCache></c:cat></c:ser>"
    * 2
    + "</c:chart>"
)


def presentation():
    return {
        "docProps/core.xml": TITLE.format("The  hut"),
        "ppt/presentation.xml": f'<p:x {NAMES}><p:sldIdLst><p:sldId r:id="b"/><p:sldId r:id="a"/></p:sldIdLst></p:x>',
        "ppt/_rels/presentation.xml.rels": relationships(
            a=("slide", "/ppt/slides/slide1.xml"), b=("slide", "slides/slide2.xml")
        ),
        "ppt/slides/slide1.xml": slide(shape("The end"), 'show="0"'),
        "ppt/slides/slide2.xml": slide(
            shape("Oil the pump\nonce a year.") + TABLE + TWICE + shape("Care", "title") + shape("7", "sldNum")
        ),
        "ppt/slides/_rels/slide2.xml.rels": relationships(
            n=("notesSlide", "../notesSlides/n1.xml"), c=("chart", "../charts/c1.xml"), d=("comments", "../m.xml")
        ),
        "ppt/notesSlides/n1.xml": f"<p:notes {NAMES}>{shape('Say it twice.', 'body')}{shape('3', 'sldNum')}</p:notes>",
        "ppt/charts/c1.xml": CHART,
        "ppt/m.xml": f"<p:cmLst {NAMES}><p:cm><p:text>Is that so?</p:text></p:cm></p:cmLst>",
    }  # fmt: skip


def test_slides_come_in_their_order_with_notes_charts_and_comments(tmp_path):
    first, second = documents(archive(tmp_path / "a.pptx", presentation()))
    assert (first.at, first.title, first.metadata) == (1, "The hut", {})
    assert parts(first) == {
        "Care": "Oil the pump\nonce a year.\nwide\t\tend\nnew\n7\nSay it twice.\nVisits\nMay, June\nIs that so?"
    }
    assert (second.at, second.text.strip(), second.metadata) == (2, "The end", {"hidden": True})


def test_sheets_show_results_dates_and_the_text_of_merged_cells(tmp_path):
    book = openpyxl.Workbook()
    book.properties.title = "Prices"
    sheet = book.active
    sheet.title = "Oil"
    rows = (
        ["Item", "Share", "Code", "Day"],
        ["pump", 0.25, 7001, datetime.datetime(2024, 2, 29)],
        [],
        [True, 0.1 + 0.2],
    )
    for row in rows:
        sheet.append(row)
    sheet["B2"].number_format, sheet["C2"].number_format = "0.0%", "00000"
    sheet.merge_cells("A5:C5")
    sheet["A5"], sheet["D5"] = "two\nlines", datetime.datetime(2024, 2, 29, 9, 30)
    hidden = book.create_sheet("Secret")
    hidden.sheet_state = "hidden"
    hidden["A1"], hidden["Z1"], hidden["A1048576"] = "old", "price", "=1+1"
    book.save(tmp_path / "a.xlsx")
    told = []
    first, second = documents(tmp_path / "a.xlsx", told)
    assert (first.title, first.at, first.metadata) == ("Prices", 1, {})
    assert parts(first) == {
        "Oil": "Item\tShare\tCode\tDay\npump\t25%\t07001\t2024-02-29\nTRUE\t0.3\ntwo lines\t\t\t2024-02-29 09:30:00"
    }
    assert (second.at, parts(second), second.metadata) == (2, {"Secret": "old\t\t\tprice"}, {"hidden": True})
    ((at, reason),) = told
    assert at == NOWHERE
    assert reason.startswith("1 of its formulas have no result; open it in a spreadsheet program")


def test_results_of_formulas_are_those_that_were_computed(tmp_path):
    openpyxl.Workbook().save(tmp_path / "empty.xlsx")
    with zipfile.ZipFile(tmp_path / "empty.xlsx") as file:
        files = {name: file.read(name) for name in file.namelist()}
    cells = b'<c r="A1"><f>6*7</f><v>42</v></c><c r="B1" t="str"><f>A1</f><v>answer</v></c>'
    name = "xl/worksheets/sheet1.xml"
    files[name] = re.sub(
        b"<sheetData ?/>|<sheetData></sheetData>", b'<sheetData><row r="1">%b</row></sheetData>' % cells, files[name]
    )
    (document,) = documents(archive(tmp_path / "a.xlsx", files))
    assert document.text == "42\tanswer\n"


CONTENT = f"""<office:document-content {ODF}><office:automatic-styles><style:style style:name="P1"
style:parent-style-name="Title"/></office:automatic-styles><office:body><office:text><text:tracked-changes><text:p>deleted
</text:p></text:tracked-changes><text:p text:style-name="P1">The hut</text:p><text:h text:outline-level="1">Way</text:h>
<text:p>It is<text:s text:c="2"/>steep<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>
In winter.</text:p></text:note-body></text:note>,<text:line-break/>and  <text:span>long</text:span><text:tab/>.
<office:annotation><dc:creator>Ann</dc:creator><text:p>Is it?</text:p></office:annotation></text:p>
<text:list><text:list-item><text:p>first
</text:p></text:list-item></text:list><text:h text:outline-level="2">Times</text:h><table:table><table:table-row>
<table:table-cell><text:p>Up</text:p><text:p>slowly</text:p></table:table-cell><table:covered-table-cell/>
<table:table-cell><text:p>3 h</text:p></table:table-cell></table:table-row></table:table></office:text></office:body>
</office:document-content>"""
STYLES = f"""<office:document-styles {ODF}><style:header><text:p>Case 4711</text:p></style:header><style:footer>
<text:p>Page<text:page-number>1</text:page-number></text:p></style:footer></office:document-styles>"""


def text_document(**more):
    return {"META-INF/manifest.xml": "<m/>", "content.xml": CONTENT, "styles.xml": STYLES} | more


def test_a_text_of_libreoffice(tmp_path):
    (document,) = documents(archive(tmp_path / "a.odt", text_document()))
    assert document.title == "The hut"
    assert parts(document) == {
        "": "Page",
        "Way": "It is  steep,\nand long\t.\nIn winter.\nIs it?\nfirst",
        "Way: Times": "Up\nslowly\t3 h",
    }
    assert document.text.startswith("Case 4711\nThe hut\nWay\n")
    (titled,) = documents(archive(tmp_path / "b.odt", text_document(**{"meta.xml": TITLE.format("Mine")})))
    assert titled.title == "Mine"


@pytest.mark.parametrize(("name", "files", "reason"), [
    ("a.odt", text_document(**{"META-INF/manifest.xml": "<m:encryption-data/>"}), "is locked with a password; save"),
    ("a.odt", text_document(**{"content.xml": "<x"}), "cannot be read as ODT: unclosed token"),
    ("a.odt", text_document(**{"content.xml": "<x/>"}), "cannot be read as ODT: its content has no body"),
    ("a.pptx", presentation() | {"ppt/slides/slide2.xml": "<a>&b;</a>"}, "cannot be read as PPTX: undefined entity"),
    ("a.pptx", presentation() | {"ppt/slides/slide2.xml": '<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>'},
     "ppt/slides/slide2.xml in it declares the XML entity 'b', and entities are not expanded"),
    ("a.pptx", {"other.xml": "<a/>"}, r"cannot be read as PPTX: .*ppt/presentation.xml"),
    ("a.xlsx", {"xl/worksheets/sheet1.xml": "<a/>"}, "cannot be read as XLSX"),
    ("a.pptx", {"big.xml": b" " * (130 << 20)}, r"unpacks to 136,\d+,\d+ bytes of XML, and at most 134,217,728"),
    ("a.xlsx", {"big.xml": b" " * (130 << 20)}, r"unpacks to 136,\d+,\d+ bytes of XML"),
    ("a.odt", text_document(**{"content.xml": b" " * (65 << 20)}), "content.xml in it has more than 67,108,864 bytes"),
])  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path, name, files, reason):
    with pytest.raises(InputError, match=reason):
        list(read(archive(tmp_path / name, files), Columns(), lambda *_: None))


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx"])
def test_locked_and_old_files_are_told_from_damaged_ones(tmp_path, name):
    (tmp_path / name).write_bytes(OLE)
    with pytest.raises(
        InputError, match="is locked with a password, or in the form of older office programs; save it as"
    ):
        documents(tmp_path / name)
    (tmp_path / name).write_bytes(b"PK no")
    with pytest.raises(InputError, match=r"cannot be read as (DOCX|PPTX|XLSX): File is not a zip file"):
        documents(tmp_path / name)
