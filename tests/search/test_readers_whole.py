"""All that one would see in a file is read: DOCX, HTML, charsets, Markdown, notebooks, PDF; what is not is told."""

import json

import docx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from madepdf import pdf_of

from me5.search.documents import NoTextError
from me5.search.readers import Columns, directives, markdown, pdf, read
from me5.search.readers.html import page

W = nsdecls("w")
RUN = "<w:r><w:t>{}</w:t></w:r>"


def text_of(path):
    return "\n".join(document.text.strip() for document in read(path, Columns(), lambda *_: None))


def shown(text):
    """Title, and (section's title, text) of each section of Markdown."""
    document = markdown.document(text)
    return document.title, [(part.title, document.text[part.start : part.end].strip()) for part in document.sections]


BOX = (
    f'<w:p {W}><w:r><w:t>A </w:t></w:r><w:r xmlns:v="urn:schemas-microsoft-com:vml"><w:pict><v:shape><v:textbox>'
    "<w:txbxContent><w:p><w:r><w:t>box</w:t></w:r></w:p></w:txbxContent></v:textbox></v:shape></w:pict></w:r></w:p>"
)
CHOICE = (
    f'<w:p {W} xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><mc:AlternateContent>'
    f'<mc:Choice Requires="wps">{RUN.format("once")}</mc:Choice><mc:Fallback>{RUN.format("once")}</mc:Fallback>'
    "</mc:AlternateContent></w:p>"
)


@pytest.mark.parametrize(("xml", "text"), [
    (f'<w:p {W}>{RUN.format("is ")}<w:del w:id="1"><w:r><w:delText>100</w:delText></w:r></w:del>'
     f'<w:ins w:id="2">{RUN.format("250")}</w:ins></w:p>', "is 250"),
    (f"<w:sdt {W}><w:sdtContent><w:p>{RUN.format('control')}</w:p></w:sdtContent></w:sdt>", "control"),
    (f"<w:p {W}>{RUN.format('To ')}<w:sdt><w:sdtContent>{RUN.format('me')}</w:sdtContent></w:sdt></w:p>", "To me"),
    (f'<w:p {W}><w:fldSimple w:instr="DATE">{RUN.format("12 May")}</w:fldSimple></w:p>', "12 May"),
    (f'<w:p {W}><w:r><w:instrText>HYPERLINK</w:instrText></w:r><w:hyperlink>{RUN.format("link")}</w:hyperlink></w:p>',
     "link"),
    (BOX, "A\nbox"),
    (CHOICE, "once"),
    (f"<w:p {W}><w:r><w:t>well</w:t><w:noBreakHyphen/><w:t>kn\u00adown</w:t><w:br/><w:t>x</w:t><w:tab/></w:r></w:p>",
     "well-known\nx"),
    (f'<w:tbl {W}><w:tr><w:tc><w:tcPr><w:gridSpan w:val="100000000"/></w:tcPr><w:p>{RUN.format("wide")}</w:p></w:tc>'
     f"<w:sdt><w:sdtContent><w:tc><w:tbl><w:tr><w:tc><w:p>{RUN.format('inner')}</w:p></w:tc></w:tr></w:tbl><w:p/></w:tc>"
     "</w:sdtContent></w:sdt></w:tr></w:tbl>", "wide\tinner"),
])  # fmt: skip
def test_docx_is_read_as_word_shows_it(tmp_path, xml, text):
    file = docx.Document()
    file.element.body.insert(0, parse_xml(xml))
    file.save(tmp_path / "a.docx")
    assert text_of(tmp_path / "a.docx") == text


def test_docx_headers_comments_and_styles(tmp_path):
    file = docx.Document()
    file.sections[0].header.paragraphs[0].text = "Case 4711"
    file.sections[0].footer.paragraphs[0].text = "Page"
    file.add_heading("Part", 1)
    run = file.add_paragraph("Text.").runs[0]
    file.add_comment(run, "Is this right?", "Ann")
    style = file.styles.add_style("Mine", 1)
    style.base_style = file.styles["Heading 2"]
    file.add_paragraph("Deeper", "Mine")
    file.add_paragraph("x" * 300, "Mine")
    file.save(tmp_path / "a.docx")
    (document,) = read(tmp_path / "a.docx", Columns(), lambda *_: None)
    parts = {part.title: document.text[part.start : part.end].strip() for part in document.sections}
    assert parts == {"": "Is this right?\nPage", "Part": "Text.", "Part: Deeper": "x" * 300}
    assert document.text.startswith("Case 4711")


@pytest.mark.parametrize(("source", "title", "text"), [
    ("<title>T</title><form><h1>Rules</h1><p>Thirty days.</p></form>", "T", "Rules\nThirty days."),
    ("<h2><button>How long?</button></h2><p>Two years.", "", "How long?\nTwo years."),
    ("<details><summary>Returns</summary>In 14 days.</details>", "", "Returns\nIn 14 days."),
    ("<h1>Annual<br>Report</h1><p>x", "", "Annual Report\nx"),
    ("<svg><title>icon</title></svg><p>Text", "", "Text"),
    ("<noscript><p>Kept</p></noscript><noscript>Please enable JavaScript!</noscript>", "", "Kept"),
    ("<h2>Part <a href='#p'>¶</a></h2><pre>a\n  b</pre>", "", "Part\na\n  b"),
    ("<nav><ul><li>one<li>two</ul></nav>", "", "one\ntwo"),
    ("<label>Name</label><select><option>a<option>b</select><table><tr><td>c<td>d", "", "Name\na\nb\nc\td"),
    ("<p>exam&shy;ple<wbr>s", "", "examples"),
])  # fmt: skip
def test_html_is_read_whole(source, title, text):
    document = page(source)
    assert (document.title, document.text.strip()) == (title, text)


CHARSETS = [
    (b'<meta charset="iso-8859-1"><p>\x93yes\x94 \x80 \x81', "“yes” € \x81"),
    ('<meta charset="gb2312"><p>朱镕基'.encode("gbk"), "朱镕基"),
    ('<meta charset="shift_jis"><p>①髙橋'.encode("cp932"), "①髙橋"),
    ('<meta charset="x-sjis"><p>①髙橋'.encode("cp932"), "①髙橋"),
    ('<meta charset="ks_c_5601-1987"><p>똠방각하'.encode("cp949"), "똠방각하"),
    (b'<meta charset="utf-16"><p>plain', "plain"),
    (b'\xef\xbb\xbf<meta charset="iso-8859-1"><p>' + "Größe".encode(), "Größe"),
    ("\ufeff<meta charset=latin1><p>Größe".encode("utf-16-le"), "Größe"),
    (b'<!-- <meta charset="latin1"> --><meta charset="utf-8"><p>' + "Größe".encode(), "Größe"),
    (b'<?xml version="1.0" encoding="ISO-8859-1"?><html><p>Gr\xf6\xdfe', "Größe"),
    (b'<meta charset="unicode_escape"><p>C:\\x41', "C:\\x41"),
    (b'<meta name="description" content="charset=latin1"><p>' + "Größe".encode(), "Größe"),
    (b'<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-15"><p>\xa4', "€"),
]


@pytest.mark.parametrize(("raw", "text"), CHARSETS, ids=range(len(CHARSETS)))
def test_charsets_are_those_of_browsers(tmp_path, raw, text):
    (tmp_path / "a.html").write_bytes(raw)
    assert text_of(tmp_path / "a.html") == text


@pytest.mark.parametrize(("text", "expected"), [
    ("---\n\nFirst.\n\n---\n\nSecond.\n", ("", [("", "First.\nSecond.")])),
    ("---\nfirst: a colon\n\nno key\n---\nSecond.\n", ("", [("", "first: a colon"), ("no key", "Second.")])),
    ("# Glossary\n\n## API\n\n## REST\n", ("Glossary", [("", "API\nREST")])),
    ("# Title\n", ("Title", [("", "Title")])),
    ("# T\n\nIntro.\n\n## A\n\n### B\n\ntext\n\n## C\n", ("T", [("", "Intro."), ("A: B", "text\nC")])),
    ("# max_seq_length and __init__\n\nx", ("max_seq_length and __init__", [("", "x")])),
    ("# Use <T> where a < b > c, 1\\. Foo &amp; bar\n\nx", ("Use <T> where a < b > c, 1. Foo & bar", [("", "x")])),
    ("---\ntitle: >\n  Folded title\ntags: [budget]\n---\nbody\n", ("Folded title", [("", "budget\nbody")])),
    ("---  \ntitle: One: two\nlayout: post\n---\nbody\n", ("One: two", [("", "body")])),
    ("Say <script> and <title>, not more.\n\nEnd.", ("", [("", "Say <script> and <title>, not more.\nEnd.")])),
    ("[^1]: word\n\nA note[^1] and [[Page|a link]].", ("", [("", "word\nA note and a link.")])),
])  # fmt: skip
def test_markdown_loses_no_words(text, expected):
    title, parts = shown(text)
    assert (
        title,
        [(name.removeprefix(f"{title}: ") if name != title else "", part) for name, part in parts],
    ) == expected


def test_front_matter_is_metadata():
    document = markdown.document("---\ntitle: T\ndate: 2024-02-29\ntags: [a, b]\nlang: de-AT\n---\nx")
    assert document.metadata == {"date": "2024-02-29", "tags": ["a", "b"], "lang": "de-AT"}
    assert document.language == "de-AT"


DIRECTIVES = {
    '!!! note "Mind"\n    Body.\n\n    More.\n\nAfter.': "Mind\nBody.\nMore.\nAfter.",
    "??? tip\n    - a\n    - b": "a\nb",
    '=== "Tab"\n\n    ```sh\n    run {{ x }}\n    ```\n\nAfter': "Tab\nrun {{ x }}\nAfter",
    "/// note | Title\n    attrs: {class: x}\n\nBody.\n\n///": "Title\nBody.",
    "::: pkg.mod.name\n    options:\n        members:\n            - app\n\nAfter": "pkg.mod.name\nAfter",
    ":::tip[Read this]\nBody.\n:::": "Read this\nBody.",
    "::: {.callout-note}\nBody.\n:::": "Body.",
    "```{note} Title\n:class: x\nBody *bold*.\n```\nAfter": "Title\nBody bold.\nAfter",
    "```{code-block} python\nx = 1\n```": "x = 1",
    "A {{ macro }} {% if x %}and{% endif %} b{ .cls #id }": "A and b",
    "[![CI](a.svg)](b) ![A chart](c.png){ width=50% }": "A chart",
    '<!-- sponsors -->\n\nText <!-- x -->here.\n\n{* ../../b.py hl[1] *}\n\n--8<-- "c.md"\n\n{!a.md!}': "Text here.",
    '<div align="center" markdown>\n<b>Bold</b> &amp; more<br>next\n</div>': "Bold & more\nnext",
    "> [!WARNING] Mind\n> the gap": "Mind the gap",
    "- [ ] open\n- [x] done :material-check:": "open\ndone",
    "See {ref}`the docs <x>`.": "See the docs <x>.",
    "[TOC]\n\nText": "Text",
    "<Badge type=\"tip\" text=\"x\" />\n\nText": "Text",
    "| a | b |\n|---|---|\n| c | d |": "a\tb\nc\td",
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), DIRECTIVES.items(), ids=range(len(DIRECTIVES)))
def test_markup_beyond_commonmark_does_not_reach_the_text(text, expected):
    assert markdown.document(text).text.strip() == expected


def test_mdx_has_lines_of_javascript():
    lines = ["import X from 'x'", "export const a = {", "  b: 1,", "}", "", "# Title", "<X />", "Text"]
    assert directives.without(lines, components=True) == ["# Title", "<X />", "Text"]


def test_notebooks(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# Plot\n", "\n", "Draw it:"]},
        {"cell_type": "code", "source": "print('```')", "outputs": [{"text": "printed"}]},
        {"cell_type": "raw", "source": "raw"},
    ]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))
    (document,) = read(tmp_path / "a.ipynb", Columns(), lambda *_: None)
    assert (document.title, document.text) == ("Plot", "Plot\nDraw it:\nprint('```')\nraw\n")


@pytest.mark.parametrize(("text", "joined"), [
    ("an exam-\nple of Wör-\n ter", "an example of Wörter"),
    ("a well-known and well-\nknown fact", "a well-known and well-known fact"),
    ("Haupt-\nund Nebensatz, Müller-\nMeier", "Haupt- und Nebensatz, Müller-Meier"),
    ("soft\u00ad\nware, hand\u00adbook", "software, handbook"),
    ("1990-\n2000, a - \nb", "1990-\n2000, a - \nb"),
])  # fmt: skip
def test_words_broken_at_line_ends_of_pdfs_are_joined(text, joined):
    assert pdf.whole_words(text) == joined


def test_words_broken_at_the_end_of_a_line_of_a_pdf_are_joined(tmp_path):
    lines = "an exam-) Tj 0 -14 Td (ple of a well-) Tj 0 -14 Td (known word, well-known"
    (tmp_path / "a.pdf").write_bytes(pdf_of(lines))
    assert text_of(tmp_path / "a.pdf") == "an example of a well-known word, well-known"


def test_pages_without_text_are_told(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf_of("Text.", "", "", ""))
    told = []
    assert len(list(read(tmp_path / "a.pdf", Columns(), lambda *what: told.append(what)))) == 4
    ((at, reason),) = told
    assert at == 2
    assert reason.startswith("pages 2 to 4 hold no text")


@pytest.mark.parametrize(("name", "text"), [
    ("a.html", '<body><div id="app"></div><script src="a.js"></script>'), ("a.md", "<!-- nothing -->"),
    ("a.txt", " \n"), ("a.jsonl", '{"text": ""}\n'), ("a.ipynb", '{"cells": []}'), ("a.csv", "text\n"),
])  # fmt: skip
def test_a_file_without_text_is_told(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(NoTextError, match="holds no text"):
        list(read(tmp_path / name, Columns(), lambda *_: None))


@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
def test_csv_between_whose_columns_something_else_stands(tmp_path, separator):
    rows = [["id", "text"], ["1", "Hallo, Welt"]]
    (tmp_path / "a.csv").write_text("\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows))
    (document,) = read(tmp_path / "a.csv", Columns(), lambda *_: None)
    assert (document.text, document.metadata) == ("Hallo, Welt", {"id": "1"})


def test_csv_in_utf_16_and_with_a_column_twice(tmp_path):
    (tmp_path / "a.csv").write_text("text,n\nGröße,1\n", encoding="utf-16")
    assert text_of(tmp_path / "a.csv") == "Größe"
    (tmp_path / "b.csv").write_text("text,text\na,b\n")
    with pytest.raises(ValueError, match="has 2 columns 'text'"):
        text_of(tmp_path / "b.csv")
