"""Search: documents in, answers out, in any language. Needs the extra `search`.

    files ─ readers ─ documents ─ splitting ─ passages ─ indexing (embedder) ─ store
    question ─ embedder ─ store (vectors, full text, both) ─ hits

`Index` is the whole of it as one object.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from me5.errors import MissingExtraError
from me5.search.postponed import postpone

if TYPE_CHECKING:
    from me5.search.documents import Document, Section
    from me5.search.hits import Hit
    from me5.search.index import Index
    from me5.search.planning import BadFile, Summary
    from me5.search.recall import Recall
    from me5.search.settings import StoreSettings

_LIBRARIES = (
    "lancedb", "semantic_text_splitter", "langcodes", "pathspec", "py3langid", "pypdfium2", "docx", "selectolax",
    "markdown_it", "yaml", "openpyxl", "docutils",
)  # fmt: skip
if any(importlib.util.find_spec(name) is None for name in _LIBRARIES):
    raise MissingExtraError("search needs more libraries: pip install 'me5[search]'")

postpone("lance_namespace_urllib3_client")

__all__ = ["BadFile", "Document", "Hit", "Index", "Recall", "Section", "StoreSettings", "Summary"]
_HOMES = {
    "BadFile": "planning", "Document": "documents", "Hit": "hits", "Index": "index", "Recall": "recall",
    "Section": "documents", "StoreSettings": "settings", "Summary": "planning",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """What is asked for, with the libraries that it needs: the readers' own process needs neither store nor engine."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"me5.search.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
