"""The options of commands: what several share is the same everywhere."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from me5.cli import app, application, options
from me5.cli.register import register


def commands(group, path=()):
    """Every command below a group, by the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands(typer.main.get_command(app)))
SHARED = ("--device", "--revision", "--max-tokens", "--truncation", "--prompts")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_and_every_option_help(name):
    command = COMMANDS[name]
    example = "me5 index " if name == "index add" else f"me5 {name}"
    assert example in command.help.partition("Examples:")[2]
    for option in command.params:
        assert option.help or option.name == "help", option.name


def test_shared_options_are_the_same_in_every_command():
    found = {}
    for name, command in COMMANDS.items():
        if name in ("serve", "data tokenizer"):  # the settings of the service; a model that is not there yet
            continue
        for option in command.params:
            if name == "data synthesize" and "--prompts" in option.opts:  # what is said to a chat model
                continue
            for flag in set(option.opts) & set(SHARED):
                found.setdefault(flag, {})[name] = (option.help, option.default, option.envvar)
    assert set(found) == set(SHARED)
    for flag, by_command in found.items():
        assert len(by_command) > 1
        assert len(set(by_command.values())) == 1, (flag, by_command)


def test_a_command_gets_the_chosen_options_and_no_others():
    chosen = []

    @options.with_model(without=("device", "threads"))
    def show(texts: list[str], model: options.ModelOptions, quiet: options.Quiet = False) -> None:
        """Show.

        A paragraph that
        goes on.

        \b
        me5 show text
        """
        chosen.append((texts, model, quiet))

    small = typer.Typer()
    register(small, show=show)
    arguments = ["a", "b", "-m", "folder", "-p", "int8", "--max-tokens", "9", "--revision", "v1", "--quiet"]
    result = CliRunner().invoke(small, arguments)
    assert result.exit_code == 0, result.output
    model = options.ModelOptions("folder", "v1", precision="int8", max_tokens=9)
    assert chosen == [(["a", "b"], model, True)]
    assert CliRunner().invoke(small, ["a", "--device", "cuda"]).exit_code == 2
    shown = CliRunner().invoke(small, ["--help"]).output
    assert "A paragraph that goes on." in shown
    assert "Examples:" in shown


def test_a_command_alone_is_the_one_among_all():
    whole = typer.main.get_command(app)
    for name, command in whole.commands.items():
        alone = typer.main.get_command(application(name))
        assert [*alone.commands] == [name]
        runner = CliRunner(env={"COLUMNS": "100"})
        assert runner.invoke(application(name), [name, "--help"]).output == runner.invoke(app, [name, "--help"]).output
        assert command.help == alone.commands[name].help


def test_a_command_loads_no_other():
    code = "import sys; from me5.cli import main\ntry: main()\nfinally: print([*sys.modules], file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", code, "models"], capture_output=True, text=True, check=True)
    assert "'me5.cli.models'" in ended.stderr
    assert not any(f"'me5.{name}'" in ended.stderr for name in ("cli.train", "bulk", "service"))


@pytest.mark.parametrize("command", ["score -p foo -q a -d b", "serve --log-format foo", "eval speed sets -p foo"])
def test_a_choice_that_is_none_is_told_in_plain_words(command, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    code, _, errors = run(*command.split())
    assert code == 2
    assert ": 'foo' is not one of '" in errors
    assert "Value error" not in errors
