"""Functions become commands, and their docstrings help: paragraphs that fit any width, and examples line by line."""

from collections.abc import Callable, Mapping
from inspect import cleandoc
from types import MappingProxyType
from typing import Any

import typer
from typer.core import TyperGroup


class Commands(TyperGroup):
    """All commands: what they refuse is told in our words."""

    def invoke(self, ctx: Any) -> Any:
        """Leave out what pydantic, by which Typer reads values, puts in front of every reason."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


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


def with_default(
    name: str, values: Mapping[str, str] = MappingProxyType({}), *, alone: bool = False
) -> type[TyperGroup]:
    """A group of commands of which one may be left out: `me5 index docs/` is `me5 index add docs/`.

    `alone` says that it needs no arguments: without any, it and not the help is meant. `values` are those of options
    that may stand without one, which Typer does not know.
    """

    class Group(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            """Put the name of the default command in front of what begins with no command's name."""
            asks_for_help = bool({"-h", "--help"} & set(args[:1]))
            if alone if not args else args[0] not in self.commands and not asks_for_help:
                args = [name, *args]
            following = [*args[1:], "-"]
            args = [
                f"{arg}={values[arg]}" if arg in values and after.startswith("-") else arg
                for arg, after in zip(args, following, strict=True)
            ]
            parsed: list[str] = super().parse_args(ctx, args)
            return parsed

    return Group
