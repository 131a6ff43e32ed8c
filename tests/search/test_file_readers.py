"""What each reader makes of a file: text, title, sections, place, metadata; and what it says of a bad one."""

import datetime
import json

import docx
import pyarrow as pa
import pyarrow.parquet as pq
import pypdf
import pytest
from madepdf import pdf_of

from me5 import InputError
from me5.search.readers import Columns, kind_of


def read(path, columns=None, complain=None):
    def refuse(at, reason):
        raise AssertionError((at, reason))

    return list(kind_of(path).read(path, columns or Columns(), complain or refuse))


def sections(document):
    return {section.title: document.text[section.start : section.end].strip() for section in document.sections}


@pytest.mark.parametrize("raw", ["é\r\n二".encode(), "é\r\n二".encode("utf-8-sig"), "é\r\n二".encode("utf-16")])
def test_plain_text(tmp_path, raw):
    (tmp_path / "t.txt").write_bytes(raw)
    assert read(tmp_path / "t.txt")[0].text == "é\n二"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"caf\xe9", r"byte 4 \(0xe9\) is not valid UTF-8; convert the file, .*`iconv -f WINDOWS-1252"),
        (b"\xff\xfe\0", "is not valid UTF-16-LE; save the file again as UTF-8"),
        (b"a\0b", "NUL"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, raw, reason):
    (tmp_path / "t.txt").write_bytes(raw)
    with pytest.raises(InputError, match=reason):
        read(tmp_path / "t.txt")


def test_code_stands_under_its_name(tmp_path):
    (tmp_path / "a.py").write_text("def f(): ...\n")
    assert read(tmp_path / "a.py")[0].title == "a.py"


def test_markdown(tmp_path):
    (tmp_path / "t.md").write_text(
        "---\ntitle: 'The guide'\n---\nBefore.\n# First *one*\n\nA.\n\n## [Deep](x)\nB.\n\n```\n# no heading\n```\n"
        "Second\n======\nC.\n> # quoted\n"
    )
    (document,) = read(tmp_path / "t.md")
    assert document.title == "The guide"
    assert sections(document) == {
        "": "Before.",
        "First one": "A.",
        "First one: Deep": "B.\n# no heading",
        "Second": "C.\nquoted",
    }


def test_markdown_without_front_matter_is_called_by_its_first_heading(tmp_path):
    (tmp_path / "t.md").write_text("# Title\x0b\n\nA\u2028B\n\n## Part\nC\n")
    (document,) = read(tmp_path / "t.md")
    assert (document.title, sections(document)) == ("Title", {"": "A B", "Part": "C"})


def test_html(tmp_path):
    page = """<html lang="de-AT"><head><meta charset="ISO-8859-1"><title>Die Übersicht</title><style>p {}</style></head>
    <body><nav>Menü</nav><h1>Die Übersicht</h1><p>Ein <b>fetter</b>   Satz.</p><script>x</script><p>Noch einer.</p>
    <div><h2>Höhe</h2><ul><li>eins<li>zwei</ul>Rest</div></body></html>"""
    (tmp_path / "t.html").write_bytes(page.encode("latin-1"))
    (document,) = read(tmp_path / "t.html")
    assert (document.title, document.language) == ("Die Übersicht", "de-AT")
    assert document.text == "Die Übersicht\nEin fetter Satz.\nNoch einer.\nHöhe\neins\nzwei\nRest\n"
    assert sections(document)["Höhe"] == "eins\nzwei\nRest"
    assert sections(document)[""] == "Ein fetter Satz.\nNoch einer."


def test_html_may_be_nested_deeper_than_the_stack(tmp_path):
    (tmp_path / "t.html").write_text("<div>" * 5000 + "deep")
    assert read(tmp_path / "t.html")[0].text.strip() == "deep"


def test_pdf_by_page(tmp_path):
    (tmp_path / "t.pdf").write_bytes(pdf_of("First page.", "", "Third page."))
    assert [(document.at, document.text.strip(), document.title) for document in read(tmp_path / "t.pdf")] == [
        (1, "First page.", "The manual"), (2, "", "The manual"), (3, "Third page.", "The manual"),
    ]  # fmt: skip


def test_pdf_that_any_viewer_opens_is_read_and_a_locked_one_is_told(tmp_path):
    (tmp_path / "plain.pdf").write_bytes(pdf_of("Printing is restricted."))
    for password in ("", "secret"):
        writer = pypdf.PdfWriter(clone_from=tmp_path / "plain.pdf")
        writer.encrypt(user_password=password, owner_password="owner", algorithm="AES-256")
        writer.write(tmp_path / f"locked{password}.pdf")
    assert [document.text.strip() for document in read(tmp_path / "locked.pdf")] == ["Printing is restricted."]
    with pytest.raises(InputError, match="is locked with a password; save a copy without it"):
        list(read(tmp_path / "lockedsecret.pdf"))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [(b"%PDF-1.4 and no more", "cannot be read as PDF"), (pdf_of("", ""), "only pictures"), (b"", "PDF")],
)
def test_pdf_without_text_or_broken(tmp_path, raw, reason):
    (tmp_path / "t.pdf").write_bytes(raw)
    with pytest.raises(InputError, match=reason):
        read(tmp_path / "t.pdf")


def test_docx(tmp_path):
    file = docx.Document()
    file.core_properties.title = "Report"
    file.add_paragraph("Before.")
    file.add_heading("Part", 1)
    file.add_paragraph("Text of the part.")
    table = file.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    file.add_heading("Deeper", 2)
    file.add_paragraph("More.")
    file.save(tmp_path / "t.docx")
    (document,) = read(tmp_path / "t.docx")
    assert document.title == "Report"
    assert sections(document) == {"": "Before.", "Part": "Text of the part.\nleft\tright", "Part: Deeper": "More."}
    (tmp_path / "t.docx").write_bytes(b"PK no")
    with pytest.raises(InputError, match="cannot be read as DOCX"):
        read(tmp_path / "t.docx")


def test_jsonl_names_its_bad_lines_and_goes_on(tmp_path):
    rows = [{"text": "a", "title": "T", "n": 1, "lang": "DE"}, {"title": "no text"}, ["a list"], {"text": "b"}]
    lines = [*map(json.dumps, rows), "{broken", "", '{"text": "c"}']
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    complaints = []
    documents = read(tmp_path / "t.jsonl", complain=lambda *told: complaints.append(told))
    assert [(document.at, document.text) for document in documents] == [(1, "a"), (4, "b"), (7, "c")]
    assert (documents[0].title, documents[0].metadata, documents[0].language) == ("T", {"n": 1, "lang": "DE"}, "DE")
    assert [at for at, _ in complaints] == [2, 3, 5]
    assert "no field 'text', its fields are 'title'" in complaints[0][1]


@pytest.mark.parametrize(("suffix", "comma"), [("csv", ","), ("tsv", "\t")])
def test_csv_counts_lines_and_joins_columns(tmp_path, suffix, comma):
    (tmp_path / f"t.{suffix}").write_text(
        f'q{comma}a{comma}by\n"two\nlines"{comma}answer{comma}Ann\nonly\nx{comma}y{comma}z\n'
    )
    complaints = []
    columns = Columns(("q", "a"), "by")
    documents = read(tmp_path / f"t.{suffix}", columns, lambda *told: complaints.append(told))
    assert [(document.at, document.text, document.title) for document in documents] == [
        (2, "two\nlines\nanswer", "Ann"), (5, "x\ny", "z"),
    ]  # fmt: skip
    assert [at for at, _ in complaints] == [4]
    assert complaints[0][1].startswith("a row of 1 column, the header has 3; quote fields")
    with pytest.raises(InputError, match="no column 'text'; its columns are 'q', 'a', 'by'"):
        read(tmp_path / f"t.{suffix}")
    with pytest.raises(InputError, match=r"no column 'who'; its columns are .* Name the right one with --title-field"):
        read(tmp_path / f"t.{suffix}", Columns(("q",), "who"))
    assert read(tmp_path / f"t.{suffix}", Columns(("q",)), lambda *_: None)[0].title == ""


def test_parquet_rows_and_metadata_that_json_can_write(tmp_path):
    day = datetime.date(2024, 2, 29)
    columns = {
        "text": ["a", None],
        "day": [day, day],
        "x": [float("nan"), 1.5],
        "raw": [b"\xff", b""],
        "tags": [["p"], []],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    complaints = []
    (document,) = read(tmp_path / "t.parquet", complain=lambda *told: complaints.append(told))
    assert document.at == 0
    assert document.metadata == {"day": "2024-02-29", "x": None, "raw": "b'\\xff'", "tags": ["p"]}
    assert complaints[0][0] == 1
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read(tmp_path / "t.parquet")


def test_no_reader(tmp_path):
    with pytest.raises(InputError, match=r"no reader for \.png; known are \.txt"):
        kind_of(tmp_path / "a.png")
