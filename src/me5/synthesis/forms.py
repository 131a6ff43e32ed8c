"""The forms of answers: what the schema of a request demands, and strict reading of what came."""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from me5.synthesis.kinds import QUESTIONS
from me5.synthesis.requests import TASKS

# Models that are not held to a schema write JSON as in Markdown: a fence around all of the answer is no fault.
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)


class RefusedError(Exception):
    """An answer, or a part of one, that is kept aside: `reason` is counted, `detail` says more of this one."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Form(BaseModel):
    """An answer. Types are not converted, and further keys are an error."""

    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True)


class Tasks(Form):
    """Descriptions of tasks."""

    tasks: list[str] = Field(description="one English sentence per task")


class ShortLong(Form):
    """A query and two documents."""

    user_query: str = Field(description="the query")
    positive_document: str = Field(description="the document that it looks for")
    hard_negative_document: str = Field(description="a document that only seems to be it")


class LongShort(Form):
    """A text and two labels."""

    input_text: str = Field(description="the text to classify")
    label: str = Field(description="the right label")
    misleading_label: str = Field(description="a wrong label")


class Matching(Form):
    """Two texts that belong together."""

    input: str = Field(description="the given text")
    positive_document: str = Field(description="the text that belongs to it")


class Graded(Form):
    """A text, one of nearly the same meaning, and one of another meaning."""

    S1: str = Field(description="the text")
    S2: str = Field(description="nearly the same meaning")
    S3: str = Field(description="another meaning")


class Question(Form):
    """A question and where it is answered."""

    question: str = Field(description="a question that the passage answers")
    quote: str = Field(description="the words of the passage that answer it, copied exactly")


class Questions(Form):
    """The questions that a passage answers."""

    questions: list[Question]


FORMS: Mapping[str, type[Form]] = {
    TASKS: Tasks, "short-long": ShortLong, "long-short": LongShort, "short-short": Matching, "long-long": Matching,
    "similarity": Graded, "bitext": Graded, QUESTIONS: Questions,
}  # fmt: skip


@cache
def schema_of(form: str) -> str:
    """The JSON schema of a form, as JSON."""
    return json.dumps(_plain(FORMS[form].model_json_schema()), sort_keys=True)


def parse(form: str, answer: str) -> Form:
    """An answer as its form. Raises `RefusedError` where it is not JSON, or JSON of another form."""
    fenced = _FENCED.fullmatch(answer)
    try:
        return FORMS[form].model_validate_json(fenced[1] if fenced else answer)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] in ("json_invalid", "string_unicode"):
            raise RefusedError("no JSON", first["msg"]) from error
        place = ".".join(map(str, first["loc"]))
        raise RefusedError("another form", f"{place}: {first['msg']}" if place else first["msg"]) from error


def _plain(schema: Any) -> Any:
    """A schema without the titles and texts that pydantic takes from names and docstrings of classes."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = {"title"} | ({"description"} if "properties" in schema else set())
    return {key: _plain(value) for key, value in schema.items() if key not in dropped or isinstance(value, dict)}
