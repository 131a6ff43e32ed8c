"""`synthesize`: the whole way from a plan to a dataset and its report."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from me5.data.contract import Example, Query
from me5.data.dataset import Dataset
from me5.data.decontamination import decontaminate
from me5.data.duplicates import DeduplicationSettings, deduplicate
from me5.data.jobs import Workspace
from me5.data.relations import NEGATIVE, POSITIVE
from me5.data.teachers import EmbeddingTeacher
from me5.data.writing import write_dataset
from me5.errors import InputError
from me5.files.atomic import check_free, write_text
from me5.progress import track
from me5.synthesis.asking import Asked, ask
from me5.synthesis.budget import Limits
from me5.synthesis.collecting import Collected, collect_examples, collect_tasks
from me5.synthesis.endpoint import ChatEndpoint
from me5.synthesis.forms import schema_of
from me5.synthesis.judging import Judging, Verdict, judge
from me5.synthesis.log import AnswerLog, open_log
from me5.synthesis.planning import Plan, QuestionPlan, example_requests, question_requests, task_requests
from me5.synthesis.reporting import Report, Stages, build
from me5.synthesis.requests import ChatModel, ChatRequest, Manners
from me5.synthesis.templates import Templates

ASIDE = "refused.jsonl"
# Queries and tasks are short; of the same task, from so many letters on, two may be nearly equal.
_SHORTEST = 20
_NEAR = 0.8


@dataclass(frozen=True)
class Settings:
    """What is asked for, of which model, and what is done with the answers.

    `evaluation` are sets whose texts must not be in the result. `licence` is noted with every pair.
    """

    plan: Plan | QuestionPlan
    model: ChatModel
    templates: Templates
    limits: Limits = field(default_factory=Limits)
    manners: Manners = field(default_factory=Manners)
    judging: Judging = field(default_factory=Judging)
    evaluation: tuple[Path, ...] = ()
    licence: str = ""


@dataclass(frozen=True)
class Result:
    """The dataset, its report, and how asking ended (None where nothing was asked)."""

    dataset: Dataset
    report: Report
    asked: Asked | None


def synthesize(
    settings: Settings,
    *,
    endpoint: ChatEndpoint | None,
    teacher: EmbeddingTeacher | None,
    out: Path,
    workspace: Workspace,
    overwrite: bool = False,
) -> Result:
    """Ask for what the workspace's log does not hold, and write a dataset of all answers.

    `endpoint` None asks nothing: the log is replayed. Without a `teacher` no model judges the pairs. The dataset has
    `report.json`, `report.md` and `refused.jsonl` beside its tables. A later run resumes from the workspace; one with a
    larger plan asks for the difference.
    """
    check_free(out, overwrite=overwrite)
    with open_log(workspace.folder / "answers") as log:
        run = _Run(settings, endpoint, log, workspace)
        raw = run.collect()
    clean, pairs = _clean(raw, settings, workspace)
    verdict = Verdict.none(clean) if teacher is None else judge(clean, teacher, settings.judging, workspace)
    pairs["not found by its query"] = verdict.by_query(POSITIVE)
    suspected = verdict.by_query(NEGATIVE, suspected=True)
    stages = Stages(pairs, verdict.by_query(NEGATIVE) - suspected, suspected)
    used = {kind: (len(tasks), run.unique[kind]) for kind, tasks in run.tasks.items()}
    report = build(run.collected, stages, settings.limits, used)
    step = {
        "step": "judge", "model": teacher.name if teacher else None, "teacher": teacher.version if teacher else None,
        "settings": vars(settings.judging) if teacher else None, "input": clean.fingerprint,
        "kept": report.total.kept, "suspected": report.total.suspected,
    }  # fmt: skip
    lists = {**report.files(), ASIDE: run.collected.aside}
    dataset = write_dataset(out, verdict.items(), step=step, before=clean, lists=lists, overwrite=overwrite)
    return Result(dataset, report, run.asked)


class _Run:
    """Asking and collecting."""

    def __init__(self, settings: Settings, endpoint: ChatEndpoint | None, log: AnswerLog, workspace: Workspace) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._log = log
        self._workspace = workspace
        self.collected = Collected()
        self.tasks: Mapping[str, list[str]] = {}
        self.unique: Counter[str] = Counter()
        self.asked: Asked | None = None

    def collect(self) -> Dataset:
        """The examples of all answers as a dataset. Raises `InputError` where there is none."""
        plan, templates = self._settings.plan, self._settings.templates
        if isinstance(plan, QuestionPlan):
            plan.check()
            return self._examples(plan, lambda: question_requests(plan, templates))
        self.tasks = self._unique_tasks(plan)
        return self._examples(plan, lambda: example_requests(plan, templates, self.tasks))

    def _unique_tasks(self, plan: Plan) -> dict[str, list[str]]:
        """The tasks of each kind, as many as are needed, without equal and nearly equal ones."""

        def requests() -> Iterator[ChatRequest]:
            return task_requests(plan, self._settings.templates)

        if not plan.tasks():
            return {}
        self._ask(requests, "Asking for tasks")
        found = list(collect_tasks(requests(), self._settings.model, self._log, self.collected))
        if not found:
            return {}
        folder = self._workspace.folder
        # As queries under their kind, for which duplicates are known.
        listed = [Query(task, kind) for kind, task in found]
        write_dataset(folder / "tasks", listed, step={"step": "tasks"}, overwrite=True)
        unique = _deduplicated(Dataset.open(folder / "tasks"), folder / "unique-tasks", show=False)
        tasks: dict[str, list[str]] = {}
        for query in unique.queries():
            tasks.setdefault(query.instruction, []).append(query.text)
        self.unique.update({kind: len(of_kind) for kind, of_kind in tasks.items()})
        return {kind: tasks[kind][:needed] for kind, needed in plan.tasks().items() if kind in tasks}

    def _examples(self, plan: Plan | QuestionPlan, requests: Callable[[], Iterator[ChatRequest]]) -> Dataset:
        settings = self._settings
        self._ask(requests, "Asking for examples")
        examples = collect_examples(requests(), settings.model, self._log, self.collected, settings.licence)
        step = self._step(plan)

        def items() -> Iterator[Any]:
            first: Example | None = None
            for example in examples:
                first = first or example
                yield example
            if first is None:
                raise self._nothing()
            step["answers"] = sum(count.answers for count in self.collected.counts.values())
            step["digest"] = self.collected.digest.hexdigest()
            if isinstance(plan, QuestionPlan):
                yield from plan.passages

        return write_dataset(
            self._workspace.folder / "raw", items(), step=step, repeats="merge", overwrite=True
        )  # fmt: skip

    def _ask(self, requests: Callable[[], Iterator[ChatRequest]], description: str) -> None:
        if self._endpoint is None or (self.asked is not None and self.asked.exhausted):
            return
        settings = self._settings
        keys = (request.key(settings.model, schema_of(request.form)) for request in requests())
        missing = sum(key not in self._log for key in keys)
        show = self._workspace.show_progress_bar
        with track(missing, show=show, description=description, unit="answers") as advance:
            asked = ask(
                self._endpoint, requests(), settings.model, self._log, limits=settings.limits, manners=settings.manners,
                advance=advance,
            )  # fmt: skip
        before = self.asked or Asked(exhausted=False, failed=0)
        self.asked = Asked(asked.exhausted, before.failed + asked.failed, asked.reason or before.reason)

    def _step(self, plan: Plan | QuestionPlan) -> dict[str, Any]:
        described = {name: value for name, value in vars(plan).items() if name not in ("weights", "passages", "worth")}
        model = {name: value for name, value in vars(self._settings.model).items() if name != "system"}
        return {
            "step": "synthesize", "model": model, "prompts": self._settings.templates.hashes(),
            "plan": {"of": "questions" if isinstance(plan, QuestionPlan) else "tasks and examples", **described},
        }  # fmt: skip

    def _nothing(self) -> InputError:
        """Why there is no example; answers that were refused are kept aside."""
        counts = self.collected.counts.values()
        refused = sum((count.refused for count in counts), start=Counter[str]())
        answers, path = sum(count.answers for count in counts), self._workspace.folder / ASIDE
        write_text(path, "".join(f"{line}\n" for line in self.collected.aside))
        if not answers:
            asked = self.asked or Asked(exhausted=False, failed=0)
            why = "the budget ended before the first answer" if asked.exhausted else "no answer came"
            return InputError(f"there are no examples: {why}{f' ({asked.reason})' if asked.reason else ''}")
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in refused.items())
        return InputError(
            f"none of {answers:,} answers holds a usable example ({reasons or 'no examples'}); see {path}"
        )


def _clean(raw: Dataset, settings: Settings, workspace: Workspace) -> tuple[Dataset, dict[str, Mapping[str, int]]]:
    """The examples without duplicates and evaluation texts; pairs by query after each step, by the reason of a loss."""
    show = workspace.show_progress_bar
    unique = _deduplicated(raw, workspace.folder / "unique", show=show)
    pairs: dict[str, Mapping[str, int]] = {"repeated": Verdict.none(unique).by_query(POSITIVE)}
    if not settings.evaluation:
        return unique, pairs
    clean = decontaminate(
        unique, workspace.folder / "clean", settings.evaluation, show_progress_bar=show, overwrite=True
    )  # fmt: skip
    pairs["in an evaluation set"] = Verdict.none(clean).by_query(POSITIVE)
    return clean, pairs


def _deduplicated(dataset: Dataset, folder: Path, *, show: bool) -> Dataset:
    settings = DeduplicationSettings(_NEAR, near_queries=True, shortest_query=_SHORTEST)
    return deduplicate(dataset, folder, settings, show_progress_bar=show, overwrite=True)
