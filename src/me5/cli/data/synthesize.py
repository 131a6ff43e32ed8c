"""`me5 data synthesize`: training data from a chat model."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from me5.cli import options, output
from me5.cli.data import shared, work
from me5.errors import InputError, counted

if TYPE_CHECKING:
    from me5.data.jobs import Workspace
    from me5.embedder import Embedder
    from me5.synthesis.endpoint import ChatEndpoint
    from me5.synthesis.planning import Plan, QuestionPlan
    from me5.synthesis.requests import ChatModel
    from me5.synthesis.run import Result, Settings

T = TypeVar("T")
_CHAT, _WANTED, _LIMITS, _CHECKS = "Chat model", "What to ask for", "Limits", "Checks"
# A terminal shows so many lines; report.md has all.
_LINES = 40
PER_TASK, QUESTIONS = 3, 2

Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="The dataset folder to write.")]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint", metavar="URL", envvar="OPENAI_BASE_URL", rich_help_panel=_CHAT,
        help="An OpenAI-compatible endpoint, such as https://api.openai.com/v1 or http://localhost:8000/v1.",
    ),
]  # fmt: skip
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="NAME", rich_help_panel=_CHAT, help="The chat model to ask there."),
]
KeyVariable = Annotated[
    str,
    typer.Option(
        "--key-variable", metavar="NAME", rich_help_panel=_CHAT,
        help="The environment variable that holds the key; without a value none is sent.",
    ),
]  # fmt: skip
Temperature = Annotated[
    float, typer.Option("--temperature", min=0, rich_help_panel=_CHAT, help="Sampling temperature.")
]
AnswerTokens = Annotated[
    int, typer.Option("--answer-tokens", min=16, rich_help_panel=_CHAT, help="The most tokens of an answer.")
]
Prompts = Annotated[
    Path | None,
    typer.Option(
        "--prompts", metavar="FOLDER", rich_help_panel=_CHAT, show_default="ours",
        help="Prompts that take the place of ours; files that are not there stay ours.",
    ),
]  # fmt: skip
WritePrompts = Annotated[
    Path | None,
    typer.Option(
        "--write-prompts", metavar="FOLDER", rich_help_panel=_CHAT, help="Write our prompts to a new folder, and exit."
    ),
]
FromDocuments = Annotated[
    Path | None,
    typer.Option(
        "--from-documents", metavar="FOLDER", rich_help_panel=_WANTED,
        help="Ask for questions about the passages of these documents, read as `me5 index` reads them (or one file).",
    ),
]  # fmt: skip
Examples = Annotated[
    int | None,
    typer.Option(
        "--examples", "-n", min=1, rich_help_panel=_WANTED, show_default="1000, or all passages",
        help="How many examples to ask for; with --from-documents, about how many passages, drawn at random.",
    ),
]  # fmt: skip
Kinds = Annotated[
    str | None,
    typer.Option(
        "--kinds", metavar="KIND,…", rich_help_panel=_WANTED, show_default="all",
        help="short-long, long-short, short-short, long-long, similarity, bitext.",
    ),
]  # fmt: skip
Languages = Annotated[
    str | None,
    typer.Option(
        "--languages", metavar="CODE,…", rich_help_panel=_WANTED,
        show_default="XLM-R's by the published shares, or that of the passage", help="Languages, in equal shares.",
    ),
]  # fmt: skip
PerTask = Annotated[int, typer.Option("--per-task", min=1, rich_help_panel=_WANTED, help="Examples of each task.")]
CrossLingual = Annotated[
    float,
    typer.Option(
        "--cross-lingual", min=0, max=1, rich_help_panel=_WANTED,
        help="The share of short-long examples whose documents are in another language than the query.",
    ),
]  # fmt: skip
QuestionsOf = Annotated[
    int, typer.Option("--questions", min=1, rich_help_panel=_WANTED, help="Questions per passage and language.")
]
Seed = Annotated[int, typer.Option("--seed", rich_help_panel=_WANTED, help="Seed of every draw.")]
AtOnce = Annotated[int, typer.Option("--at-once", min=1, rich_help_panel=_LIMITS, help="Requests in flight at a time.")]
PerMinute = Annotated[
    float | None, typer.Option("--per-minute", min=0.1, rich_help_panel=_LIMITS, help="The most requests per minute.")
]
Retries = Annotated[
    int, typer.Option("--retries", min=0, rich_help_panel=_LIMITS, help="Further tries of a request that failed.")
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, rich_help_panel=_LIMITS, help="Seconds to wait for an answer.")
]
PriceIn = Annotated[
    float | None, typer.Option("--price-in", min=0, rich_help_panel=_LIMITS, help="Price of a million prompt tokens.")
]
PriceOut = Annotated[
    float | None, typer.Option("--price-out", min=0, rich_help_panel=_LIMITS, help="Price of a million answer tokens.")
]
MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost", min=0, rich_help_panel=_LIMITS, help="Stop asking before all runs together cost more."),
]
MaxRequests = Annotated[
    int | None,
    typer.Option("--max-requests", min=0, rich_help_panel=_LIMITS, help="Stop after so many requests in all runs."),
]
Evaluation = Annotated[
    list[Path] | None,
    typer.Option(
        "--evaluation", "-e", metavar="PATH", rich_help_panel=_CHECKS,
        help="Remove the texts of evaluation sets, as `me5 data decontaminate` does; may be given several times.",
    ),
]  # fmt: skip
Top = Annotated[
    int,
    typer.Option(
        "--top", "-k", min=1, max=100, rich_help_panel=_CHECKS,
        help="Keep a query that finds its positive among so many, of all positives of its language.",
    ),
]  # fmt: skip
Margin = Annotated[
    float,
    typer.Option(
        "--negative-margin", rich_help_panel=_CHECKS,
        help="A hard negative that scores above the positive less this becomes `ignore`.",
    ),
]  # fmt: skip
NoJudge = Annotated[
    bool, typer.Option("--no-judge", rich_help_panel=_CHECKS, help="Keep pairs and negatives that no model has judged.")
]
Judge = Annotated[
    str | None,
    typer.Option(
        "--judge", metavar="NAME", show_default="the bundled model", rich_help_panel=_CHECKS,
        help="The embedding model that judges pairs: a folder, a .gguf file or a hub id.",
    ),
]  # fmt: skip
Licence = Annotated[str, typer.Option("--licence", help="The licence that is noted with every pair.")]
Replay = Annotated[
    bool, typer.Option("--replay", help="Ask nothing: make the dataset from the answers in the job's log.")
]


@options.with_model(without=("revision", "max_tokens", "truncation", "prompts"), name=Judge)
def synthesize(
    model: options.ModelOptions,
    out: Out = None,
    endpoint: Endpoint = None,
    chat: Model = None,
    key_variable: KeyVariable = "OPENAI_API_KEY",
    temperature: Temperature = 1.0,
    answer_tokens: AnswerTokens = 2048,
    prompts: Prompts = None,
    write_prompts: WritePrompts = None,
    documents: FromDocuments = None,
    examples: Examples = None,
    kinds: Kinds = None,
    languages: Languages = None,
    per_task: PerTask = PER_TASK,
    cross_lingual: CrossLingual = 0.0,
    questions: QuestionsOf = QUESTIONS,
    seed: Seed = 0,
    at_once: AtOnce = 8,
    per_minute: PerMinute = None,
    retries: Retries = 10,
    timeout: Timeout = 300.0,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    max_cost: MaxCost = None,
    max_requests: MaxRequests = None,
    evaluation: Evaluation = None,
    top: Top = 10,
    margin: Margin = 0.0,
    no_judge: NoJudge = False,
    licence: Licence = "",
    replay: Replay = False,
    job: work.Job = None,
    restart: work.Restart = False,
    overwrite: shared.Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Let a chat model write training data: tasks and examples in many languages, or questions about your documents.

    Answers are read strictly, checked for their language, deduplicated, and judged by an embedding model; what is
    refused is kept aside with the reason. Every answer is logged as it comes, so the same command resumes.

    \b
    me5 data synthesize --endpoint http://localhost:8000/v1 --model qwen3 --languages en,de,ja -n 500 -o synthetic
    me5 data synthesize --model gpt-5-mini --price-in 0.25 --price-out 2 --max-cost 5 -o synthetic
    me5 data synthesize --from-documents handbook --languages de,en --model gpt-5-mini -o questions
    me5 data synthesize --write-prompts prompts
    """
    from me5.synthesis.budget import Limits
    from me5.synthesis.judging import Judging
    from me5.synthesis.requests import ChatModel, Manners
    from me5.synthesis.run import Settings
    from me5.synthesis.templates import SYSTEM, Templates

    templates = Templates.load(prompts)
    if write_prompts is not None:
        templates.write(write_prompts)
        return
    _refuse_unused(documents, kinds, per_task, cross_lingual, questions)
    asked = ChatModel(_given(chat, "--model"), templates.fill(SYSTEM, {}), temperature, 1.0, answer_tokens)
    server = None if replay else _endpoint(_given(endpoint, "--endpoint"), asked, key_variable, timeout)
    embedder = None if no_judge and documents is None else model.open(quiet=quiet)
    if documents is not None and embedder is not None:
        plan = _question_plan(documents, embedder, languages, questions, examples, seed, quiet=quiet or as_json)
    else:
        plan = _plan(examples, kinds, languages, per_task, cross_lingual, seed)
    settings = Settings(
        plan, asked, templates, Limits(price_in, price_out, max_cost, max_requests),
        Manners(at_once, per_minute, retries), Judging(top, margin, whole_corpus=documents is not None),
        tuple(evaluation or ()), licence,
    )  # fmt: skip
    place = work.workplace(folder := _given(out, "--out"), job, restart=restart, quiet=quiet or as_json)
    result = _run(settings, server, None if no_judge else embedder, folder, place, overwrite=overwrite)
    _print(result, place.folder, as_json=as_json, quiet=quiet)


def _refuse_unused(
    documents: Path | None, kinds: str | None, per_task: int, cross_lingual: float, questions: int
) -> None:
    """Raise `InputError` for options of the other thing that can be asked for: they would change nothing."""
    of_tasks = {"--kinds": kinds is not None, "--per-task": per_task != PER_TASK, "--cross-lingual": cross_lingual != 0}
    given = {"--questions": questions != QUESTIONS} if documents is None else of_tasks
    if wrong := [name for name, unused in given.items() if unused]:
        when = "without" if documents is None else "with"
        raise InputError(f"{', '.join(wrong)} means nothing {when} --from-documents; leave it out")


def _endpoint(url: str, model: "ChatModel", key_variable: str, timeout: float) -> "ChatEndpoint":
    from me5.synthesis.endpoint import ChatEndpoint

    return ChatEndpoint(url, model, key=os.environ.get(key_variable), timeout=timeout)


def _plan(
    examples: int | None, kinds: str | None, languages: str | None, per_task: int, cross_lingual: float, seed: int
) -> "Plan | QuestionPlan":
    from me5.synthesis.planning import Plan

    return Plan(examples or 1000, _listed(kinds), _listed(languages), per_task, cross_lingual, seed)


def _question_plan(
    documents: Path, embedder: "Embedder", languages: str | None, questions: int, examples: int | None, seed: int, *,
    quiet: bool,
) -> "Plan | QuestionPlan":  # fmt: skip
    """Questions about a user's documents; files that cannot be read are named."""
    from me5.synthesis.documents import read_passages
    from me5.synthesis.planning import QuestionPlan

    found = read_passages(documents, embedder, show_progress_bar=not quiet)
    for reason in found.bad:
        output.complain("warning", reason)
    plan = QuestionPlan(tuple(found.documents), _listed(languages), questions, examples, seed)
    if not quiet:
        short = len(plan.passages) - len(plan.worth)
        less = f", {short:,} of them too short to ask about" if short else ""
        typer.echo(f"{counted(found.files, 'file')}, {counted(len(plan.passages), 'passage')}{less}", err=True)
    plan.check()
    return plan


def _run(
    settings: "Settings", endpoint: "ChatEndpoint | None", embedder: "Embedder | None", out: Path,
    place: "Workspace", *, overwrite: bool,
) -> "Result":  # fmt: skip
    from me5.data.teachers import CheckpointTeacher
    from me5.errors import TruncationWarning
    from me5.synthesis.run import synthesize as synthesized

    warnings.simplefilter("ignore", TruncationWarning)  # long documents are usual
    teacher = None if embedder is None else CheckpointTeacher(embedder)
    return synthesized(settings, endpoint=endpoint, teacher=teacher, out=out, workspace=place, overwrite=overwrite)


def _given(value: T | None, name: str) -> T:
    if value is None:
        raise InputError(f"{name} is missing; see `me5 data synthesize --help`")
    return value


def _listed(names: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip()) if names else ()


def _print(result: "Result", job: Path, *, as_json: bool, quiet: bool) -> None:
    """Print the report: by kind and language, or by kind alone where that would be long."""
    from me5.synthesis.reporting import HEADS, cells

    report, asked = result.report, result.asked
    if as_json:
        output.print_json({"dataset": str(result.dataset.folder), "report": report.to_json()})
        return
    if quiet:
        return
    lines = list(report.lines) if len(report.lines) <= _LINES else report.by_kind()
    heads = [*HEADS[:2], *map(output.Number, HEADS[2:])]
    output.print_table(heads, [*map(cells, lines), None, cells(report.total)], framed=False)
    reasons = report.total.refused
    if reasons:
        listed = ", ".join(f"{number:,} {reason}" for reason, number in reasons.most_common())
        typer.echo(f"refused: {listed}", err=True)
    if asked is not None and asked.failed:
        typer.echo(
            f"{counted(asked.failed, 'request')} got no answer ({asked.reason}); the same command asks again", err=True
        )
    if asked is not None and asked.exhausted:
        typer.echo("the budget is spent; with a larger one the same command asks for the rest", err=True)
    shared.print_summary(result.dataset, as_json=False, quiet=False)
    folder = result.dataset.folder
    typer.echo(f"the report is {folder / 'report.md'}; refused answers are in {folder / 'refused.jsonl'}", err=True)
    typer.echo(f"{job} holds the answers: keep it to resume, to ask for more, or to change the checks", err=True)
