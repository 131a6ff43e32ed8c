"""What a killed `me5 embed` has done: vectors of the first texts in a folder beside the target, for the next run.

    .NAME.me5-embed/
        job.json        what was asked, of which file; another question or file begins anew
        blocks.jsonl    the figures of every block of texts that was finished
        vectors         their vectors, float32, one after the other

The target is made from them at the end, and the folder removed with it.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from me5.files.atomic import alone, explained, explained_within
from me5.vectors import Float32


@dataclass(frozen=True)
class Block:
    """The figures of some texts that were embedded together; `cut` are the places of the first that lost tokens."""

    rows: int
    tokens: int
    lost: int
    truncated: int
    cut: list[int]


class Journal:
    """The vectors so far. Made by `journal`; `wanted` says whether a next run could use them."""

    wanted = True

    def __init__(self, folder: Path, dim: int) -> None:
        self._dim = dim
        self._vectors = _opened(folder / "vectors")
        self._figures = _opened(folder / "blocks.jsonl")
        self.blocks = self._whole()

    @property
    def rows(self) -> int:
        """How many texts are done."""
        return sum(block.rows for block in self.blocks)

    def add(self, block: Block, vectors: Float32) -> None:
        """Keep the vectors (rows, dim) of the next texts, for good."""
        self._vectors.write(np.ascontiguousarray(vectors, "<f4").data)
        _settled(self._vectors)
        self._figures.write(json.dumps(asdict(block)).encode() + b"\n")
        _settled(self._figures)
        self.blocks.append(block)

    def read(self, rows: int) -> Iterator[Float32]:
        """All vectors from the first on, so many at a time."""
        self._vectors.seek(0)
        while content := self._vectors.read(rows * self._dim * 4):
            yield np.frombuffer(content, "<f4").reshape(-1, self._dim)

    def close(self) -> None:
        """Close the files; what could not be written was told when it was added."""
        for file in (self._vectors, self._figures):
            with suppress(OSError):
                file.close()

    def _whole(self) -> list[Block]:
        """The blocks that are there to their end; what follows them is cut off."""
        self._figures.seek(0)
        size, end, rows, blocks = os.fstat(self._vectors.fileno()).st_size, 0, 0, []
        for line in self._figures:
            try:
                block = Block(**json.loads(line))
            except (ValueError, TypeError):
                break
            if not line.endswith(b"\n") or (rows + block.rows) * self._dim * 4 > size:
                break
            end, rows = end + len(line), rows + block.rows
            blocks.append(block)
        for file, at in ((self._figures, end), (self._vectors, rows * self._dim * 4)):
            file.truncate(at)
            file.seek(at)
        return blocks


@contextmanager
def journal(target: Path, dim: int, job: Mapping[str, Any]) -> Iterator[Journal]:
    """The journal of a target: that of an earlier run of the same `job`, else an empty one.

    It is removed where the block ends well, or nothing in it is worth keeping (`Journal.wanted`). Raises `InputError`
    where another run is at work on the same target, and where the disk is full, which keeps what is done.
    """
    final = target.resolve()
    folder = final.with_name(f".{final.name}.me5-embed")
    asked = json.dumps(job, sort_keys=True, default=str)
    with explained(str(target)):
        folder.mkdir(exist_ok=True)
    with alone(folder, f"another run writes {target}; wait for it, or write elsewhere"):
        with explained(str(target)):
            if not _is_same(folder / "job.json", asked):
                for old in folder.iterdir():
                    old.unlink()
                (folder / "job.json").write_text(asked, "utf-8")
            found = Journal(folder, dim)
        try:
            with explained_within(str(target)):
                yield found
            found.wanted = False
        finally:
            found.close()
            if not (found.wanted and found.blocks):
                shutil.rmtree(folder, ignore_errors=True)


def _is_same(path: Path, asked: str) -> bool:
    try:
        return path.read_text("utf-8") == asked
    except (OSError, UnicodeDecodeError):
        return False


def _opened(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")


def _settled(file: IO[bytes]) -> None:
    """Let the system write what a file holds, so that what the figures tell is there after any end."""
    file.flush()
    os.fdatasync(file.fileno())
