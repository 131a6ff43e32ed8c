"""Answers from the log → tasks and examples, in the order of the plan; what is refused is counted and kept aside."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from me5.data.contract import Example
from me5.synthesis.answers import examples_of, parts_of, question_of, task_of
from me5.synthesis.forms import Question, RefusedError, parse, schema_of
from me5.synthesis.log import Answer, AnswerLog
from me5.synthesis.requests import TASKS, ChatModel, ChatRequest

_T = TypeVar("_T")
# What requests for tasks are called where examples have their language.
Group = tuple[str, str]
_SHOWN = 2000


@dataclass
class Count:
    """What became of the requests of one kind and language.

    `good` are tasks, examples or questions that could be read; `refused` counts answers, and parts of answers, by
    reason.
    """

    requests: int = 0
    answers: int = 0
    good: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    uncounted: int = 0
    refused: "Counter[str]" = field(default_factory=Counter)


@dataclass
class Collected:
    """What was collected. `groups` has the kind and language of each query by its id; `digest` is over all answers."""

    counts: dict[Group, Count] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)

    def refuse(self, request: ChatRequest, answer: Answer, error: RefusedError) -> None:
        """Count a refusal, and keep the answer aside."""
        self.counts[_group(request)].refused[error.reason] += 1
        said = answer.refused if answer.text is None else answer.text
        line = {
            "kind": request.kind, "form": request.form, "language": request.language, "reason": error.reason,
            "detail": error.detail, "key": answer.key, "answer": said,
        }  # fmt: skip
        self.aside.append(json.dumps(line, ensure_ascii=True))


def collect_tasks(
    requests: Iterable[ChatRequest], model: ChatModel, log: AnswerLog, collected: Collected
) -> Iterator[tuple[str, str]]:
    """(kind, task) of every task in the answers."""
    yield from _read(requests, model, log, collected, lambda request, part: (request.kind, task_of(part)))


def collect_examples(
    requests: Iterable[ChatRequest], model: ChatModel, log: AnswerLog, collected: Collected, licence: str
) -> Iterator[Example]:
    """Every example in the answers."""

    def read(request: ChatRequest, part: Any) -> list[Example]:
        judge = question_of if isinstance(part, Question) else examples_of
        examples = judge(request, part, licence)
        collected.groups.setdefault(examples[0].query.id, _group(request))
        return examples

    for examples in _read(requests, model, log, collected, read):
        yield from examples


def _read(
    requests: Iterable[ChatRequest],
    model: ChatModel,
    log: AnswerLog,
    collected: Collected,
    read: Callable[[ChatRequest, Any], _T],
) -> Iterator[_T]:
    for request in requests:
        count = collected.counts.setdefault(_group(request), Count())
        count.requests += 1
        answer = log.get(request.key(model, schema_of(request.form)))
        if answer is None:
            continue
        collected.digest.update(f"{answer.key} {answer.text!r} {answer.refused!r}\n".encode())
        count.answers += 1
        count.tokens_in += answer.tokens[0]
        count.tokens_out += answer.tokens[1]
        count.uncounted += answer.refused is None and None in (answer.tokens_in, answer.tokens_out)
        try:
            parts = parts_of(_form_of(request, answer))
        except RefusedError as error:
            collected.refuse(request, answer, error)
            continue
        for part in parts:
            try:
                made = read(request, part)
            except RefusedError as error:
                collected.refuse(request, answer, error)
                continue
            count.good += 1
            yield made


def _form_of(request: ChatRequest, answer: Answer) -> Any:
    if answer.text is None or answer.refused is not None:
        raise RefusedError("the model refuses", (answer.refused or "")[:_SHOWN])
    try:
        return parse(request.form, answer.text)
    except RefusedError as error:
        if answer.finish == "length":
            raise RefusedError("cut off", f"after {answer.tokens[1]} tokens: raise --answer-tokens") from error
        raise


def _group(request: ChatRequest) -> Group:
    return request.kind, TASKS if request.form == TASKS else request.language
