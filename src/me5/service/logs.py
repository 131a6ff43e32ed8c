"""The service's log: one line per event, as JSON for machines or as text on a terminal. Never a text, never a key.

An access line describes one request: id, route, status, counts, times and the caller's name. The message of an
exception can quote what a caller sent, so it is shown only where its type speaks of the machine, or at level `debug`.
"""

import json
import logging
import sys
import traceback
import warnings
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from me5.errors import CheckpointError, Me5Warning
from me5.service.record import RequestRecord

Style = Literal["auto", "json", "text"]
Level = Literal["debug", "info", "warning", "error"]

# The request that the running task works for; empty outside of one.
request_id: ContextVar[str] = ContextVar("request_id", default="")

_log = logging.getLogger(__name__)
_access = logging.getLogger("me5.service.access")
# Requested every few seconds by probes and Prometheus: logged at `debug` only.
QUIET_ROUTES = frozenset({"/health", "/ping", "/metrics"})
# Their messages come from the engine and the operating system, not from a request. EngineError is a RuntimeError.
_SPEAK_OF_THE_MACHINE = (OSError, MemoryError, RuntimeError, ImportError, CheckpointError)


def configure(style: Style = "auto", level: Level = "info", stream: TextIO | None = None) -> None:
    """Send the log of this process to `stream` (standard error), replacing what was set up before.

    `auto` writes text on a terminal and JSON elsewhere. uvicorn has no access log of its own beside ours.
    """
    stream = stream or sys.stderr
    debug = level == "debug"
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter(debug=debug) if for_people(style, stream) else JsonFormatter(debug=debug))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # What other libraries log below a warning can hold request bodies, and is theirs to turn on.
    root.setLevel(logging.WARNING)
    warnings.showwarning = _warn
    for name in ("me5", "uvicorn"):
        logging.getLogger(name).setLevel(level.upper())
    uvicorn_access = logging.getLogger("uvicorn.access")
    uvicorn_access.handlers.clear()
    uvicorn_access.propagate = False


def for_people(style: Style, stream: TextIO | None = None) -> bool:
    """Whether lines are text; else nothing but JSON may be written where they go."""
    return style == "text" or (style == "auto" and (stream or sys.stderr).isatty())


def ready(url: str, model: str, precision: str) -> None:
    """Log that requests are answered now."""
    _log.info("serving", extra={"fields": {"url": url, "model": model, "precision": precision}})


def failed(error: Exception) -> None:
    """Log an error that ends the service."""
    _log.error("%s", error)


def access(record: RequestRecord, trace_id: str = "") -> None:
    """Log one request that is over."""
    level = logging.ERROR if record.status >= 500 else logging.INFO
    if record.route in QUIET_ROUTES and level == logging.INFO:
        level = logging.DEBUG
    if not _access.isEnabledFor(level):
        return
    fields: dict[str, Any] = {"method": record.method, "route": record.route, "status": record.status}
    if record.caller:
        fields["caller"] = record.caller
    if record.error:
        fields["error"] = record.error
    if record.usage:
        fields |= {"side": record.side, "texts": record.texts, "tokens": record.tokens, "truncated": record.truncated}
        fields |= {f"{stage}_ms": _milliseconds(seconds) for stage, seconds in record.stages.items()}
    fields["total_ms"] = _milliseconds(record.duration)
    if trace_id:
        fields["trace_id"] = trace_id
    _access.log(level, "request", extra={"fields": fields, "request_id": record.id})


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, request_id, and the event's own fields."""

    def __init__(self, *, debug: bool = False) -> None:
        super().__init__()
        self._debug = debug

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if identity := _identity(record):
            line["request_id"] = identity
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1]:
            line["exception"] = _exception(record.exc_info[1], debug=self._debug)
        return json.dumps(line)  # in ASCII: no other separator of lines, and any stream can take it


class TextFormatter(logging.Formatter):
    """The same for people: `07:12:03 info request POST /v1/embeddings 200 3 texts …`."""

    def __init__(self, *, debug: bool = False) -> None:
        super().__init__()
        self._debug = debug

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        fields = dict(getattr(record, "fields", {}))
        request = [fields.pop(name) for name in ("method", "route", "status") if name in fields]
        message = " ".join(map(str, request)) if request else record.getMessage()
        line = f"{datetime.fromtimestamp(record.created):%H:%M:%S} {record.levelname.lower()} {_plain(message)}"
        line += "".join(f" {name}={_value(value)}" for name, value in fields.items())
        if identity := _identity(record):
            line += f" id={identity}"
        if record.exc_info and record.exc_info[1]:
            line += "\n" + "\n".join(_exception(record.exc_info[1], debug=self._debug))
        return line


def _identity(record: logging.LogRecord) -> str:
    return str(getattr(record, "request_id", "")) or request_id.get()


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """A warning as a line. One of another library may quote a text: only its place is logged."""
    text = str(message) if issubclass(category, Me5Warning) else f"{category.__name__} at {filename}:{lineno}"
    _log.warning("%s", text)


def _plain(text: str) -> str:
    """A text on one line, without what would steer a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _value(value: object) -> str:
    """A field's value, quoted where it could be read as more than one."""
    text = str(value)
    return text if text.isprintable() and not set(' "=') & set(text) else json.dumps(text)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _exception(error: BaseException, *, debug: bool) -> list[str]:
    """Where it came from and what it was, causes last: `File "…", line 3, in f`, `ValueError`."""
    lines: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        lines += [line.strip() for line in traceback.format_tb(seen.__traceback__)]
        speaks = isinstance(seen, _SPEAK_OF_THE_MACHINE)
        lines.append(f"{type(seen).__name__}: {_plain(str(seen))}" if debug or speaks else type(seen).__name__)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return lines
