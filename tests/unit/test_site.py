"""The pages of the documentation's site: every link of the repository's pages, and what becomes of it."""

import importlib.util

import pytest
from pages import ROOT

spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs" / "site.py")
site = importlib.util.module_from_spec(spec)
spec.loader.exec_module(site)
PAGES = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("source", [*site.OUTSIDE, *PAGES])
def test_every_link_leads_somewhere(source):
    text, broken = site.page(source)
    assert text.startswith("# ")
    assert broken == []


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in [*site.OUTSIDE.values(), *(name.removeprefix("docs/") for name in PAGES)]:
        assert f" {page}\n" in navigation, f"{page} has no place in mkdocs.yml"


def test_links_become_links_of_the_site(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "ROOT", tmp_path)
    for name in ("docs/python.md", "benchmarks/README.md", "README.md", "examples/search.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("# Title\n")
    (tmp_path / "docs" / "python.md").write_text(
        "[a](../README.md#t) [README.md](../benchmarks/README.md) [c](../examples/search.py) [d](http://e.o) [g](#h)\n"
        "[i](gone.md) `[code](gone.md)` ![j](python.md)\n\n```python no-run\nx[0](gone.md)\n```\n"
    )
    text, broken = site.page("docs/python.md")
    assert text.splitlines() == [
        "[a](index.md#t) [Title](benchmarks.md) c [d](http://e.o) [g](#h)",
        "[i](gone.md) `[code](gone.md)` ![j](python.md)", "", "```python", "x[0](gone.md)", "```",
    ]  # fmt: skip
    assert broken == ["docs/python.md links to gone.md, which does not exist"]
