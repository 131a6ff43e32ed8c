"""Resumable sharded jobs: rows are processed a shard at a time, and finished shards survive a kill.

A job is a folder. `job.json` records what is made there, with which settings, from which input; each finished shard is
a file, written atomically. Starting the same job again computes the missing shards only, so a kill costs one shard.
Starting another job in the same folder is an error that names the differences.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from me5._version import __version__
from me5.errors import InputError
from me5.files.atomic import alone, explained, is_draft, replacing, write_text
from me5.progress import Advance, track

FORMAT = 1


@dataclass(frozen=True)
class Shard:
    """Rows `start` to `stop` of a job's input, and the file of their results."""

    number: int
    start: int
    stop: int
    path: Path

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def done(self) -> bool:
        """Whether the file is there, and so whole."""
        return self.path.exists()


@dataclass(frozen=True)
class Job:
    """A folder of shards of `rows` rows in all, `size` in each. Made by `open_job`."""

    folder: Path
    rows: int
    size: int
    suffix: str

    @property
    def shards(self) -> list[Shard]:
        """All shards in order, done or not."""
        starts = range(0, self.rows, self.size)
        return [
            Shard(number, start, min(start + self.size, self.rows), self.folder / f"{number:05}{self.suffix}")
            for number, start in enumerate(starts)
        ]

    @property
    def missing(self) -> list[Shard]:
        """The shards that are not computed yet, in order."""
        return [shard for shard in self.shards if not shard.done]

    @property
    def rows_done(self) -> int:
        """How many rows earlier runs have finished."""
        return sum(len(shard) for shard in self.shards if shard.done)

    def run(self, write: Callable[[Shard, IO[bytes]], None]) -> None:
        """Compute every missing shard: `write` writes it to an open file.

        One process at a time: a second one that has something to compute in the same folder gets an `InputError`.
        """
        if not self.missing:
            return
        with alone(self.folder, busy(self.folder)):
            for shard in self.missing:
                with replacing(shard.path) as file:
                    write(shard, file)


@dataclass(frozen=True)
class Workspace:
    """A folder of jobs that build on each other, such as vectors, then a search, then negatives.

    `restart` discards jobs whose settings or inputs have changed, and keeps those that are still valid. `dtype` is the
    type of stored vectors: float16 moves a cosine by about 1e-5 and takes half the room.
    """

    folder: Path
    restart: bool = False
    dtype: Literal["float16", "float32"] = "float16"
    show_progress_bar: bool = False

    def job(
        self, name: str, *, rows: int, size: int, suffix: str, settings: Mapping[str, Any], inputs: Mapping[str, str]
    ) -> Job:
        """See `open_job`."""
        return open_job(
            self.folder / name, rows=rows, size=size, suffix=suffix, settings=settings, inputs=inputs,
            restart=self.restart,
        )  # fmt: skip

    @contextmanager
    def progress(self, job: Job, description: str) -> Iterator[Advance]:
        """A progress bar over the rows that are missing."""
        with track(
            job.rows - job.rows_done, show=self.show_progress_bar, description=description, unit="rows"
        ) as advance:
            yield advance


def open_job(
    folder: Path,
    *,
    rows: int,
    size: int,
    suffix: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    restart: bool = False,
) -> Job:
    """Create or resume the job of a folder.

    `settings` and `inputs` (name -> hash) are everything that decides the content of a shard. Where those of an earlier
    run differ, its shards cannot be used: an `InputError` names the differences, or `restart` deletes the shards.
    """
    described = {
        "format": FORMAT,
        "settings": json.loads(json.dumps({**settings, "rows": rows, "rows_per_shard": size, "suffix": suffix})),
        "inputs": dict(inputs),
    }
    path = folder / "job.json"
    if path.exists() and (differing := _differences(_read(path), described)):
        if not restart:
            raise InputError(
                f"{folder} holds an unfinished or earlier job with other {', '.join(differing)}; repeat it as it was, "
                "name another folder with --job, or discard its work with --restart"
            )
        with alone(folder, busy(folder)):
            shutil.rmtree(folder)
    if not path.exists():
        with explained(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            if not all(map(is_draft, folder.iterdir())):
                raise InputError(f"{folder} is not a job's folder, and not empty; name another with --job")
        write_text(path, json.dumps({"me5": __version__, **described}, indent=2, ensure_ascii=False) + "\n")
    return Job(folder, rows, size, suffix)


def busy(folder: Path) -> str:
    """What to say where another process works on a job."""
    return f"another process works on {folder}; wait until it ends, or choose another folder (--job or --cache)"


def _read(path: Path) -> dict[str, Any]:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); discard the job by deleting {path.parent}") from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise InputError(f"{path} was written by another version of me5; discard the job by deleting {path.parent}")
    return described


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs, in words: each setting with both values, each input by name."""
    old, new = before.get("settings", {}), now["settings"]
    differing = [f"{name} ({old.get(name)!r} then, {new.get(name)!r} now)" for name in _changed(old, new)]
    return differing + [f"content of {name}" for name in _changed(before.get("inputs", {}), now["inputs"])]


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
