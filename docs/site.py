"""Gather the pages of the documentation's site, with their links, for `make docs`.

    python docs/site.py build/pages

In the repository a link is relative to its own file, so that readers there can follow it. On the site, links to other
pages become links between pages, called by their titles, and links to other files of the repository become plain text.
Pictures beside a page from outside docs/ are copied with it. A link that leads nowhere is an error; anchors are checked
by the builder.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Pages from outside docs/.
OUTSIDE = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/results/README.md": "results.md",
    "clients/node/README.md": "node.md",
    "recipes/e5/README.md": "recipe-e5.md",
    "recipes/reranker/README.md": "recipe-reranker.md",
    "recipes/small/README.md": "recipe-small.md",
    "recipes/toy/README.md": "recipe-toy.md",
    "src/me5/models/small/README.md": "me5-small.md",
}
# Code, which is left alone, or a link.
LINK = re.compile(r"^```.*?^```|`[^`\n]+`(?!\])|\[(?P<label>[^\]]*)\]\((?P<target>[^)\s]+)\)", re.MULTILINE | re.DOTALL)


def title(file: str) -> str:
    """Return the first heading of a page, which on the site stands for its file's name."""
    heading = re.search(r"^# (.+)$", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    return heading[1] if heading else file


def page(source: str) -> tuple[str, list[str]]:
    """Return the text of a file for the site, and its links that lead nowhere."""
    broken = []

    def rewritten(match: re.Match[str]) -> str:
        target, _, anchor = (match["target"] or "").partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not (ROOT / file).exists():
            broken.append(f"{source} links to {target}, which does not exist")
        if match.string[: match.start()].endswith("!") and "/" not in target:  # a picture beside the page
            return match[0]
        if file not in OUTSIDE and not file.startswith("docs/"):
            return match["label"]
        label = title(file) if match["label"].endswith(".md") else match["label"]
        return f"[{label}]({OUTSIDE.get(file, file.removeprefix('docs/'))}{'#' * bool(anchor)}{anchor})"

    text = LINK.sub(rewritten, (ROOT / source).read_text(encoding="utf-8"))
    text = re.sub(r"\A---\n.*?^---\n+", "", text, flags=re.MULTILINE | re.DOTALL)  # a model card's metadata
    # The second word of a fence is for the tests: `python no-run`.
    return re.sub(r"^```(\w+) [\w-]+$", r"```\1", text, flags=re.MULTILINE), broken


def main() -> None:
    """Write the folder."""
    target = Path(sys.argv[1])
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "docs", target, ignore=shutil.ignore_patterns("*.py", "*.md", "__pycache__"))
    inside = {f"docs/{path.name}": path.name for path in sorted((ROOT / "docs").glob("*.md"))}
    broken = []
    for source, name in {**inside, **OUTSIDE}.items():
        text, wrong = page(source)
        (target / name).write_text(text, encoding="utf-8")
        if source in OUTSIDE and "/" in source:
            for picture in (ROOT / source).parent.glob("*.svg"):
                shutil.copy(picture, target)
        broken += wrong
    if broken:
        raise SystemExit("\n".join(broken))


if __name__ == "__main__":
    main()
