"""What one file may cost: time and memory have limits that are told, and the files beside it are read."""

import signal
import threading
import zipfile

import docx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from madepdf import pdf_of

from me5 import InputError
from me5.files.lines import LONGEST
from me5.search.documents import Document, NoTextError
from me5.search.readers import Columns, directives, kind_of, markdown, read
from me5.search.readers.confined import Confined
from me5.search.readers.html import page
from me5.search.readers.plain import MOST
from me5.search.splitting import Splitter


@pytest.fixture(scope="module")
def confined():
    with Confined() as confined:
        yield confined


def documents(confined, path, complain=lambda *_: None):
    return list(confined.read(path, Columns(), complain))


def test_another_process_reads_what_this_one_would(confined, tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf_of("Text.", "", ""))
    (tmp_path / "b.html").write_text("<html lang=de><title>T</title><h1>Höhe</h1>" + "<p>Ein Satz.</p>" * 1000)
    pq.write_table(pa.table({"text": ["a", None], "n": [1, 2]}), tmp_path / "c.parquet")
    for name in ("a.pdf", "b.html", "c.parquet"):
        here, there, path = [], [], tmp_path / name
        assert kind_of(path).safe is not None
        assert path.stat().st_size > kind_of(path).safe
        expected = list(read(path, Columns(), lambda *what, told=here: told.append(what)))
        assert documents(confined, path, lambda *what, told=there: told.append(what)) == expected
        assert there == here
    (tmp_path / "d.pdf").write_bytes(pdf_of(""))
    with pytest.raises(NoTextError, match="holds no text"):
        documents(confined, tmp_path / "d.pdf")
    (tmp_path / "e.pdf").write_bytes(b"%PDF no")
    with pytest.raises(InputError, match="cannot be read as PDF"):
        documents(confined, tmp_path / "e.pdf")


def test_a_reader_that_is_left_half_way_does_not_mix_up_files(confined, tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf_of(*(f"page {n}" for n in range(9))))
    (tmp_path / "b.pdf").write_bytes(pdf_of("other"))
    half = confined.read(tmp_path / "a.pdf", Columns(), lambda *_: None)
    next(half)
    half.close()
    assert [document.text.strip() for document in documents(confined, tmp_path / "b.pdf")] == ["other"]


def test_what_takes_too_long_is_ended_and_the_next_file_is_read(tmp_path):
    (tmp_path / "a.html").write_text("<div>" * 200_000)
    (tmp_path / "b.html").write_text("<p>Text.</p>" * 1000)
    with Confined(seconds=1) as confined:
        with pytest.raises(InputError, match="takes more than 1 s of processor time to read"):
            documents(confined, tmp_path / "a.html")
        assert len(documents(confined, tmp_path / "b.html")) == 1


def test_what_takes_too_much_memory_is_told_and_the_next_file_is_read(tmp_path):
    (tmp_path / "a.html").write_text("<b>x</b>" * 1_000_000)
    (tmp_path / "b.pdf").write_bytes(pdf_of("Text."))
    with Confined(memory=200 << 20) as confined:
        with pytest.raises(InputError, match=r"200 MiB of memory|ended the process|cannot be read"):
            documents(confined, tmp_path / "a.html")
        assert len(documents(confined, tmp_path / "b.pdf")) == 1


def test_a_crash_is_told(tmp_path):
    (tmp_path / "a.html").write_text("<div>" * 200_000)
    (tmp_path / "b.pdf").write_bytes(pdf_of("one", "two"))
    with Confined() as confined:
        assert documents(confined, tmp_path / "b.pdf")
        process = confined._process
        crash = threading.Timer(0.2, process.send_signal, [signal.SIGSEGV])  # it would take a minute to read it
        crash.start()
        with pytest.raises(InputError, match=r"ended the process that read it \(SIGSEGV\)"):
            documents(confined, tmp_path / "a.html")
        crash.join()
        assert len(documents(confined, tmp_path / "b.pdf")) == 2
        confined._process.kill()  # between two files, as the kernel may
        confined._process.wait()
        assert len(documents(confined, tmp_path / "b.pdf")) == 2


def test_a_docx_that_unpacks_to_too_much_is_refused_before_it_is(tmp_path):
    path = tmp_path / "a.docx"
    docx.Document().save(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("word/extra.xml", "w") as part:
        for _ in range(130):
            part.write(b" " * (1 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InputError, match=r"unpacks to 137,\d+,\d+ bytes of XML, and at most 134,217,728 are read"):
        list(read(path, Columns(), lambda *_: None))


def test_a_file_that_is_too_large_is_told(tmp_path):
    for name in ("a.txt", "a.py", "a.md", "a.html"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(MOST + 1)
        with pytest.raises(InputError, match=r"has 67,108,865 bytes, and at most 67,108,864 are read"):
            list(read(tmp_path / name, Columns(), lambda *_: None))


def test_rows_that_are_too_long_are_told_and_the_others_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "' + b"a" * LONGEST + b'"}\n{"text": "b"}\n')
    told = []
    (document,) = read(tmp_path / "a.jsonl", Columns(), lambda *what: told.append(what))
    assert document.text == "b"
    assert told == [(1, "the line has more than 16 MiB, the most that is read; split it into several")]
    pq.write_table(pa.table({"text": ["a" * (LONGEST + 1), "b"]}), tmp_path / "a.parquet")
    assert [row.text for row in read(tmp_path / "a.parquet", Columns(), lambda *what: told.append(what))] == ["b"]
    assert told[1][0] == 0
    (tmp_path / "a.csv").write_text('text\nb\n"' + ("a" * 1023 + "\n") * (LONGEST // 1024 + 1) + '"\n')
    with pytest.raises(InputError, match=r"^line 3: the record .* cannot be read \(it has more than 16,777,216 char"):
        list(read(tmp_path / "a.csv", Columns(), lambda *_: None))


def test_metadata_has_a_limit_that_is_told(tmp_path):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "a", "html": "{"x" * 70_000}", "n": 1}}\n')
    told = []
    (document,) = read(tmp_path / "a.jsonl", Columns(), lambda *what: told.append(what))
    assert document.metadata == {"n": 1}
    assert "the column 'html' is left out of its metadata" in told[0][1]


HARD = {
    "Chinese": "漢字仮名交じり文" * 40_000,
    "Thai": "ประเทศไทยมีภูเขาสูง" * 15_000,
    "one word": "a" * 1_000_000,
    "JSON": '{"id":123,"name":"abc def"},' * 20_000,
    "blank lines": "a" + "\n" * 4_000_000 + "b",
    "lines": "a\n" * 200_000,
}


@pytest.mark.parametrize("text", HARD.values(), ids=HARD)
def test_text_without_ends_is_cut_in_linear_time(embedder, text):
    # Quadratic time would be minutes for each.
    passages = list(Splitter(embedder, 128).split(Document(text)))
    assert max(len(passage.text) for passage in passages) <= 16 * 128 * 1.25
    assert "".join("".join(passage.text.split()) for passage in passages) == "".join(text.split())


def test_pieces_are_those_of_the_whole_text(embedder):
    from me5.search import splitting

    text = "".join(f"This is sentence {n}, and it ends.{' ' if n % 7 else chr(10) * 2}" for n in range(400))
    whole = [(at, at + len(piece)) for at, piece in splitting._splitter(300).chunk_indices(text)]
    assert list(splitting._spans(text, 300)) == whole


def test_short_pieces_join_their_neighbours(embedder):
    text = "\n\n".join(["]", "Long enough. " * 60, "///", "Another one. " * 60, "}"])
    passages = list(Splitter(embedder, 64).split(Document(text)))
    assert len(passages) > 3
    assert min(len(passage.text) for passage in passages) > 20
    assert "".join("".join(passage.text.split()) for passage in passages) == "".join(text.split())


@pytest.mark.parametrize("text", [
    "[" * 8000, "*a_ " * 2000, "[a](b" * 1600, "{{" * 4000, "{ #a" * 2000, "[[" * 4000, "<a " * 2700, "`" * 8000,
    "---\n" + "a: b\n" * 1600, "- " * 4000, ">" * 8000, ":" * 8000, "!!! " * 2000, "```\n" * 2000,
], ids=range(14))  # fmt: skip
def test_markdown_that_is_read_here_takes_no_minutes(text):
    markdown.document(text)


def test_patterns_of_directives_are_linear():
    for text in (
        "{{" * 100_000,
        "{ #a" * 100_000,
        "[^" * 100_000,
        "[[a|" * 100_000,
        "{a=" * 100_000,
        ":material-" * 50_000,
    ):
        assert directives.without_inline(text)
        directives.without([text])


def test_html_that_is_read_here_takes_no_minutes():
    assert page("<div>" * 1600 + "deep").text == "deep\n"
    assert page("<p " + " ".join(f"a{n}=1" for n in range(1000)) + ">x").text == "x\n"
