"""What documents and file names say, made harmless for a terminal, whose cursor an escape sequence could move."""

import json
from typing import Any

_CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]
# One character each, so that offsets stay what they are. Marks that turn the direction of writing could hide what
# follows.
_HARMLESS = dict.fromkeys([*_CONTROLS, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\N{REPLACEMENT CHARACTER}")
_IN_TEXT = {code: sign for code, sign in _HARMLESS.items() if chr(code) not in "\n\t"}
_IN_JSON = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), *range(0xD800, 0xE000))}


def line(text: str) -> str:
    """A name or a message on one line, of as many characters."""
    return text.translate(_HARMLESS)


def body(text: str) -> str:
    """A text with its line breaks and tabs, of as many characters."""
    return text.translate(_IN_TEXT)


def as_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON with control characters as `\\u009b`: it reads back to the same value."""
    return json.dumps(value, ensure_ascii=False, indent=indent).translate(_IN_JSON)
