"""The `me5` command: one file per subcommand; the only place that prints.

Exit codes: 0 done; 1 a check failed or the engine could not run; 2 wrong usage or input; 3 the model could not be
loaded; 129 the terminal was closed; 130 interrupted; 143 terminated. A user's mistake, or what the system refuses, is
one sentence on standard error, never a traceback.
"""

import signal
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import typer

from me5._version import __version__
from me5.cli import options, output, streams
from me5.cli.register import Commands, register
from me5.errors import Me5Error, Me5Warning

# In the order of `me5 --help`: functions and their modules, then groups of commands and theirs.
_COMMANDS = {
    **{name: name for name in ("demo", "embed", "score", "tokens", "info", "export", "trim", "verify", "search")},
    **dict.fromkeys(("similar", "cluster", "duplicates"), "vectors"),
    **{name: name for name in ("serve", "mcp", "train", "calibrate")},
}
_GROUPS = {"index": "index", "bulk": "bulk", "models": "models", "eval": "evaluation", "data": "data"}


def application(only: str | None = None) -> typer.Typer:
    """The command line, of all commands or of one: importing and declaring all of them takes a quarter of a second."""
    made = typer.Typer(
        name="me5",
        cls=Commands,
        help="Multilingual E5 text embeddings: texts in, vectors out.",
        epilog="Start with: me5 demo",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_options)
    for name, module in _COMMANDS.items():
        if only in (None, name):
            register(made, **{name: getattr(import_module(f"me5.cli.{module}"), name)})
    for name, module in _GROUPS.items():
        if only in (None, name):
            made.add_typer(import_module(f"me5.cli.{module}").app, name=name)
    return made


@cache
def __getattr__(name: str) -> Any:
    if name == "app":  # all of it, for whoever runs commands from Python
        return application()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"me5 {__version__}")  # noqa: T201
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_version, is_eager=True
    ),
) -> None:
    """Multilingual E5 text embeddings: texts in, vectors out."""


def main() -> None:
    """Run the command; turn our errors, and those of the system, into one line and an exit code."""
    warnings.showwarning = _show_warning
    # Importing openvino imports its converter of models too, unless it cannot: 80 ms of every command. Not for programs
    # that import me5, which may want it.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    streams.prepare()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            # As an exception, a request to end lets open files be cleaned up.
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        try:
            run = application(_named(sys.argv[1:]))
            if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            run()
        finally:
            streams.flush()
    except Me5Error as error:
        output.complain("error", str(error))
        code = options.exit_status(error)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 1  # whoever read the output has left, and needs no explanation
    except OSError as error:
        output.complain("error", _explained(error))
        code = 1
    streams.drop()
    sys.exit(code)


def _named(arguments: Sequence[str]) -> str | None:
    """The command that is asked for; None where only all of them can tell."""
    return arguments[0] if arguments and arguments[0] in (*_COMMANDS, *_GROUPS) else None


def _explained(error: OSError) -> str:
    """What the system could not do: any file may be on a full or failing disk."""
    try:
        Path.cwd()
    except OSError:
        return "the working directory does not exist any more; change to another one"
    return f"{error.filename or 'a file or standard output'}: {error.strerror or error}"


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    if issubclass(category, Me5Warning):
        output.complain("warning", str(message))
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))
