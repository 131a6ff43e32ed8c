"""Files that could be made to harm are read in a process of its own, with a limit of memory and of time for each.

A library that unpacks and parses what others wrote can be led to take any time and memory, or to crash. The process is
a fresh interpreter that imports the readers only, started when the first such file comes and kept for those after it.
Documents come as lines of JSON; the kernel keeps the limits: memory that the process asks for beyond its own is
refused to it, and after its time it is ended.
"""

import contextlib
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from me5.errors import InputError
from me5.interpreter import start
from me5.search.documents import Complain, Document, NoTextError, Section
from me5.search.readers import kind_of, read
from me5.search.readers.plain import MOST
from me5.search.readers.tables import Columns

# 64 MiB of HTML in small elements take more, and are refused; what people write takes a tenth of it.
MEMORY = 2 << 30
# Processor time for each MiB of a file, one at least. As PDF it is some 200 pages, and they take ten seconds.
SECONDS = 30
# A document as JSON: each character in up to six bytes, and as much again for what is around it.
_LONGEST_MESSAGE = 12 * MOST
_ERRORS = {error.__name__: error for error in (InputError, NoTextError)}


class Confined:
    """Reads files; used in a `with` block, at whose end its process ends. For one thread."""

    def __init__(self, memory: int = MEMORY, seconds: int = SECONDS) -> None:
        self._limits = memory, seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Confined":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, path: Path, columns: Columns, complain: Complain) -> Iterator[Document]:
        """The documents of a file. Raises `InputError` where it cannot be read, or not within the limits."""
        safe = kind_of(path).safe
        if safe is None or path.stat().st_size <= safe:
            yield from read(path, columns, complain)
            return
        finished = False
        try:
            for kind, value in self._replies(path, columns):
                if kind == "document":
                    yield _document(value)
                elif kind == "complaint":
                    complain(*value)
                else:
                    finished = True
                    if value is not None:
                        name, reason = value
                        raise _ERRORS[name](reason)
        finally:
            if not finished:
                self._end()

    def _replies(self, path: Path, columns: Columns) -> Iterator[tuple[str, Any]]:
        """What the process says of a file, up to its end."""
        memory, seconds = self._limits
        seconds *= 1 + (path.stat().st_size >> 20)
        request = {"path": str(path), "columns": asdict(columns), "seconds": seconds}
        if self._process is not None and self._process.poll() is not None:
            self._end()  # it ended between two files: none of them is to blame
        process = self._process = self._process or _start(memory)
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # how it ended is told below
            process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
            process.stdin.flush()
        kind = ""
        while kind != "end":
            line = process.stdout.readline(_LONGEST_MESSAGE)
            if not line.endswith(b"\n"):
                raise InputError(self._why_it_ended(process, seconds))
            kind, value = json.loads(line)
            yield kind, value

    def _why_it_ended(self, process: "subprocess.Popen[bytes]", seconds: int) -> str:
        code = process.wait()
        if code == -signal.SIGPROF:
            return f"takes more than {seconds} s of processor time to read; it may be damaged, or made to harm"
        how = signal.Signals(-code).name if code < 0 else f"status {code}"
        return f"ended the process that read it ({how}); it may be damaged, or made to harm"

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in filter(None, (process.stdin, process.stdout)):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
            process.wait()


def _start(memory: int) -> "subprocess.Popen[bytes]":
    code = f"from me5.search.readers.confined import serve; serve({memory})"
    return start(code, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _document(value: dict[str, Any]) -> Document:
    sections = tuple(Section(*section) for section in value.pop("sections"))
    return Document(**value, sections=sections)


def serve(memory: int) -> None:
    """What the process does: read one file after another until its input ends."""
    # Private memory only, beyond what importing took: some libraries reserve a gigabyte that they never touch.
    own = int(Path("/proc/self/statm").read_text("ascii").split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (own + memory, own + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin.buffer:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])  # ends the process, in the middle of native code too
        _send("end", _read(Path(request["path"]), request["columns"], memory))
        signal.setitimer(signal.ITIMER_PROF, 0)


def _read(path: Path, columns: dict[str, Any], memory: int) -> tuple[str, str] | None:
    """Send what a file holds. Returns why it cannot be read: the name of an error, and its text."""

    def complain(at: int, reason: str) -> None:
        _send("complaint", (at, reason))

    try:
        wanted = Columns(tuple(columns["text"]), columns["title"])
        for document in read(path, wanted, complain):
            if len(document.text) > MOST:
                raise InputError(f"holds more than {MOST:,} characters of text, the most that is read; split it up")
            _send(
                "document", {**vars(document), "sections": [tuple(vars(part).values()) for part in document.sections]}
            )
    except InputError as error:
        return type(error).__name__, str(error)
    except MemoryError:
        return "InputError", f"takes more than {memory >> 20:,} MiB of memory to read; split it up"
    except Exception as error:  # whatever a damaged file makes a library raise
        return "InputError", f"cannot be read: {error or type(error).__name__}"
    return None


def _send(kind: str, value: object) -> None:
    sys.stdout.buffer.write(json.dumps((kind, value)).encode("ascii") + b"\n")
    sys.stdout.buffer.flush()
