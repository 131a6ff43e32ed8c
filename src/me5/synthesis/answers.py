"""Answers → tasks and examples: what fits its request, and what is refused and why."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from me5.data.contract import Document, Example, Query
from me5.data.letters import letters, text_key
from me5.errors import InputError
from me5.search import language
from me5.synthesis.forms import Form, Graded, LongShort, Matching, Question, Questions, RefusedError, ShortLong, Tasks
from me5.synthesis.kinds import QUESTIONS
from me5.synthesis.languages import name_of
from me5.synthesis.requests import ChatRequest

SOURCE = "synthetic-"
# A sentence of so many characters describes more than a task; one of fewer letters none.
_LONGEST_TASK, _SHORTEST_TASK = 300, 15
Texts = tuple[str, str, str | None]


def task_of(said: str) -> str:
    """A description of a task as one line. Raises `RefusedError` where it is none."""
    task = " ".join(said.split())
    if len(task) > _LONGEST_TASK or len(letters(task)) < _SHORTEST_TASK:
        raise RefusedError("no task", f"{len(task)} characters; expected a sentence")
    _check_language("task", task, "en")
    return task


def examples_of(request: ChatRequest, form: Form, licence: str) -> list[Example]:
    """The query with its positive, and with its negative where it has one. Raises `RefusedError`."""
    text, positive, negative = _TEXTS[type(form)](form)
    documents = [positive] if negative is None else [positive, negative]
    if any(not one.strip() for one in (text, *documents)):
        raise RefusedError("empty text", "a text is empty")
    if len({text_key(one) for one in (text, *documents)}) <= len(documents):
        raise RefusedError("texts repeat each other", text)
    if isinstance(form, LongShort):
        _check_hidden(form)
    _check_language("query", text, request.query_language)
    for one in documents:
        _check_language("document", one, request.document_language)
    return _made(request, text, documents, licence)


def question_of(request: ChatRequest, question: Question, licence: str) -> list[Example]:
    """A question with the passage that it was asked about. Raises `RefusedError`."""
    if request.passage is None:
        raise ValueError("a request for questions has a passage")
    if not question.question.strip() or not question.quote.strip():
        raise RefusedError("empty text", "a text is empty")
    if letters(question.quote) not in letters(request.passage.whole):
        raise RefusedError("not in the passage", f"{question.question} — {question.quote}")
    if text_key(question.question) == text_key(request.passage.text):
        raise RefusedError("texts repeat each other", question.question)
    _check_language("query", question.question, request.query_language)
    query = _query(question.question, request)
    return [Example(query, request.passage, source=SOURCE + QUESTIONS, licence=licence)]


def parts_of(form: Form) -> list[Any]:
    """What of an answer is judged by itself: each task, each question; of the others the whole."""
    if isinstance(form, Tasks):
        return list(form.tasks)
    return list(form.questions) if isinstance(form, Questions) else [form]


def _made(request: ChatRequest, text: str, documents: list[str], licence: str) -> list[Example]:
    # A label may be the same word in several languages, and a row has one.
    lang = "" if request.kind == "long-short" else request.document_language
    try:
        query = _query(text, request)
        return [
            Example(
                query, Document(one, "", lang), "negative" if place else "positive", source=SOURCE + request.kind,
                licence=licence,
            )
            for place, one in enumerate(documents)
        ]  # fmt: skip
    except InputError as error:
        raise RefusedError("unusable text", str(error)) from error


def _query(text: str, request: ChatRequest) -> Query:
    return Query(text, request.task, request.query_language)


def _check_hidden(form: LongShort) -> None:
    for label in (form.label, form.misleading_label):
        if re.search(rf"\b{re.escape(label)}\b", form.input_text, re.IGNORECASE):
            raise RefusedError("label in the text", label)


def _check_language(side: str, text: str, code: str) -> None:
    if other := language.contradicts(text, code):
        raise RefusedError("another language", f"the {side} is in {other}, expected {name_of(code)}: {text[:200]}")


_TEXTS: Mapping[type[Form], Callable[[Any], Texts]] = {
    ShortLong: lambda form: (form.user_query, form.positive_document, form.hard_negative_document),
    LongShort: lambda form: (form.input_text, form.label, form.misleading_label),
    Matching: lambda form: (form.input, form.positive_document, None),
    Graded: lambda form: (form.S1, form.S2, form.S3),
}
