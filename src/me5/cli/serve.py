"""`me5 serve`: the service, until it is shut down. Its flags are the fields of `ServiceSettings`."""

import inspect
import os
import shlex
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from me5.cli import options
from me5.errors import InputError, Me5Error
from me5.service.settings import OPTIONS, Option, ServiceSettings

if TYPE_CHECKING:
    from me5.service.pipeline import Pipeline


def serve(**chosen: Any) -> None:
    """Serve a model over HTTP, to clients of OpenAI, text-embeddings-inference and Cohere, with a page to try it.

    Every option is also a variable, such as ME5_PORT. API keys come from a file (--keys-file) or the variable ME5_KEYS.
    SIGTERM and Ctrl-C let running requests finish; a second one does not. SIGHUP reads the key file again.

    \b
    me5 serve
    me5 serve --model intfloat/multilingual-e5-large-instruct --host 0.0.0.0 --keys-file keys.txt
    me5 serve --port 0 --threads 2 --log-format json
    """
    from me5.service import check_installed

    check_installed()
    settings = _settings(chosen)
    from me5.service import logs
    from me5.service.server import run

    for_people = logs.for_people(settings.log_format)
    with ExitStack() as stack:
        stack.enter_context(options.loading(settings.model, quiet=not for_people))

        def announce(url: str, pipeline: "Pipeline") -> None:
            stack.close()
            if for_people:
                _print_ready(settings, url, pipeline)
            else:
                logs.ready(url, pipeline.checkpoint.name, pipeline.precision)

        try:
            run(settings, announce)
        except Me5Error as error:
            if for_people:
                raise
            logs.failed(error)
            raise typer.Exit(options.exit_status(error)) from error


def _settings(chosen: dict[str, Any]) -> ServiceSettings:
    for name, variable in (("keys", "ME5_KEYS"), ("keys_file", "ME5_KEYS_FILE")):
        if os.environ.get(variable) == "" and not chosen.get(name):
            raise InputError(f"the variable {variable} is set and empty, so no key would be needed; unset it for that")
    values = {option.name: _value(option, chosen.get(option.name)) for option in OPTIONS}
    return ServiceSettings(**{name: value for name, value in values.items() if value is not None})


def _value(option: Option, given: Any) -> Any:
    """A value as `ServiceSettings` takes it; None for its default."""
    if option.about.secret:
        return os.environ.get(option.variable) or None
    if option.kind is tuple and given is not None:
        return tuple(part.strip() for part in given.split(",") if part.strip())
    return given


def _parameter(option: Option) -> inspect.Parameter:
    """An option as typer reads it from a function's signature."""
    kind = str if option.kind is tuple else option.kind
    flag = typer.Option(
        option.flag, envvar=option.variable, help=option.about.help, show_default=option.about.shown or True,
        rich_help_panel=option.about.group,
    )  # fmt: skip
    optional = option.optional or option.kind is tuple
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None if optional else option.default,
        annotation=Annotated[kind | None, flag] if optional else Annotated[kind, flag],
    )


def _print_ready(settings: ServiceSettings, url: str, pipeline: "Pipeline") -> None:
    from rich.console import Console
    from rich.text import Text

    key = ' -H "Authorization: Bearer $KEY"' if settings.keys or settings.keys_file else ""
    body = '{"input": "how tall is K2?", "input_type": "query"}'
    call = f"curl {url}/v1/embeddings{key} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    line = Text.assemble(
        "serving ", (pipeline.checkpoint.name, "bold"), f" ({pipeline.precision}) at ", (url, "bold cyan"),
        "; open it in a browser, or try:" if settings.page else "; try:",
    )  # fmt: skip
    console = Console(highlight=False, soft_wrap=True)
    console.print(line)
    console.print(Text(f"  {call}", "dim"))


_PARAMETERS = [_parameter(option) for option in OPTIONS if not option.about.secret]
serve.__signature__ = inspect.Signature(_PARAMETERS)  # type: ignore[attr-defined]
serve.__annotations__ = {parameter.name: parameter.annotation for parameter in _PARAMETERS}
