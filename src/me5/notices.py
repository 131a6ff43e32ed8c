"""The warnings of one call, collected over any number of texts and issued once: truncation, prompts in the texts."""

import warnings
from collections.abc import Sequence

from me5.errors import PromptWarning, TruncationWarning, caller, counted
from me5.prepared import Report
from me5.prompts import Prompts

_SHOWN = 5


class Notices:
    """Counts and first examples of one call; its size does not grow with the number of texts.

    `kind` is what the items are called; `prompts` None are for items that carry none.
    """

    def __init__(self, prompts: Prompts | None, kind: str = "texts") -> None:
        self._prompts = prompts
        self._kind = kind
        self._texts = 0
        self._lost = 0
        self._unseen = _Items()
        self._truncated = _Items()
        self._carrying = _Items()
        self._carried = ""

    def add(self, texts: Sequence[str], report: Report) -> None:
        """Check the next texts and their report; of items that carry no prompts, the report is enough."""
        for index, text in enumerate(texts, self._texts):
            if self._prompts is not None and (prompt := self._prompts.carried_by(text)) is not None:
                self._carrying.add(index)
                self._carried = self._carried or prompt
        for index in report.truncated:
            self._truncated.add(self._texts + index)
        for index, chars in enumerate(report.unseen):
            if chars:
                self._unseen.add(self._texts + index)
        self._lost += sum(report.lost)
        self._texts += report.texts

    def carried(self) -> str:
        """A sentence about texts that already carry a prompt; empty if none does."""
        if not self._carrying.count:
            return ""
        return (
            f"texts already start with a prompt such as {self._carried!r}: {self._carrying.of(self._texts)}. "
            "me5 adds the model's own: pass bare texts, or it is read twice"
        )

    def cut(self, max_tokens: int) -> str:
        """A sentence about texts that were truncated; empty if none was."""
        if not self._truncated.count:
            return ""
        which = self._truncated.of(self._texts)
        least = "at least " if self._unseen.count else ""
        lost = counted(self._lost, "token")
        return f"{self._kind} longer than {max_tokens} tokens were cut: {which}, {least}{lost} lost"

    def uncounted(self) -> str:
        """A sentence about texts whose tokens were not all counted; empty if all were."""
        if not self._unseen.count:
            return ""
        return (
            f"{self._kind} are much longer than the model reads: {self._unseen.of(self._texts)}. What is not read was "
            "not counted: their numbers of tokens, and of tokens lost, are lower bounds"
        )

    def warn(self, max_tokens: int) -> None:
        """Issue a `PromptWarning` and a `TruncationWarning`, if there is reason to."""
        if carried := self.carried():
            warnings.warn(carried, PromptWarning, stacklevel=caller())
        if cut := self.cut(max_tokens):
            warnings.warn(
                f"{cut}. Pass a Report to see each; truncation 'chunk' reads everything",
                TruncationWarning,
                stacklevel=caller(),
            )


class _Items:
    """A count, and the first few of what was counted."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[int] = []

    def add(self, index: int) -> None:
        self.count += 1
        if len(self._first) < _SHOWN:
            self._first.append(index)

    def of(self, texts: int) -> str:
        more = ", …" if self.count > len(self._first) else ""
        return f"{self.count:,} of {texts:,} (item{'s' * (self.count > 1)} {', '.join(map(str, self._first))}{more})"
