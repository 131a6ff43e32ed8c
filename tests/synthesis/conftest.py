"""A chat server, and runs of `synthesize` against it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chatserver import Chat

from me5.data.jobs import Workspace
from me5.synthesis.budget import Limits
from me5.synthesis.endpoint import ChatEndpoint
from me5.synthesis.planning import Plan
from me5.synthesis.requests import ChatModel, Manners
from me5.synthesis.run import Result, Settings, synthesize
from me5.synthesis.templates import SYSTEM, Templates


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat().running() as running:
        yield running


@pytest.fixture
def run(chat: Chat, tmp_path: Path) -> Callable[..., Result]:
    """Run `synthesize` into tmp_path/NAME, by default 30 examples in English that nobody judges."""

    def make(name: str = "out", *, job: str = "job", replay: bool = False, teacher: Any = None, **given: Any) -> Result:
        templates, timeout = given.pop("templates", Templates.load()), given.pop("timeout", 5.0)
        settings: dict[str, Any] = {
            "plan": Plan(30, languages=("en",)),
            "model": ChatModel("stand-in", templates.fill(SYSTEM, {}), answer_tokens=given.pop("answer_tokens", 500)),
            "templates": templates,
            "manners": Manners(at_once=4, retries=1),
            "limits": Limits(),
            **given,
        }

        endpoint = None if replay else ChatEndpoint(chat.address, settings["model"], key="secret", timeout=timeout)
        return synthesize(
            Settings(**settings), endpoint=endpoint, teacher=teacher, out=tmp_path / name,
            workspace=Workspace(tmp_path / job), overwrite=True,
        )  # fmt: skip

    return make
