"""The code of documents: fenced blocks, and the ```text block after one, which is what it prints."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(
    r"^```(?P<language>\w+)(?: (?P<kind>[\w-]+))?\n(?P<code>.*?)^```\n(?:\n```text\n(?P<printed>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
_NUMBER = r"-?\d+\.\d+"


@dataclass(frozen=True)
class Block:
    """A block of code: `kind` is the second word of its fence, such as `no-run` or `served`."""

    language: str
    kind: str
    code: str
    printed: str | None


def blocks(page: str, language: str, kind: str = "") -> list[Block]:
    text = (ROOT / page).read_text("utf-8")
    found = [
        Block(match["language"], match["kind"] or "", match["code"], match["printed"])
        for match in _FENCE.finditer(text)
        if match["language"] != "text"
    ]
    return [block for block in found if (block.language, block.kind) == (language, kind)]


def assert_prints(block: Block, output: str) -> None:
    """The output is what the page says, where it says something.

    `…` stands for anything, white space is any white space, and numbers with a point may differ as precisions do.
    """
    if block.printed is None:
        return
    pieces = re.split(rf"(…|\s+|{_NUMBER})", block.printed.strip())
    pattern = "".join(map(as_pattern, pieces))
    match = re.fullmatch(pattern, output.strip(), re.DOTALL)
    assert match, f"the page says:\n{block.printed}\nprinted was:\n{output}"
    expected = [float(piece) for piece in pieces if is_number(piece)]
    assert [float(number) for number in match.groups()] == pytest.approx(expected, rel=0.02, abs=0.02), output


def as_pattern(piece: str) -> str:
    if piece == "…":
        return ".*?"
    if piece.isspace():
        return r"\s+"
    return f"({_NUMBER})" if is_number(piece) else re.escape(piece)


def is_number(piece: str) -> bool:
    return re.fullmatch(_NUMBER, piece) is not None
