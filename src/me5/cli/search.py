"""`me5 search`: ask a store, or a service that searches one, one question or many."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from me5.cli import options, output
from me5.cli import vectors as vectors_of
from me5.cli.hits import Languages, print_hits
from me5.cli.index import StorageOption, open_index, stored_model
from me5.errors import InputError, ServiceError

if TYPE_CHECKING:
    from me5.reranker import Reranker
    from me5.search import Index

Store = Annotated[
    str,
    typer.Argument(
        metavar="STORE",
        help="A folder, an object-store URL, the http:// address of a `me5 serve --search`, or a file of vectors.",
    ),
]
Question = Annotated[
    str | None, typer.Argument(metavar="[QUESTION]", help="In any language. Without one: interactive, or one a line.")
]
Weight = Annotated[
    float | None,
    typer.Option(
        "--weight", min=0, max=1, show_default="half, as measured", help="Weight of vectors; words have the rest."
    ),
]
Group = Annotated[
    Literal["document"] | None,
    typer.Option("--group", show_default="none", help="document: only the best passage of each document."),
]
Fold = Annotated[
    bool, typer.Option("--fold/--no-fold", help="Show passages of equal content once, and name the others.")
]
MinProbability = Annotated[
    float | None,
    typer.Option(
        "--min-probability", metavar="P", show_default="none",
        help="Only passages that answer at least so probably, 0 to 1; the store or its model needs a calibration.",
    ),
]  # fmt: skip
MaxRisk = Annotated[
    float | None,
    typer.Option(
        "--max-risk", metavar="SHARE", show_default="none",
        help="Only passages above the cut of the calibration that keeps the share of irrelevant ones at this.",
    ),
]  # fmt: skip
Rerank = Annotated[
    str | None,
    typer.Option(
        "--rerank", metavar="MODEL", show_default="none",
        help="Order the first 50 hits by this cross-encoder, a folder or hub id; slower, and better.",
    ),
]  # fmt: skip
# A question → hits.
Ask = Callable[[str], list[dict[str, Any]]]


@stored_model
def search(
    store: Store,
    model: options.ModelOptions,
    question: Question = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="How many passages.")] = 5,
    where: Annotated[
        str | None,
        typer.Option("--filter", metavar="FILTER", help="Only passages that match, such as \"language = 'de'\"."),
    ] = None,
    task: options.Task = None,
    vectors: Annotated[bool, typer.Option("--vectors", help="Rank by vectors alone, not by words too.")] = False,
    words: Annotated[bool, typer.Option("--words", help="Rank by words alone (BM25).")] = False,
    weight: Weight = None,
    group: Group = None,
    fold: Fold = True,
    min_probability: MinProbability = None,
    max_risk: MaxRisk = None,
    rerank: Rerank = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare with every vector, even if there is an index.")
    ] = False,
    storage_option: StorageOption = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Search a store that `me5 index` made, in any language, by vectors and words together.

    A running service answers in a fraction of the time that a new process needs to load the store and its model.

    Columns for --filter: source, title, text, start, end, at, language, kind, modified, id, and json_get_string, _int,
    _float and _bool for fields of the metadata; with =, !=, <, >, IN, LIKE, BETWEEN, IS NULL, AND, OR, NOT.

    \b
    me5 search my.lance "how tall is K2?"
    me5 search my.lance "wie hoch ist der K2?" --filter "language = 'ja'" --k 3
    me5 search my.lance "error E1042" --words --filter "source LIKE '%.pdf'"
    me5 search my.lance "K2" --filter "json_get_string(metadata, 'author') = 'Ann'" --json
    me5 search my.lance "how tall is K2?" --min-probability 0.5
    me5 search my.lance "how tall is K2?" --rerank BAAI/bge-reranker-v2-m3
    me5 search my.lance
    me5 search http://127.0.0.1:8080 "how tall is K2?"
    me5 search vectors.parquet "how tall is K2?" --model intfloat/multilingual-e5-small
    """
    by = _by(vectors=vectors, words=words)
    asking: dict[str, Any] = {"task": task, "by": by, "group": group, "fold": fold, "highlight": True}
    chosen = {"weight": weight, "min_probability": min_probability, "max_risk": max_risk}
    asking |= {name: value for name, value in chosen.items() if value is not None}
    from me5.files.vectors import holds_vectors

    if "://" not in store and holds_vectors(Path(store)):
        others: dict[str, Any] = {
            "--filter": where,
            "--words": words,
            "--group": group,
            "--exact": exact,
            "--rerank": rerank,
            "--no-fold": not fold,
            "--storage-option": storage_option,
        }
        others |= {f"--{name.replace('_', '-')}": value for name, value in chosen.items()}
        _refuse(others, "for stores that `me5 index` made, not for a file")
        asked = [question] if question is not None else _questions(sys.stdin.isatty())
        vectors_of.ask(vectors_of.opened(Path(store)), model.open(quiet=quiet), asked, k, task, as_json=as_json)
        return
    with ExitStack() as opened:
        if store.startswith(("http://", "https://")):
            local = {"--exact": exact, "--threads": model.threads, "--model": model.name, "--rerank": rerank}
            _refuse(local | {"--storage-option": storage_option}, "where the store is opened here, not by a service")
            ask, languages = opened.enter_context(_service(store, {**asking, "k": k, "filter": where}))
        else:
            index = open_index(store, storage_option, model, quiet=quiet)
            local_only = {"where": where, "exact": exact, "reranker": _reranker(rerank, model, quiet=quiet)}
            ask, languages = _opened(index, {**asking, "k": k, **local_only})
        strict = min_probability is not None or max_risk is not None
        _answer(question, ask, languages, as_json=as_json, strict=strict)


def _by(*, vectors: bool, words: bool) -> str:
    """What ranks. Raises `BadParameter` for options that contradict each other."""
    if vectors and words:
        raise typer.BadParameter("one of them, or neither for both together", param_hint="--vectors, --words")
    return "vectors" if vectors else "words" if words else "both"


def _refuse(others: Mapping[str, Any], where: str) -> None:
    if given := [name for name, value in others.items() if value not in (None, []) and value is not False]:
        raise typer.BadParameter(f"only {where}", param_hint=given[0])


def _reranker(name: str | None, model: options.ModelOptions, *, quiet: bool) -> "Reranker | None":
    """The cross-encoder of that name, run as the store's model is."""
    if name is None:
        return None
    from me5.reranker import Reranker

    with options.loading(name, quiet=quiet):
        return Reranker.load(name, device=model.device, precision=model.precision, threads=model.threads)


def _opened(index: "Index", fields: dict[str, Any]) -> tuple[Ask, Languages]:
    """How to ask a store, and which languages it has."""

    def ask(question: str) -> list[dict[str, Any]]:
        return [hit.as_dict() for hit in index.search(question, **fields)]

    return ask, partial(index.store.counts, "language")


@contextmanager
def _service(url: str, fields: dict[str, Any]) -> Iterator[tuple[Ask, Languages]]:
    """The same for a service."""
    from me5.client import Client

    with Client(url) as client:

        def ask(question: str) -> list[dict[str, Any]]:
            try:
                hits: list[dict[str, Any]] = client.search(question, **fields)["hits"]
            except ServiceError as error:
                if error.status != 404:
                    raise
                raise InputError(f"{url} searches no store; start it with `me5 serve --search STORE`") from error
            return hits

        yield ask, lambda: client.store()["languages"]


def _answer(question: str | None, ask: Ask, languages: Languages, *, as_json: bool, strict: bool) -> None:
    """Ask one question, or those that are typed or piped in, and show the hits."""
    interactive = question is None and sys.stdin.isatty()
    for one in [question] if question is not None else _questions(interactive):
        try:
            hits = ask(one)
        except InputError as error:
            if not interactive:
                raise
            output.complain("error", str(error))
            continue
        if as_json:
            answer = {"question": one, "hits": [{**hit, "best_sentence": _best_sentence(hit)} for hit in hits]}
            output.print_json(answer, indent=2 if question is not None else None)
        else:
            print_hits(hits, languages, strict=strict)


def _best_sentence(hit: Mapping[str, Any]) -> str:
    return "" if hit["best"] is None else hit["text"][slice(*hit["best"])]


def _questions(interactive: bool) -> Iterator[str]:
    """Questions typed at a prompt, or the lines of standard input."""
    if not interactive:
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    import readline  # noqa: F401 (gives the prompt a history and its keys)

    typer.echo("Ask in any language; an empty line ends.", err=True)
    while True:
        try:
            line = input("? ").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if not line:
            return
        yield line
