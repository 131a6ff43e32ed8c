"""Functions become commands, and their docstrings help: paragraphs that fit any width, and examples line by line."""

from collections.abc import Callable
from inspect import cleandoc
from typing import Any

import typer


def register(app: typer.Typer, **commands: Callable[..., Any]) -> None:
    """Add functions to a command line by the names of their commands."""
    for name, function in commands.items():
        app.command(name, help=help_of(function))(function)


def help_of(function: Callable[..., Any]) -> str:
    """A docstring as help. A paragraph that begins with `\\b` holds examples, one a line."""
    paragraphs = cleandoc(function.__doc__ or "").split("\n\n")
    return "\n\n".join(
        f"Examples:{part.removeprefix(chr(8))}" if part.startswith("\b") else " ".join(part.split())
        for part in paragraphs
    )
