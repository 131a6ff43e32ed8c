"""`me5 similar`, `me5 cluster`, `me5 duplicates`: what lies near what, in a file of vectors or a store.

`me5 search` asks a file of vectors a question through here.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from me5.cli import options, output, terminal
from me5.errors import InputError, counted

if TYPE_CHECKING:
    from me5.embedder import Embedder
    from me5.files.vectors import VectorTable
    from me5.vectors import Float32

# Characters of a text in a table.
_SHOWN = 100
# What groups have to reach, where nothing else is asked for.
_THRESHOLD, _SMALLEST = 0.9, 2
Vectors = Annotated[
    Path,
    typer.Argument(
        metavar="VECTORS",
        help="A file of `me5 embed` (.parquet, .jsonl, .npy), a folder of `me5 bulk`, or a store of `me5 index`.",
    ),
]
ColumnName = Annotated[str, typer.Option("--column", metavar="NAME", help="The column or field of the vectors.")]
IdColumn = Annotated[str, typer.Option("--id-column", metavar="NAME", help="The column or field of the ids.")]
_LEAST = "The least cosine to the middle of a group."
Out = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write all of it to a .jsonl file.")]
Most = Annotated[int, typer.Option("--most", min=1, help="How many groups are shown.")]


def similar(
    vectors: Vectors,
    identity: Annotated[str, typer.Argument(metavar="ID", help="The id of a row; in .npy its number, from 0.")],
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="How many.")] = 10,
    column: ColumnName = "vector",
    id_column: IdColumn = "id",
    as_json: options.Json = False,
) -> None:
    """Show the rows whose vectors are nearest to that of one row, by their cosines.

    \b
    me5 similar vectors.parquet 17
    me5 similar vectors.npy 17 -k 3 --json
    """
    table = opened(vectors, column, id_column)
    place = table.place_of(identity)
    found = [(at, score) for at, score in nearest(table, table.vectors[place], k + 1) if at != place][:k]
    if as_json:
        output.print_json([{**table.row(at), "score": round(score, 6)} for at, score in found])
        return
    output.print_line((_shown(table, place), "bold"))
    _print_scores(table, found)


def cluster(
    vectors: Vectors,
    threshold: Annotated[
        float | None, typer.Option("--threshold", min=-1, max=1, show_default=str(_THRESHOLD), help=_LEAST)
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count", min=1, show_default="by --threshold", help="Part all rows into so many groups, by k-means."
        ),
    ] = None,
    smallest: Annotated[
        int | None, typer.Option("--smallest", min=1, show_default=str(_SMALLEST), help="Leave out smaller groups.")
    ] = None,
    out: Out = None,
    most: Most = 20,
    column: ColumnName = "vector",
    id_column: IdColumn = "id",
    as_json: options.Json = False,
) -> None:
    """Group rows whose vectors lie near each other; the most central row of a group stands for it.

    Without --count, a group is a row and all others at least as near to it as the threshold, the largest first, and
    some rows belong to none. The cosines of E5 models lie between about 0.7 and 1. Takes a time that grows with the
    square of the rows: some 100,000 are what it is meant for.

    \b
    me5 cluster vectors.parquet
    me5 cluster vectors.parquet --threshold 0.93 --smallest 5 -o groups.jsonl
    me5 cluster vectors.parquet --count 20
    """
    from me5.grouping import communities, parts

    if count is not None:
        for name, given in (("--threshold", threshold), ("--smallest", smallest)):
            if given is not None:
                raise typer.BadParameter("means nothing with --count; leave it out", param_hint=name)
    _check_out(out, vectors)
    table = opened(vectors, column, id_column)
    if count is not None and count > len(table):
        raise InputError(
            f"{table.name} holds {counted(len(table), 'vector')}, which cannot be parted into {counted(count, 'group')}"
        )
    if count is not None:
        groups = parts(table.vectors, count)
    else:
        least = _THRESHOLD if threshold is None else threshold
        groups = communities(table.vectors, least, _SMALLEST if smallest is None else smallest)
    _tell(table, groups, out, most=most, as_json=as_json, kind="group")


def duplicates(
    vectors: Vectors,
    threshold: Annotated[float, typer.Option("--threshold", min=-1, max=1, help=_LEAST)] = 0.97,
    out: Out = None,
    most: Most = 20,
    column: ColumnName = "vector",
    id_column: IdColumn = "id",
    as_json: options.Json = False,
) -> None:
    """Find rows that say nearly the same: groups of two or more, of which the first row stays.

    \b
    me5 duplicates vectors.parquet
    me5 duplicates vectors.parquet --threshold 0.99 -o duplicates.jsonl
    """
    from me5.grouping import communities

    _check_out(out, vectors)
    table = opened(vectors, column, id_column)
    groups = [sorted(group) for group in communities(table.vectors, threshold, 2)]
    _tell(table, groups, out, most=most, as_json=as_json, kind="duplicates")


def opened(path: Path, column: str = "vector", id_column: str = "id") -> "VectorTable":
    """The vectors of a file, a folder of Parquet files, or a store."""
    from me5.files.vectors import holds_vectors, read_vectors

    if path.is_dir() and not holds_vectors(path):
        return _of_store(path)
    table = read_vectors(path, vector=column, identity=id_column)
    if table.missing:
        output.complain("warning", f"{counted(table.missing, 'row')} of {table.name} without a vector left out")
    return table


def _of_store(path: Path) -> "VectorTable":
    import numpy as np

    from me5.files.vectors import VectorTable
    from me5.search.store import Store

    store = Store.open(str(path))
    if store is None:
        raise InputError(f"{path} holds no vectors: no Parquet files, and no store that `me5 index` made")
    rows = store.snapshot().rows(vectors=True)
    if not rows:
        raise InputError(f"{path} holds no passages yet")
    matrix = np.array([row["vector"] for row in rows], np.float32)
    return VectorTable(str(path), [row["id"] for row in rows], [row["text"] for row in rows], matrix)


def nearest(table: "VectorTable", vector: "Float32", k: int) -> list[tuple[int, float]]:
    """The places of the `k` nearest rows, and their cosines."""
    import numpy as np

    from me5.nearest import top_k

    places, scores = top_k(vector[None], [(np.arange(len(table)), table.vectors)], min(k, len(table)))
    return list(zip(places[0].tolist(), scores[0].tolist(), strict=True))


def ask(
    table: "VectorTable", embedder: "Embedder", questions: Iterable[str], k: int, task: str | None, *, as_json: bool
) -> None:
    """Print the rows that are nearest to each question."""
    if embedder.dim != table.vectors.shape[1]:
        raise InputError(
            f"{table.name} has vectors of {table.vectors.shape[1]} numbers, those of {embedder.checkpoint.name} have "
            f"{embedder.dim}: name the model that made them with --model"
        )
    for question in questions:
        (vector,) = embedder.encode_query([question], task=task)
        found = nearest(table, vector, k)
        if as_json:
            hits = [{**table.row(at), "score": round(score, 6)} for at, score in found]
            output.print_json({"question": question, "hits": hits})
        else:
            _print_scores(table, found)


def _shown(table: "VectorTable", place: int) -> str:
    identity = terminal.line(str(table.ids[place]))
    if table.texts is None:
        return identity
    text = terminal.line(table.texts[place])
    return f"{identity}  {text if len(text) <= _SHOWN else f'{text[:_SHOWN]} …'}"


def _print_scores(table: "VectorTable", found: Sequence[tuple[int, float]]) -> None:
    for place, score in found:
        output.print_line((f"{score:.4f}  ", "green"), _shown(table, place))


def _check_out(out: Path | None, vectors: Path) -> None:
    """Raise `InputError`, before any work, where groups cannot be written."""
    from me5.files.atomic import check_file

    if out is None:
        return
    if out.suffix.lower() not in (".jsonl", ".ndjson"):
        raise InputError(f"groups are written as JSON lines: expected a name that ends in .jsonl, got {out}")
    check_file(out, vectors)


def _tell(
    table: "VectorTable", groups: Sequence[Sequence[int]], out: Path | None, *, most: int, as_json: bool, kind: str
) -> None:
    """Print groups, the first row of each standing for it, or write them to a file."""
    from me5.files.atomic import replacing

    listed = [{"group": number, "rows": [table.row(at) for at in group]} for number, group in enumerate(groups)]
    if out is not None:
        with replacing(out) as file:
            file.writelines(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in listed)
    if as_json:
        output.print_json(listed)
        return
    rows = sum(map(len, groups))
    for group in groups[:most]:
        output.print_line((f"{len(group):,} × ", "bold"), _shown(table, group[0]))
        if kind == "duplicates":
            for place in group[1:]:
                output.print_line("     ", _shown(table, place))
    more = f"; {counted(len(groups) - most, 'more group')}" if len(groups) > most else ""
    output.print_line(f"{counted(len(groups), 'group')} of {rows:,} of {counted(len(table), 'row')}{more}")
