"""Callers who never name a side: every text of theirs is read as a document, which the log says once for each.

A client library that has one method for queries and documents alike, such as OpenAI's, cannot name a side, and its
queries are then found worse without a word.
"""

import logging
from collections import OrderedDict

_log = logging.getLogger(__name__)
# Callers that are remembered; of more, those that were silent longest are forgotten.
_MOST = 1000


class Sides:
    """Who has named a side, and who was told of. `matter` says whether the model reads its sides differently."""

    def __init__(self, *, matter: bool) -> None:
        self._matter = matter
        self._known: OrderedDict[str, None] = OrderedDict()

    def note(self, caller: str, *, named: bool) -> None:
        """Log the first request of a caller that names no side, unless an earlier one has."""
        if not self._matter:
            return
        seen = caller in self._known
        self._known[caller] = None
        self._known.move_to_end(caller)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        if not seen and not named:
            _log.warning(
                "a caller names no side, so all its texts are read as documents, its queries too: let it send the "
                "model's name with :query for queries, or the field side",
                extra={"fields": {"caller": caller}},
            )
