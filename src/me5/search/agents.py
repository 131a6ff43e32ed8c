"""The tools by which a language model searches a store, as the Model Context Protocol describes them."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import wraps
from typing import Annotated, Any, Literal, ParamSpec, Protocol, TypeVar

from me5._version import __version__
from me5.errors import Me5Error, MissingExtraError, counted
from me5.search.conditions import all_of, any_of, contains
from me5.search.filters import LONGEST, MOST_VALUES, parse
from me5.search.hits import Hit
from me5.search.scale import Fit
from me5.search.searching import Question

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
# Characters of a result as JSON: of passages there are 50 of some 1,500, but titles and metadata have any length.
MOST_CHARACTERS = 1 << 20
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
        "refused where nothing can tell. 0.2 is mild, 0.5 strict."
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


class Searched(Protocol):
    """A store with its model, as the tools ask it; what is refused is a `Me5Error`."""

    async def find(self, question: Question) -> list[Hit]:
        """The passages that answer a question, with their best sentences."""

    async def around(self, passage: str, before: int, after: int) -> list[Hit]:
        """A passage by its id, with those before and after it."""

    async def counts(self, *columns: str) -> list[dict[str, int]]:
        """For each column its values, with the numbers of passages that have them."""


def server_of(store: Searched, languages: Mapping[str, int]) -> MCPServer[Any]:
    """A server of the tools `search`, `read` and `sources` over a store; `languages` of its passages, for the model."""
    # The tools never change: nobody needs a stream that tells of it.
    made: MCPServer[Any] = MCPServer(
        "me5", title="me5 search", version=__version__, instructions=_instructions(languages), log_level="WARNING",
        subscriptions=False,
    )  # fmt: skip

    @made.tool(annotations=_READING)
    @_told
    async def search(
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
        hits = await store.find(Question(question, k, where, by, fit=Fit(min_probability)))
        if hits:
            return _passages(hits)
        (kinds,) = await store.counts("kind")
        return Passages([], _nothing(kinds, restricted=where is not None, fitting=min_probability is not None))

    @made.tool(annotations=_READING)
    @_told
    async def read(
        id: Annotated[str, Field(max_length=LONGEST, description="The `id` of a passage that was found.")],  # noqa: A002
        before: Annotated[int, Field(ge=0, le=MOST_AROUND, description="How many passages before it.")] = 2,
        after: Annotated[int, Field(ge=0, le=MOST_AROUND, description="How many passages after it.")] = 2,
    ) -> Passages:
        """Read on around a passage: what stands before and after it in the same document, in order."""
        return _passages(await store.around(id, before, after))

    @made.tool(annotations=_READING)
    @_told
    async def sources(
        contains: Annotated[
            str, Field(max_length=LONGEST, description="Only sources whose name contains this text.")
        ] = "",
        most: Annotated[int, Field(ge=0, le=MOST_SOURCES, description="How many sources are listed.")] = 50,
    ) -> Sources:
        """List what there is to search: the sources with their numbers of passages, the languages, the kinds."""
        named, languages, kinds = await store.counts("source", "language", "kind")
        found = {name: count for name, count in named.items() if contains in name}
        listed = dict(list(found.items())[:most])
        return Sources(sum(kinds.values()), languages, kinds, listed, len(found) - len(listed))

    return made


def _told(tool: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """A tool whose refusals the model may read."""

    @wraps(tool)
    async def checked(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return await tool(*arguments, **options)
        except Me5Error as error:
            raise ToolError(str(error)) from error

    return checked


def _instructions(languages: Mapping[str, int]) -> str:
    named = ", ".join(code or "unknown" for code in list(languages)[:_NAMED])
    more = f" and {len(languages) - _NAMED} more" if len(languages) > _NAMED else ""
    return (
        f"Search over {counted(sum(languages.values()), 'passage')} of documents in these languages: {named}{more}. "
        "Call `search` with a question, `read` with the id of a passage for what stands around it, `sources` for what "
        "there is. Cite the `place`."
    )


def _nothing(kinds: Mapping[str, int], *, restricted: bool, fitting: bool) -> str:
    if not kinds:
        return "the store is empty"
    if fitting:
        return "nothing here fits: no passage answers as probably as was asked for"
    return "nothing matches; ask again without languages, source and filter" if restricted else "nothing matches"


def _passages(hits: Sequence[Hit]) -> Passages:
    """The first hits, as many as a result has room for."""
    kept: list[Passage] = []
    room = MOST_CHARACTERS
    for hit in hits:
        passage = _passage(hit)
        room -= len(json.dumps(asdict(passage), default=str, ensure_ascii=False))
        if room < 0:
            return Passages(kept, f"{len(hits) - len(kept)} more have no room in a reply; ask for fewer, or filter")
        kept.append(passage)
    return Passages(kept)


def _passage(hit: Hit) -> Passage:
    return Passage(
        hit.id, hit.place, hit.source, hit.title, hit.text, hit.language, hit.metadata, hit.score, hit.probability,
        hit.best_sentence, [copy.place for copy in hit.also],
    )  # fmt: skip
