"""`me5 calibrate`: what the cosines of a model, or of a store, mean."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from me5.cli import options, output
from me5.cli.evaluation import shared
from me5.cli.index import StorageOption, open_index
from me5.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from me5.calibration.applied import Calibration
    from me5.calibration.making import Made
    from me5.calibration.pairs import Set
    from me5.embedder import Embedder
    from me5.search.index import Index

Target = Annotated[
    str,
    typer.Argument(metavar="MODEL|STORE", help="A folder, a .gguf file, a hub id; or a store that `me5 index` made."),
]
Pairs = Annotated[
    list[Path] | None,
    typer.Argument(metavar="PAIRS…", help="Labelled pairs: files and folders. For a store there may be none."),
]
Out = Annotated[
    str | None,
    typer.Option("--out", "-o", metavar="NAME", help="Write NAME.json, the report NAME.md and the picture NAME.svg."),
]
Keep = Annotated[
    bool, typer.Option("--keep/--no-keep", help="Keep the calibration beside the model's files, or in the store.")
]
Judge = Annotated[
    Path | None,
    typer.Option("--judge", metavar="FILE", help="Make none: judge the calibration in this file on the pairs."),
]
Symmetric = Annotated[
    bool | None,
    typer.Option(
        "--symmetric/--asymmetric", show_default="what the pairs are",
        help="The pairs are two like texts, or question and document.",
    ),
]  # fmt: skip
RelevantFrom = Annotated[
    float | None,
    typer.Option("--relevant-from", metavar="GRADE", show_default="1", help="A pair is relevant from this grade on."),
]
Depth = Annotated[int, typer.Option("--depth", min=1, help="How many documents a search shows, for retrieval sets.")]
Prior = Annotated[
    float | None,
    typer.Option(
        "--prior", metavar="SHARE", show_default="that of the labelled pairs",
        help="The share of relevant pairs among those that will be looked at.",
    ),
]  # fmt: skip
Risk = Annotated[
    list[float] | None,
    typer.Option(
        "--risk", metavar="SHARE", show_default="0.5, 0.2 and 0.1",
        help="Look for a cut that keeps the share of irrelevant passages at this; several times for several.",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class _PairOptions:
    """Which pairs, how they are read, and where their vectors are kept."""

    paths: tuple[Path, ...]
    task: str | None
    symmetric: bool | None
    least: float | None
    depth: int
    cache: Path | None


@dataclass(frozen=True)
class _Results:
    """Where results go."""

    out: str | None
    as_json: bool
    quiet: bool

    @property
    def silent(self) -> bool:
        return self.quiet or self.as_json


@options.with_model(without=("name", "max_tokens", "truncation"))
def calibrate(
    target: Target,
    model: options.ModelOptions,
    pairs: Pairs = None,
    out: Out = None,
    keep: Keep = True,
    judge: Judge = None,
    task: options.Task = None,
    symmetric: Symmetric = None,
    relevant_from: RelevantFrom = None,
    depth: Depth = 10,
    prior: Prior = None,
    risk: Risk = None,
    cache: shared.Cache = None,
    storage_option: StorageOption = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn from labelled pairs what a cosine means: a probability, and where to cut.

    Pairs are a file (.jsonl, .csv, .tsv, .parquet) with the columns query, document and label (0 or 1, or a grade), or
    any set of retrieval, reranking, pair classification or similarity that `me5 eval` reads. Figures are of questions
    that were held out. Exits with 1 where cosines do not tell relevant pairs from others: then nothing is kept.

    A store without pairs gets a background: where random pairs of its own texts lie, by language. That is no
    probability. A store runs its own model, whatever the options of the model say.

    \b
    me5 calibrate ./my-model pairs.jsonl --out calibration
    me5 calibrate my.lance data/retrieval/my-set
    me5 calibrate ./my-model data/sts --relevant-from 4
    me5 calibrate ./my-model other-pairs.csv --judge ./my-model/calibration.json
    me5 calibrate my.lance
    """
    results = _Results(out, as_json, quiet)
    chosen = _PairOptions(tuple(pairs or ()), task, symmetric, relevant_from, depth, cache)
    output.check_files(out, *(pairs or ()), *([] if judge is None else [judge]))
    index = _store(target, storage_option, model, quiet=results.silent)
    if not pairs:
        if index is None:
            raise InputError(
                f"{target} needs labelled pairs: without them only a store can be measured, by its own texts"
            )
        _background(index, results, keep=keep)
        return
    embedder = index.embedder if index is not None else replace(model, name=target).open(quiet=results.silent)
    if judge is not None:
        _judge(judge, embedder, chosen, results)
        return
    if keep and index is None:
        _check_own(embedder)
    made = _make(embedder, chosen, results, prior=prior, risks=risk)
    kept = _kept(made.calibration, embedder, index) if keep and made.calibration is not None else None
    _print_made(made, kept, embedder, results)
    if made.calibration is None:
        raise typer.Exit(1)


def _store(
    target: str, storage_option: list[str] | None, model: options.ModelOptions, *, quiet: bool
) -> "Index | None":
    """The store of that name; None where it names a model."""
    folder = Path(target).expanduser()
    if "://" not in target and not (folder / "files.lance").is_dir():
        return None
    return open_index(
        target, storage_option, options.ModelOptions(device=model.device, threads=model.threads), quiet=quiet
    )


def _sets(embedder: "Embedder", chosen: _PairOptions, results: _Results) -> "tuple[list[Set], bool, bool]":
    """(the pairs with their cosines, whether both texts are alike, whether they are what searches find)."""
    from me5.calibration import pairs
    from me5.evaluation.encoders.cached import CachedEncoder
    from me5.evaluation.encoders.checkpoint import CheckpointEncoder
    from me5.evaluation.task import Retrieval
    from me5.progress import track

    options.show_warnings(quiet=results.silent)
    sources = pairs.read(chosen.paths, symmetric=chosen.symmetric, graded=chosen.least is not None)
    symmetric = pairs.is_symmetric(sources) if chosen.symmetric is None else chosen.symmetric
    encoder = None if chosen.cache is None else CachedEncoder(CheckpointEncoder(embedder), chosen.cache)
    with track(sum(map(pairs.texts_of, sources)), show=not results.silent) as advance:
        sets = [
            pairs.score(
                source, embedder, task=chosen.task, symmetric=symmetric, depth=chosen.depth, advance=advance,
                encoder=encoder, least=1.0 if chosen.least is None else chosen.least,
            )
            for source in sources
        ]  # fmt: skip
    return sets, symmetric, any(isinstance(source, Retrieval) for source in sources)


def _make(
    embedder: "Embedder", chosen: _PairOptions, results: _Results, *, prior: float | None, risks: list[float] | None
) -> "Made":
    from me5.calibration import making, risk
    from me5.calibration.bound import Sides, Vectors

    sets, symmetric, found = _sets(embedder, chosen, results)
    return making.calibrate(
        sets,
        Vectors.of(embedder.checkpoint, embedder.precision, embedder.dim),
        Sides.of(embedder.prompts, chosen.task, symmetric=symmetric),
        prior=prior,
        risks=risks or risk.RISKS,
        about={"sources": [path.name for path in chosen.paths], **({"depth": chosen.depth} if found else {})},
    )


def _judge(path: Path, embedder: "Embedder", chosen: _PairOptions, results: _Results) -> None:
    from me5.calibration import making
    from me5.calibration.applied import Calibration
    from me5.calibration.bound import Sides

    calibration = Calibration.read(path)
    embedder.calibration = calibration
    sets, symmetric, _ = _sets(embedder, chosen, results)
    calibration.sides.check(Sides.of(embedder.prompts, chosen.task, symmetric=symmetric))
    figures = making.judge_on(calibration, sets)
    _write(
        results.out,
        figures,
        calibration,
        f"{path.name} judged on other pairs",
        f"{embedder.checkpoint.name}",
        data=figures,
    )
    if results.as_json:
        output.print_json(figures)
    elif not results.quiet:
        _print_figures(figures)
        _print_cuts(figures, calibration)


def _check_own(embedder: "Embedder") -> None:
    """Raise `InputError`, before any work, where no calibration can be kept beside the model.

    That of the bundled model is everybody's, and a part of me5.
    """
    from me5.calibration.stored import is_general, path_of
    from me5.files.atomic import check_file

    name = embedder.checkpoint.name
    if is_general(embedder.checkpoint):
        raise InputError(
            f"{name} comes with its calibration, which is not replaced; calibrate your store (`me5 calibrate STORE "
            f"PAIRS`), write the calibration elsewhere (--no-keep --out NAME), or calibrate a copy of the model "
            f"(`me5 export {name} --to FOLDER`)"
        )
    check_file(path_of(embedder.checkpoint))


def _kept(calibration: "Calibration", embedder: "Embedder", index: "Index | None") -> str:
    """Keep it where it belongs, and return where that is."""
    if index is not None:
        from me5.search.scale import keep

        keep(index.store, calibration)
        return index.store.uri
    from me5.calibration.stored import path_of

    path = path_of(embedder.checkpoint)
    calibration.write(path)
    return str(path)


def _background(index: "Index", results: _Results, *, keep: bool) -> None:
    from me5.calibration.picture import background_svg
    from me5.calibration.report import background_markdown
    from me5.search import scale
    from me5.search.chance import measure

    options.show_warnings(quiet=results.silent)
    background = measure(index.store, index.embedder)
    if keep:
        scale.keep(index.store, background)
    title = f"Random pairs of {Path(index.store.uri).name}"
    if results.out is not None:
        markdown, picture = background_markdown(background, title), background_svg(background, title)
        output.write_files(results.out, background.to_json(), markdown, picture)
    if results.as_json:
        output.print_json({"kept": index.store.uri if keep else None, **background.content()})
    elif not results.quiet:
        output.print_line(background_markdown(background, title))


def _print_made(made: "Made", kept: str | None, embedder: "Embedder", results: _Results) -> None:
    title = f"Calibration of {embedder.checkpoint.name}"
    _write(results.out, made.figures, made.calibration, made.verdict, title)
    if results.as_json:
        content = None if made.calibration is None else made.calibration.content()
        output.print_json({"verdict": made.verdict, "kept": kept, "calibration": content, "figures": made.figures})
        return
    if not results.quiet:
        _print_figures(made.figures)
        if made.calibration is not None:
            _print_cuts(made.figures, made.calibration)
    output.print_line((made.verdict, "bold"))
    if not results.quiet:
        typer.echo("nothing was kept" if kept is None else f"kept in {kept}", err=True)


def _write(
    out: str | None, figures: "Mapping[str, Any]", calibration: "Calibration | None", verdict: str, title: str, *,
    data: "Mapping[str, Any] | None" = None,
) -> None:  # fmt: skip
    """The three files; `data` stands in the first where it is not a calibration that was made."""
    if out is None:
        return
    import json

    from me5.calibration.picture import as_svg
    from me5.calibration.report import as_markdown

    made = calibration is not None and data is None
    content = (
        calibration.to_json() if made and calibration is not None else json.dumps(data or figures, indent=1) + "\n"
    )
    markdown = as_markdown(figures, calibration, verdict, title)
    output.write_files(out, content, markdown, as_svg(figures, calibration, title))


def _print_figures(figures: "Mapping[str, Any]") -> None:
    from me5.calibration.report import SET_HEADINGS, extent, set_rows, threshold_rows

    rows = threshold_rows(figures)[1::2]
    heads = ["least probability", "precision", "recall", "questions with an answer"]
    auc, error = figures["auc"], figures["error"]
    caption = (
        f"AUC {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f}), calibration error {error['value']:.3f} "
        f"({error['low']:.3f} to {error['high']:.3f}; {figures['chance'][0]:.3f} by chance alone)"
    )
    title = extent(figures)
    output.print_table([output.Number(head) for head in heads], rows, title=title, caption=caption)
    if len(figures["sets"]) > 1:
        output.print_table([SET_HEADINGS[0], *map(output.Number, SET_HEADINGS[1:])], set_rows(figures))


def _print_cuts(figures: "Mapping[str, Any]", calibration: "Calibration") -> None:
    from me5.calibration.report import CUT_HEADINGS, cut_rows

    if calibration.cuts:
        output.print_table([*map(output.Number, CUT_HEADINGS)], cut_rows(figures, calibration))
