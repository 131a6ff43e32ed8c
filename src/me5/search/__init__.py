"""Search: documents in, answers out, in any language. Needs the extra `search`.

    files ─ readers ─ documents ─ splitting ─ passages ─ indexing (embedder) ─ store
    question ─ embedder ─ store (vectors, full text, both) ─ hits

`Index` is the whole of it as one object.
"""

import importlib.util

from me5.errors import MissingExtraError

_LIBRARIES = (
    "lancedb", "semantic_text_splitter", "langcodes", "pathspec", "py3langid", "pypdf", "docx", "selectolax",
    "markdown_it",
)  # fmt: skip
if any(importlib.util.find_spec(name) is None for name in _LIBRARIES):
    raise MissingExtraError("search needs more libraries: pip install 'me5[search]'")

from me5.search.postponed import postpone  # noqa: E402

postpone("lance_namespace_urllib3_client")

from me5.search.documents import Document, Section  # noqa: E402
from me5.search.hits import Hit  # noqa: E402
from me5.search.index import Index  # noqa: E402
from me5.search.planning import BadFile, Summary  # noqa: E402
from me5.search.recall import Recall  # noqa: E402
from me5.search.settings import Settings  # noqa: E402

__all__ = ["BadFile", "Document", "Hit", "Index", "Recall", "Section", "Settings", "Summary"]
