"""The log of answers: a line of JSON per reply, appended as it comes and never changed.

A killed run loses no line: each is handed to the system whole before its request counts as answered. Answers are found
by the key of their request, so a log serves any plan that asks the same things of the same model.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from me5.data.jobs import busy
from me5.errors import InputError
from me5.files.atomic import alone, explained

NAME = "answers.jsonl"


@dataclass(frozen=True)
class Answer:
    """What came for a request: its text, or why there is none and never will be (`refused`).

    `finish` is the reason why the text ends. Tokens are None where the server did not count them; then they
    are `tokens_bound` at most. `model` is the name that the server gave itself.
    """

    key: str
    text: str | None
    refused: str | None = None
    finish: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_bound: tuple[int, int] = (0, 0)
    model: str = ""

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens of the request and of the answer, as counted or at most."""
        return (
            self.tokens_bound[0] if self.tokens_in is None else self.tokens_in,
            self.tokens_bound[1] if self.tokens_out is None else self.tokens_out,
        )


class AnswerLog:
    """A log that is open; made by `open_log`. Holds where answers lie, not the answers."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self._places: dict[bytes, int] = {}
        # Requests and tokens of all tries, those without an answer too.
        self.tries = self.tokens_in = self.tokens_out = 0
        self._end = self._read()

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._places

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: str) -> Answer | None:
        """The answer to a request, None where there is none yet."""
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        self._file.seek(place)
        return _answer(json.loads(self._file.readline()))

    def add(self, answer: Answer) -> None:
        """Append an answer; when this returns, no end of the process can lose it."""
        place = self._append(
            {"at": "answer", **{name: value for name, value in vars(answer).items() if value is not None}}
        )
        self._places[bytes.fromhex(answer.key)] = place
        self._count(*answer.tokens)

    def add_lost(self, key: str, reason: str, tokens: tuple[int, int]) -> None:
        """Append a try that brought no answer, and the tokens that it may have cost."""
        self._append({"at": "lost", "key": key, "reason": reason, "tokens_bound": tokens})
        self._count(*tokens)

    def _count(self, tokens_in: int, tokens_out: int) -> None:
        self.tries += 1
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out

    def _append(self, line: Mapping[str, Any]) -> int:
        place = self._end
        with explained(str(self._path)):
            self._file.seek(place)
            data = json.dumps(line, ensure_ascii=False).encode(errors="surrogatepass") + b"\n"
            self._file.write(data)
            self._file.flush()
        self._end = place + len(data)
        return place

    def _read(self) -> int:
        """Find all answers; returns where whole lines end: what a full disk has left behind them is overwritten."""
        end = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                self._take(json.loads(line), end)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"{self._path}, line {number}: not a line of a log of answers ({error}); remove it"
                ) from error
            end += len(line)
        self._file.truncate(end)
        return end

    def _take(self, line: dict[str, Any], place: int) -> None:
        if line["at"] == "answer":
            answer = _answer(line)
            self._places[bytes.fromhex(answer.key)] = place
            self._count(*answer.tokens)
        else:
            self._count(*map(int, line["tokens_bound"]))


def _answer(line: dict[str, Any]) -> Answer:
    values = {name: value for name, value in line.items() if name != "at"}
    return Answer(**{"text": None, **values, "tokens_bound": tuple(values["tokens_bound"])})


@contextmanager
def open_log(folder: Path) -> Iterator[AnswerLog]:
    """The log in a folder, for one process at a time. Raises `InputError` where it is in use or damaged."""
    path = folder / NAME
    with explained(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
    with alone(folder, busy(folder)):
        with explained(str(path)):
            file = path.open("r+b" if path.exists() else "w+b")
        with file:
            yield AnswerLog(path, file)
            with explained(str(path)):
                os.fsync(file.fileno())
