"""`me5 bulk`: any number of files into a folder of vectors, as a job that is resumed where it was killed."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from me5.cli import embed, options, output
from me5.cli.register import help_of, register, with_default
from me5.errors import InputError, counted
from me5.progress import duration

if TYPE_CHECKING:
    from me5.bulk.driver import Result, Shard
    from me5.bulk.estimate import Estimate
    from me5.bulk.job import Job
    from me5.bulk.manifest import Settings
    from me5.bulk.model import Model
    from me5.bulk.status import Status

Folder = Annotated[str, typer.Argument(metavar="DIR", help="The folder of the job, or a URL.")]
ShardOption = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Do every N-th part only, from part I on (from 0)."),
]  # fmt: skip
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, show_default="one; with --ray as many as there is room for",
        help="Processes on this machine; they share the cores, or have a GPU each.",
    ),
]  # fmt: skip
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray", metavar="[ADDRESS]",
        help="Let the workers run on a Ray cluster: auto (RAY_ADDRESS, or the one of this machine; the same as no "
        "address), HOST:PORT, or local (Ray for this run alone). Needs the extra ray.",
    ),
]  # fmt: skip


def bulk() -> None:
    """Embed any number of files into a folder of Parquet files, from thousands to billions of texts.

    `me5 bulk INPUTS… --out DIR` is short for `me5 bulk run`. A job that was killed anywhere resumes with the same
    command, or with `me5 bulk resume DIR`; what it writes is the same.

    \b
    me5 bulk corpus/ --out vectors --field title --field text --id-field id
    me5 bulk 'data/*.parquet' --out vectors --dry-run --price-per-hour 1.20
    me5 bulk resume vectors
    me5 bulk status vectors
    """


@options.with_model()
def run(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUTS…",
            help="Files, folders, globs or URLs: .parquet; .jsonl, .csv, .tsv, .txt, also .gz, .bz2, .zst.",
        ),
    ],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="The folder of the job, or a URL.")],
    model: options.ModelOptions,
    side: embed.Side = "document",
    task: options.Task = None,
    field: embed.Field = None,
    id_field: embed.IdField = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", metavar="NAME", help="A further field to write beside the vectors.")
    ] = None,
    keep_text: embed.KeepText = False,
    format: embed.Format = None,  # noqa: A002
    vectors: Annotated[
        Literal["f32", "f16", "int8", "binary"],
        typer.Option("--vectors", help="The numbers of the vectors; int8 and binary have a column scale."),
    ] = "f32",
    output_format: Annotated[
        Literal["parquet", "lance"],
        typer.Option("--output-format", help="Parquet files, or a Lance dataset (extra lance) in DIR."),
    ] = "parquet",
    part_texts: Annotated[
        int, typer.Option("--part-texts", min=1, metavar="TEXTS", help="The size of a part: what a kill may cost.")
    ] = 100_000,
    workers: Workers = None,
    ray: Ray = None,
    shard: ShardOption = None,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Write the plan and stop; `me5 bulk resume` does the rest.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; embed a sample, and show what the job would take.")
    ] = False,
    price_per_hour: Annotated[
        float | None,
        typer.Option("--price-per-hour", min=0, metavar="PRICE", help="Of a machine like this one, for --dry-run."),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Start a job, or resume it where it was killed.

    A text that cannot be embedded gets a null vector and a row in DIR/errors. A part that fails three times is listed,
    and the others go on; the exit code is then 1.

    \b
    me5 bulk run corpus/ --out vectors --field title --field text --id-field id
    me5 bulk run 'data/*.parquet' --out vectors --vectors int8 --keep url
    me5 bulk run corpus/ --out vectors --shard 3/16
    """
    from me5.bulk import driver, manifest

    options.show_warnings(quiet=quiet)
    share = _shard(shard)
    settings = manifest.Settings(
        inputs=tuple(inputs), side=side, task=task, format=format, fields=tuple(field or ()), id_field=id_field,
        keep=tuple(keep or ()), keep_text=keep_text, vectors=vectors, output=output_format, part_texts=part_texts,
    ).absolute()  # fmt: skip
    chosen = _model(model)
    if dry_run:
        _show_estimate(_estimated(settings, out, chosen, quiet=quiet), price_per_hour, as_json)
        return
    if price_per_hour is not None:
        raise InputError("--price-per-hour belongs to --dry-run; add that, or leave it out")
    job = _planned(settings, out, chosen)
    if plan_only:
        _show_plan(job, as_json, quiet)
        return
    _end(driver.work(job, chosen, shard=share, workers=workers, ray=ray, show=not quiet), as_json, quiet)


def resume_job(
    folder: Folder,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    workers: Workers = None,
    ray: Ray = None,
    shard: ShardOption = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Complete a job with the model that it was started with. What is done is not read again.

    \b
    me5 bulk resume vectors
    me5 bulk resume vectors --shard "$SLURM_ARRAY_TASK_ID/16"
    me5 bulk resume s3://bucket/vectors --ray
    """
    from me5.bulk.driver import recorded_model, resume
    from me5.bulk.folders import folder_of
    from me5.bulk.job import open_job

    options.show_warnings(quiet=quiet)
    model = recorded_model(open_job(folder_of(folder)), device=device, threads=threads)
    result = resume(folder, model=model, shard=_shard(shard), workers=workers, ray=ray, show_progress_bar=not quiet)
    _end(result, as_json, quiet)


def status(folder: Folder, as_json: options.Json = False) -> None:
    """Show how far a job is, running or not, from any machine.

    \b
    me5 bulk status vectors
    """
    from me5.bulk.folders import folder_of
    from me5.bulk.job import open_job
    from me5.bulk.status import status as status_of

    found = status_of(open_job(folder_of(folder)))
    if as_json:
        output.print_json(asdict(found))
        return
    output.print_facts(_status_in_words(found))


def clean(folder: Folder, quiet: options.Quiet = False) -> None:
    """Remove the files of attempts that do not count. Those of parts that are not done stay.

    \b
    me5 bulk clean vectors
    """
    from me5.bulk.commit import commits
    from me5.bulk.finish import clean as remove_attempts
    from me5.bulk.folders import folder_of
    from me5.bulk.job import open_job

    job = open_job(folder_of(folder))
    removed = remove_attempts(job, commits(job))
    if not quiet:
        typer.echo(f"{counted(len(removed), 'file')} removed", err=True)


app = typer.Typer(cls=with_default("run", {"--ray": "auto"}), no_args_is_help=True)
app.callback(help=help_of(bulk))(bulk)
register(app, run=run, resume=resume_job, status=status, clean=clean)


def _model(given: options.ModelOptions) -> "Model":
    from me5.bulk.model import Model

    return Model(
        given.name, device=given.device, precision=given.precision, threads=given.threads, max_tokens=given.max_tokens,
        truncation=given.truncation, prompts=given.prompts, revision=given.revision,
    )  # fmt: skip


def _shard(given: str | None) -> "Shard":
    from me5.bulk.driver import Shard

    if given is None:
        return Shard()
    index, _, count = given.partition("/")
    if not (index.isdecimal() and count.isdecimal()):
        raise InputError(f"--shard is I/N such as 3/16, got {given!r}")
    return Shard(int(index), int(count))


def _end(result: "Result", as_json: bool, quiet: bool) -> None:
    """Show what a run did, and exit with 1 where it gave parts up."""
    facts = {name: value for name, value in vars(result).items() if name != "job"}
    if as_json:
        output.print_json(facts)
    elif not quiet:
        left = f", {counted(result.left, 'part')} left" if result.left else ""
        speed = f", {result.tokens / result.seconds:,.0f} tokens/s" if result.tokens else ""
        lost = f", {result.truncated:,} truncated ({counted(result.lost, 'token')} lost)" if result.truncated else ""
        typer.echo(
            f"{counted(result.texts, 'text')} in {counted(result.parts, 'part')}, "
            f"{counted(result.tokens, 'token')}{lost}{speed}{left} → {result.job.folder.url}", err=True,
        )  # fmt: skip
        if result.refused:
            rows = counted(result.refused, "row has", "rows have")
            typer.echo(f"{rows} no vector: {result.job.folder.url}/errors says why", err=True)
        if result.nulled:
            values = counted(result.nulled, "value")
            typer.echo(f"{values} became null: {result.job.folder.url}/errors says which", err=True)
    for number, reason in sorted(result.failed.items()):
        output.complain("error", f"part {number} was given up: {reason}")
    if result.failed:
        raise typer.Exit(1)


def _show_plan(job: "Job", as_json: bool, quiet: bool) -> None:
    if as_json:
        output.print_json({"parts": len(job.plan.parts), "texts": job.plan.texts, "files": len(job.plan.files)})
    elif not quiet:
        typer.echo(
            f"{counted(job.plan.texts, 'text')} in {counted(len(job.plan.parts), 'part')} → {job.folder.url}", err=True
        )


def _planned(settings: "Settings", out: str, model: "Model") -> "Job":
    from me5.bulk.driver import plan
    from me5.bulk.folders import folder_of

    return plan(settings, folder_of(out), model)


def _estimated(settings: "Settings", out: str, model: "Model", *, quiet: bool) -> "Estimate":
    from me5.bulk.driver import described_job
    from me5.bulk.estimate import estimate
    from me5.bulk.folders import folder_of

    with options.loading(model.model, quiet=quiet):
        embedder = model.load()
    return estimate(described_job(settings, folder_of(out), embedder), embedder)


def _show_estimate(found: "Estimate", price: float | None, as_json: bool) -> None:
    cost: Mapping[str, Any] = {} if price is None else {"cost": round(found.cost(price), 2)}
    if as_json:
        output.print_json(asdict(found) | dict(cost))
        return
    output.print_facts({
        "files": f"{found.files:,}", "parts": f"{found.parts:,}", "texts": f"{found.texts:,}",
        "tokens": f"about {found.tokens:,}, from {counted(found.sampled, 'text')}",
        "vectors": f"{found.bytes / 1e9:,.2f} GB",
        "speed": f"{found.tokens_per_second:,.0f} tokens/s", "time": f"about {duration(found.seconds)} on one machine",
        **({} if price is None else {"cost": f"about {found.cost(price):,.2f}"}),
    })  # fmt: skip


def _status_in_words(found: "Status") -> dict[str, str]:
    facts = {
        "state": "finished" if found.finished else "not finished",
        "parts": f"{found.parts_done:,} of {found.parts:,}",
        "texts": f"{found.texts_done:,} of {found.texts:,}, embedded once each: {found.unique:,}",
        "tokens": f"{found.tokens:,}, {found.tokens_per_second:,.0f} tokens/s",
        "truncated": f"{counted(found.truncated, 'text')}, {counted(found.lost, 'token')} lost",
        "without vector": f"{counted(found.refused, 'row')}, listed in errors/",
        "became null": f"{counted(found.nulled, 'value')}, listed in errors/",
        "vectors": f"{found.bytes / 1e9:,.2f} GB",
    }
    if not found.finished:
        facts["left"] = (
            f"about {duration(found.seconds_left)} at this speed; last commit {duration(found.seconds_ago)} ago"
        )
    for number, reason in sorted(found.failed.items()):
        facts[f"part {number} failed"] = reason
    return facts
