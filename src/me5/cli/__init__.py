"""The `me5` command: one file per subcommand; the only place that prints.

Exit codes: 0 done; 1 a check failed or the engine could not run; 2 wrong usage or input; 3 the model could not be
loaded; 129 the terminal was closed; 130 interrupted; 143 terminated. A user's mistake, or what the system refuses, is
one sentence on standard error, never a traceback.
"""

import signal
import sys
import warnings
from pathlib import Path
from typing import TextIO

import typer

from me5._version import __version__
from me5.cli import (
    bulk,
    calibrate,
    data,
    demo,
    embed,
    evaluation,
    export,
    index,
    info,
    mcp,
    models,
    options,
    output,
    score,
    search,
    serve,
    streams,
    tokens,
    train,
    trim,
    verify,
)
from me5.cli.register import register
from me5.errors import Me5Error, Me5Warning

app = typer.Typer(
    name="me5",
    help="Multilingual E5 text embeddings: texts in, vectors out.",
    epilog="Start with: me5 demo",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
register(
    app, demo=demo.demo, embed=embed.embed, score=score.score, tokens=tokens.tokens, models=models.models,
    info=info.info, export=export.export, trim=trim.trim, verify=verify.verify, search=search.search, serve=serve.serve,
    mcp=mcp.mcp, train=train.train, calibrate=calibrate.calibrate,
)  # fmt: skip
app.add_typer(index.app, name="index")
app.add_typer(bulk.app, name="bulk")
app.add_typer(evaluation.app, name="eval")
app.add_typer(data.app, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"me5 {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_version, is_eager=True
    ),
) -> None:
    """Multilingual E5 text embeddings: texts in, vectors out."""


def main() -> None:
    """Run the command; turn our errors, and those of the system, into one line and an exit code."""
    warnings.showwarning = _show_warning
    streams.prepare()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            # As an exception, a request to end lets open files be cleaned up.
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        try:
            app()
        finally:
            streams.flush()
    except Me5Error as error:
        output.complain("error", str(error))
        code = options.exit_status(error)
    except BrokenPipeError:
        code = 1  # whoever read the output has left, and needs no explanation
    except OSError as error:
        output.complain("error", _explained(error))
        code = 1
    streams.drop()
    sys.exit(code)


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
