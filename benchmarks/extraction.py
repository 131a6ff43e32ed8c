"""How much of a document's text readers of HTML and PDF find: me5's beside trafilatura, markitdown, pypdf, pypdfium2.

    python benchmarks/extraction.py FOLDER... [--pages 50]

The folders hold Markdown, such as the `docs` of projects; files of 1 to 40 KB are taken. Each becomes a page of a site
(MkDocs, with a theme's navigation, search and footer) and a PDF (WeasyPrint, every second in two columns, all with
running headers); what the Markdown itself renders to is what has to be found. Prints the means of precision, recall and
F1 over words, of F1 over pairs of neighbouring words (which a wrong order or torn words cost), the worst F1, and the
processor time, and last the JSON that it writes to benchmarks/results/extraction_MACHINE_DATE.json. Needs mkdocs,
weasyprint, trafilatura, lxml_html_clean, markitdown[pdf] and pypdf beside me5[search].
"""

import argparse
import contextlib
import html.parser
import json
import logging
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import markdown
import pypdf
import pypdfium2
import trafilatura
import weasyprint
from harness import results as files
from markitdown import MarkItDown

from me5.search.readers import html as me5_html
from me5.search.readers import pdf as me5_pdf

EXTENSIONS = ["tables", "fenced_code", "admonition", "attr_list", "def_list", "footnotes", "toc"]
PRINT = """
@page {{ size: A4; margin: 2.5cm 2cm; @top-left {{ content: "{title}"; font-size: 8pt }}
         @bottom-right {{ content: "page " counter(page) " of " counter(pages); font-size: 8pt }} }}
body {{ font: 10pt serif; hyphens: auto; text-align: justify; columns: {columns} }} pre {{ white-space: pre-wrap }}
"""
BLOCKS = re.compile(r"p|div|h[1-6]|li|ul|ol|t[dhr]|table|pre|br|hr|d[dtl]|blockquote|section|article")


class _Text(html.parser.HTMLParser):
    """The text of HTML, with a line feed around every block."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self._block(tag)

    def handle_endtag(self, tag: str) -> None:
        self._block(tag)

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def _block(self, tag: str) -> None:
        if BLOCKS.fullmatch(tag):
            self.parts.append("\n")


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def overlap(found: list[str], expected: list[str]) -> tuple[float, float, float]:
    """Precision, recall and F1 of one bag in another."""
    shared = (Counter(found) & Counter(expected)).total()
    precision, recall = shared / max(len(found), 1), shared / max(len(expected), 1)
    return precision, recall, 2 * shared / max(len(found) + len(expected), 1)


def scores(text: str, truth: str) -> list[float]:
    found, expected = words(text), words(truth)
    pairs = [list(pairwise(one)) for one in (found, expected)]
    return [*overlap(found, expected), overlap(*pairs)[2]]


def pdfium(path: Path) -> str:
    document = pypdfium2.PdfDocument(path)
    return "\n".join(page.get_textpage().get_text_range() for page in document)


def pypdf_text(path: Path) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages)


def readers() -> dict[str, dict[str, Callable[[Path], str]]]:
    convert = MarkItDown().convert
    return {
        "html": {
            "me5": lambda path: next(me5_html.read(path)).text,
            "trafilatura": lambda path: trafilatura.extract(path.read_text("utf-8")) or "",
            "trafilatura, favor_recall": lambda path: trafilatura.extract(path.read_text(), favor_recall=True) or "",
            "markitdown": lambda path: convert(path).text_content,
        },
        "pdf": {
            "me5 (PDFium)": lambda path: "\n".join(one.text for one in me5_pdf.read(path, lambda *_: None)),
            "pypdfium2 alone": pdfium,
            "pypdf, words joined as me5 does": lambda path: me5_pdf.whole_words(pypdf_text(path)),
            "markitdown (pdfminer)": lambda path: convert(path).text_content,
        },
    }


def build(sources: list[Path], work: Path, theme: str) -> dict[str, list[tuple[Path, str]]]:
    """(file, its true text) of every page and PDF."""
    docs, site, prints = work / "docs", work / theme, work / "pdf"
    for folder in (docs, prints):
        folder.mkdir(exist_ok=True)
    for number, source in enumerate(sources):
        shutil.copyfile(source, docs / f"{number:03}.md")
    config = {"site_name": "Measured", "docs_dir": str(docs), "site_dir": str(site), "theme": theme}
    config |= {
        "use_directory_urls": False,
        "markdown_extensions": EXTENSIONS,
        "validation": {"links": {"not_found": "ignore"}},
    }
    (work / "mkdocs.yml").write_text(json.dumps(config))
    subprocess.run([sys.executable, "-m", "mkdocs", "build", "-q", "-f", work / "mkdocs.yml"], check=True)
    made: dict[str, list[tuple[Path, str]]] = {"html": [], "pdf": []}
    for number, source in enumerate(sources):
        body = markdown.markdown(
            re.sub(r"\A---\n.*?\n---\n", "", source.read_text("utf-8"), flags=re.DOTALL), extensions=EXTENSIONS
        )
        parser = _Text()
        parser.feed(body)
        truth = "".join(parser.parts)
        made["html"].append((site / f"{number:03}.html", truth))
        target = prints / f"{number:03}.pdf"
        style = PRINT.format(title=source.stem, columns=1 + number % 2)
        plain = re.sub(r"<img\b[^>]*>", "", body)
        weasyprint.HTML(string=f"<html lang=en><style>{style}</style><body>{plain}").write_pdf(target)
        made["pdf"].append((target, truth))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--pages", type=int, default=50, help="at most so many files")
    parser.add_argument("--theme", default="readthedocs")
    parser.add_argument("--out", type=Path, default=files.RESULTS)
    options = parser.parse_args()
    run = files.begin("extraction")
    for name in ("weasyprint", "fontTools", "trafilatura", "pdfminer"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    found = [
        path
        for folder in options.folders
        for path in sorted(folder.rglob("*.md"))
        if 1000 < path.stat().st_size < 40_000
    ]
    sources = found[: options.pages]
    results: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as work:
        made = build(sources, Path(work), options.theme)
        for form, named in readers().items():
            figures: dict[str, list[list[float]]] = {name: [] for name in named}
            seconds: dict[str, float] = dict.fromkeys(named, 0.0)
            for path, truth in made[form]:
                for name, read in named.items():  # in turns
                    text, started = "", time.process_time()
                    with contextlib.suppress(Exception):  # then it found nothing
                        text = read(path)
                    seconds[name] += time.process_time() - started
                    figures[name].append(scores(text, truth))
            results[form] = {
                name: dict(
                    zip(
                        ("precision", "recall", "f1", "f1_pairs"),
                        (round(100 * statistics.fmean(one), 2) for one in zip(*rows, strict=True)),
                        strict=True,
                    ),
                    worst_f1=round(100 * min(row[2] for row in rows), 2),
                    ms=round(1000 * seconds[name] / len(rows), 1),
                )
                for name, rows in figures.items()
            }
    for form, named in results.items():
        print(f"\n{form}, {len(sources)} documents: precision, recall, F1, F1 of pairs, worst F1; ms of processor time")
        for name, row in named.items():
            print(f"  {name:36}" + "".join(f"{value:8.2f}" for value in row.values()))
    run |= {"documents": len(sources), "theme": options.theme, "results": results}
    print(files.save(run, options.out))


if __name__ == "__main__":
    main()
