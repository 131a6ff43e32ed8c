"""Draw the terminal of README from real runs of its commands.

    python docs/pictures.py

Every command runs in an empty folder with the repository's examples; what it writes, colours included, becomes an SVG
without fonts or anything else from the network.
"""

from __future__ import annotations

import html
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "terminal.svg"
WIDTH = 92
COMMANDS = (
    'me5 score -q "how tall is K2?" \\\n'
    '    -d "Der K2 ist 8611 Meter hoch." -d "富士山の高さは3776メートルです。" -d "Bake it."',
    "me5 index examples/documents --into hut.lance",
    'me5 search hut.lance "temperature of the hot spring bath" -k 1',
)
# As rich's own, but with fonts of the reader's machine instead of one from a server.
FRAME = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
 font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def run(command: str, folder: Path) -> str:
    """Return what a command writes on a terminal; of standard error the last line, without the progress before it."""
    terminal, end = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(WIDTH), "TERM": "xterm-256color", "HF_HUB_OFFLINE": "1"}
    script = f'me5() {{ "{sys.executable}" -m me5 "$@"; }}; {command}'
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=end,
        stderr=subprocess.PIPE,
    )
    os.close(end)
    written = b""
    while chunk := read(terminal):
        written += chunk
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"{command} failed:\n{errors.decode()}")
    summary = errors.decode().strip().splitlines()[-1:]
    return "\n".join([*summary, written.decode().replace("\r\n", "\n").rstrip()]).strip("\n")


def read(terminal: int) -> bytes:
    """Return what a terminal has for us, nothing when its program has ended."""
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux's way to say that nobody writes any more
        return b""


def spread(svg: str) -> str:
    """Return the picture with every text as wide as its cells: rich counts characters, and Chinese ones take two."""

    def stretched(text: re.Match[str]) -> str:
        written = html.unescape(text["text"])
        width = float(text["width"]) * cell_len(written) / len(written)
        return f'{text["before"]}textLength="{width:g}"{text["after"]}{text["text"]}</text>'

    pattern = r'(?P<before><text [^>]*)textLength="(?P<width>[\d.]+)"(?P<after>[^>]*>)(?P<text>[^<]+)</text>'
    return re.sub(pattern, stretched, svg)


def main() -> None:
    """Draw the picture."""
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)  # noqa: PTH123, SIM115
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "examples").symlink_to(ROOT / "examples")
        for command in COMMANDS:
            console.print(Text("$ ", "bold green") + Text(command, "bold"))
            console.print(Text.from_ansi(run(command, folder)), highlight=False)
            console.print()
    svg = console.export_svg(title="me5", code_format=FRAME, unique_id="me5")
    PICTURE.write_text(spread(svg), encoding="utf-8")


if __name__ == "__main__":
    main()
