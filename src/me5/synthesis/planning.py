"""What to ask for: how many examples of each kind, in which languages, with which attributes.

Every draw depends on the seed and on what it is for, never on a draw before it. So a plan that grows asks for what is
new, and the answers to the rest are still its own.
"""

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from math import ceil
from random import Random

from me5.data.contract import Document
from me5.data.letters import letters
from me5.errors import InputError
from me5.search.language import known
from me5.synthesis.kinds import FIELDS, KINDS, QUESTION_TASK, QUESTIONS
from me5.synthesis.languages import name_of, weights
from me5.synthesis.requests import TASKS, ChatRequest
from me5.synthesis.templates import Templates

TASKS_PER_ANSWER = 20
# A passage of fewer letters has little to ask for.
SHORTEST = 60


@dataclass(frozen=True)
class Plan:
    """How many `examples`, of which kinds and languages; none named: all, by the published shares.

    `per_task` examples are asked for each task. `cross_lingual` is the share of short-long examples whose documents are
    in another language than the query.
    """

    examples: int
    kinds: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    per_task: int = 3
    cross_lingual: float = 0.0
    seed: int = 0
    weights: Mapping[str, float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", weights(self.languages))
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise InputError(f"unknown kind {unknown[0]!r}; expected {', '.join(KINDS)}")
        if self.examples < 1 or self.per_task < 1:
            raise InputError(f"examples and per_task must be at least 1, got {self.examples} and {self.per_task}")
        if len(self.weights) < 2 and (self.cross_lingual or "bitext" in self.kinds):
            raise InputError("translations and cross-lingual examples need two languages at least; name another")

    def numbers(self) -> dict[str, int]:
        """How many examples of each kind: shares by largest remainder. Translations need two languages."""
        chosen = [kind for kind in self.kinds or KINDS if kind != "bitext" or len(self.weights) > 1]
        total = sum(KINDS[kind].share for kind in chosen)
        exact = {kind: self.examples * KINDS[kind].share / total for kind in chosen}
        numbers = {kind: int(share) for kind, share in exact.items()}
        for kind in sorted(chosen, key=lambda kind: numbers[kind] - exact[kind])[
            : self.examples - sum(numbers.values())
        ]:
            numbers[kind] += 1
        return numbers

    def tasks(self) -> dict[str, int]:
        """How many tasks each kind in two steps needs."""
        return {
            kind: ceil(number / self.per_task)
            for kind, number in self.numbers().items()
            if number and KINDS[kind].in_two_steps
        }


@dataclass(frozen=True)
class QuestionPlan:
    """`questions` about each of some passages, in each of some languages; none named: in that of the passage.

    `examples` passages are drawn at random, None takes all. Passages of too few letters have nothing to ask for.
    """

    passages: tuple[Document, ...] = field(repr=False)
    languages: tuple[str, ...] = ()
    questions: int = 2
    examples: int | None = None
    seed: int = 0

    @cached_property
    def worth(self) -> list[Document]:
        """The passages that have something to ask for."""
        return [passage for passage in self.passages if len(letters(passage.text)) >= SHORTEST]

    def check(self) -> None:
        """Raise `InputError` where there is nothing to ask for."""
        if not self.worth:
            raise InputError(
                f"no passage has {SHORTEST} letters, the least to ask questions about, of {len(self.passages):,} that "
                "were read; give longer documents"
            )

    def chosen(self) -> list[Document]:
        """The passages that are asked about."""
        worth = self.worth
        if self.examples is None or self.examples >= len(worth):
            return worth
        drawn = sorted(worth, key=lambda passage: Random(f"{self.seed} {passage.id}").random())[: self.examples]
        ids = {passage.id for passage in drawn}
        return [passage for passage in worth if passage.id in ids]


def task_requests(plan: Plan, templates: Templates) -> Iterator[ChatRequest]:
    """The requests for tasks."""
    for kind, number in plan.tasks().items():
        for place in range(ceil(number / TASKS_PER_ANSWER)):
            # Fields take turns, from one that the seed decides.
            shift = int(Random(f"{plan.seed} {kind}").random() * len(FIELDS))
            values = {"count": str(TASKS_PER_ANSWER), "field": FIELDS[(place + shift) % len(FIELDS)]}
            yield ChatRequest(kind, TASKS, templates.fill(f"{kind}.tasks.txt", values), place)


def example_requests(plan: Plan, templates: Templates, tasks: Mapping[str, Sequence[str]]) -> Iterator[ChatRequest]:
    """The requests for examples, tasks in turn; kinds of which there are no tasks are left out."""
    needed = plan.tasks()
    for kind, number in plan.numbers().items():
        instructions = [KINDS[kind].instruction]
        if KINDS[kind].in_two_steps:
            instructions = list(tasks.get(kind, ()))[: needed.get(kind, 0)]
        for place in range(number if instructions else 0):
            task = instructions[place % len(instructions)]
            yield _example(plan, templates, kind, task, place // len(instructions))


def question_requests(plan: QuestionPlan, templates: Templates) -> Iterator[ChatRequest]:
    """A request per passage and language; without languages in that of the passage."""
    codes = list(weights(plan.languages)) if plan.languages else []
    for passage in plan.chosen():
        for code in codes or [passage.lang if passage.lang in known() else ""]:
            language = name_of(code) if code else "the language of the passage"
            values = {"passage": passage.whole, "count": str(plan.questions), "language": language}
            yield ChatRequest(
                QUESTIONS, QUESTIONS, templates.fill("documents.questions.txt", values), 0, code, code, passage.lang,
                QUESTION_TASK, passage,
            )  # fmt: skip


def _example(plan: Plan, templates: Templates, kind: str, task: str, number: int) -> ChatRequest:
    draw = Random(f"{plan.seed} {kind} {task} {number}")
    values = {name: _one(draw, choices) for name, choices in KINDS[kind].attributes.items()}
    values |= {"task": task, "field": _one(draw, FIELDS), "units": f"{values.get('unit', '')}s"}
    source = target = _weighted(draw, plan.weights)
    if kind == "bitext" or (kind == "short-long" and draw.random() < plan.cross_lingual):
        target = _weighted(draw, {code: share for code, share in plan.weights.items() if code != source})
    first, second = name_of(source), name_of(target)
    values |= {"language": first, "query_language": first, "document_language": second}
    values |= {"source_language": first, "target_language": second}
    label = source if source == target else f"{source}-{target}"
    prompt = templates.fill(f"{kind}.example.txt", values)
    return ChatRequest(kind, kind, prompt, number, label, source, target, task)


def _one(draw: Random, values: Sequence[str]) -> str:
    # By `random` alone, whose sequence Python promises to keep.
    return values[int(draw.random() * len(values))]


def _weighted(draw: Random, shares: Mapping[str, float]) -> str:
    codes = list(shares)
    ends = list(accumulate(shares.values()))
    return codes[min(bisect(ends, draw.random() * ends[-1]), len(codes) - 1)]
