"""The Model Context Protocol: a store of passages as tools that a language model calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

from me5._version import __version__
from me5.errors import Me5Error, MissingExtraError
from me5.search.conditions import all_of, any_of, contains
from me5.search.filters import LONGEST, MOST_VALUES, parse
from me5.search.hits import Hit
from me5.search.index import Index

try:
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp_types import ToolAnnotations
    from pydantic import Field
except ImportError as error:
    raise MissingExtraError("serving agents needs more libraries: pip install 'me5[mcp]'") from error

P = ParamSpec("P")
T = TypeVar("T")

MOST_HITS, MOST_AROUND, MOST_SOURCES = 50, 20, 500
# Languages that the instructions name.
_NAMED = 12
_READING = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)

Filter = Annotated[
    str | None,
    Field(
        description="Only passages for which this holds: SQL comparisons of kind, source, title, text, language, at, "
        "modified and json_get_string(metadata, 'field') (or _int, _float, _bool), with AND, OR, NOT, IN, LIKE. "
        "Example: kind = 'pdf' AND modified > timestamp '2026-01-01'"
    ),
]
MinProbability = Annotated[
    float | None,
    Field(
        description="Only passages that answer at least as probably as this, from 0 to 1, so that there may be none; "
        "for stores whose passages come with a `probability`."
    ),
]


@dataclass(frozen=True)
class Passage:
    """A passage; `best_sentence` answers best where a question was asked, `place` is where it stands, in words.

    `probability` is how probably it answers, where the store or its model is calibrated.
    """

    id: str
    place: str
    source: str
    title: str
    text: str
    language: str
    metadata: Mapping[str, Any]
    score: float | None = None
    probability: float | None = None
    best_sentence: str = ""
    also_in: Sequence[str] = ()


@dataclass(frozen=True)
class Passages:
    """Passages, and a word on what else there is, where that helps."""

    passages: list[Passage]
    note: str = ""


@dataclass(frozen=True)
class Sources:
    """What there is to search. `left_out` counts sources that match and are not listed."""

    passages: int
    languages: dict[str, int]
    kinds: dict[str, int]
    sources: dict[str, int] = field(default_factory=dict)
    left_out: int = 0


def server(index: Index) -> MCPServer[Any]:
    """A server of the tools `search`, `read` and `sources` over a store, to be run (`.run("stdio")`)."""
    made: MCPServer[Any] = MCPServer(
        "me5", title="me5 search", version=__version__, instructions=_instructions(index), log_level="WARNING"
    )

    @made.tool(annotations=_READING)
    @_told
    def search(
        question: Annotated[
            str,
            Field(
                max_length=LONGEST,
                description="A whole question or statement in any language, not only keywords: meaning counts.",
            ),
        ],
        k: Annotated[int, Field(ge=1, le=MOST_HITS, description="How many passages.")] = 5,
        languages: Annotated[
            list[str] | None,
            Field(max_length=MOST_VALUES, description="Only passages in these languages, such as ['de', 'ja']."),
        ] = None,
        source: Annotated[
            str | None, Field(max_length=LONGEST, description="Only passages whose source contains this text.")
        ] = None,
        filter: Filter = None,  # noqa: A002
        by: Annotated[
            Literal["both", "vectors", "words"],
            Field(description="What ranks; 'words' for exact names, numbers and error codes, else leave it."),
        ] = "both",
        min_probability: MinProbability = None,
    ) -> Passages:
        """Find the passages that answer a question, best first, in whatever language they are.

        Ask in one language: passages in the others are found too. A passage is a part of a document; `read` shows what
        stands around it. Passages that say the same are one, with the other places in `also_in`.
        """
        where = all_of(
            any_of("language", languages) if languages else None,
            contains("source", source) if source else None,
            parse(filter) if filter else None,
        )
        hits = index.search(
            question, k, where=None if where is None else str(where), by=by, highlight=True,
            min_probability=min_probability,
        )  # fmt: skip
        note = "" if hits else _nothing(index, restricted=where is not None, fitting=min_probability is not None)
        return Passages([_passage(hit) for hit in hits], note)

    @made.tool(annotations=_READING)
    @_told
    def read(
        id: Annotated[str, Field(max_length=LONGEST, description="The `id` of a passage that was found.")],  # noqa: A002
        before: Annotated[int, Field(ge=0, le=MOST_AROUND, description="How many passages before it.")] = 2,
        after: Annotated[int, Field(ge=0, le=MOST_AROUND, description="How many passages after it.")] = 2,
    ) -> Passages:
        """Read on around a passage: what stands before and after it in the same document, in order."""
        return Passages([_passage(hit) for hit in index.around(id, before=before, after=after)])

    @made.tool(annotations=_READING)
    @_told
    def sources(
        contains: Annotated[
            str, Field(max_length=LONGEST, description="Only sources whose name contains this text.")
        ] = "",
        most: Annotated[int, Field(ge=0, le=MOST_SOURCES, description="How many sources are listed.")] = 50,
    ) -> Sources:
        """List what there is to search: the sources with their numbers of passages, the languages, the kinds."""
        found = {name: count for name, count in index.store.counts("source").items() if contains in name}
        listed = dict(list(found.items())[:most])
        languages, kinds = index.store.counts("language"), index.store.counts("kind")
        return Sources(len(index), languages, kinds, listed, len(found) - len(listed))

    return made


def _told(tool: Callable[P, T]) -> Callable[P, T]:
    """A tool whose refusals the model may read."""

    @wraps(tool)
    def checked(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return tool(*arguments, **options)
        except Me5Error as error:
            raise ToolError(str(error)) from error

    return checked


def _instructions(index: Index) -> str:
    languages = list(index.store.counts("language"))
    named = ", ".join(code or "unknown" for code in languages[:_NAMED])
    more = f" and {len(languages) - _NAMED} more" if len(languages) > _NAMED else ""
    return (
        f"Search over {len(index):,} passages of documents in these languages: {named}{more}. Call `search` with a "
        "question, `read` with the id of a passage for what stands around it, `sources` for what there is. Cite the "
        "`place`."
    )


def _nothing(index: Index, *, restricted: bool, fitting: bool) -> str:
    if not len(index):
        return "the store is empty"
    if fitting:
        return "nothing here fits: no passage answers as probably as was asked for"
    return "nothing matches; ask again without languages, source and filter" if restricted else "nothing matches"


def _passage(hit: Hit) -> Passage:
    return Passage(
        hit.id, hit.place, hit.source, hit.title, hit.text, hit.language, hit.metadata, hit.score, hit.probability,
        hit.best_sentence, [copy.place for copy in hit.also],
    )  # fmt: skip
