"""The kinds of examples, how often each is asked for, and what varies in it.

Kinds, shares and attributes are those of Wang et al. 2024 (arXiv 2401.00368, appendix C): 507,000 examples, of which
the shares are thousands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from me5.prompts import TASKS

Values = tuple[str, ...]
_SCHOOL: Values = ("no special knowledge", "a high school education", "a college education")
_STUDY: Values = ("a high school education", "a college education", "an expert's knowledge")
_CLARITY: Values = ("clear", "understandable with some effort", "ambiguous")
_UNITS: Values = ("sentence", "phrase", "passage")
_HIGH: Values = ("4", "4.5", "5")


@dataclass(frozen=True)
class Kind:
    """A kind of examples: its share, the values of each attribute, and its `instruction` where it has one for all.

    Kinds without an instruction are asked for in two steps: tasks first, then examples of each.
    """

    share: int
    attributes: Mapping[str, Values] = field(default_factory=dict)
    instruction: str = ""

    @property
    def in_two_steps(self) -> bool:
        """Whether tasks are asked for first."""
        return not self.instruction


KINDS: Mapping[str, Kind] = {
    "short-long": Kind(
        167,
        {
            "query_type": ("hardly anybody asks", "few people ask", "many people ask"),
            "query_length": ("fewer than 5 words", "5 to 15 words", "at least 10 words"),
            "difficulty": _STUDY,
            "clarity": _CLARITY,
            "words": ("50", "100", "200", "300", "400", "500"),
        },
    ),
    "long-short": Kind(
        122,
        {
            "words": (
                "fewer than 10 words", "at least 10 words", "at least 50 words", "at least 100 words",
                "at least 200 words",
            ),
            "difficulty": _STUDY,
            "clarity": _CLARITY,
        },
    ),
    "short-short": Kind(13),
    "long-long": Kind(17, {"words": ("300",)}),
    "similarity": Kind(
        99, {"high_score": _HIGH, "low_score": ("2.5", "3", "3.5"), "unit": _UNITS, "difficulty": _SCHOOL},
        TASKS["sts"],
    ),
    "bitext": Kind(
        89, {"high_score": _HIGH, "low_score": ("1.5", "2", "2.5"), "unit": _UNITS, "difficulty": _SCHOOL},
        TASKS["bitext"],
    ),
}  # fmt: skip
# What a user's own documents are asked for, and its task. E5's sentence names Wikipedia.
QUESTIONS = "questions"
QUESTION_TASK = "Given a question, retrieve passages that answer the question"

# Fields that tasks and sentences are drawn from: at one temperature a model thinks of the same few again and again.
FIELDS: Values = (
    "everyday life", "health and medicine", "law and administration", "money and banking", "cooking and food",
    "farming and gardening", "travel and transport", "sports and games", "music, film and theatre", "literature",
    "history", "geography and places", "religion and customs", "school and studies", "physics and chemistry",
    "biology and animals", "mathematics and statistics", "software and computers", "building and repairing",
    "energy and climate", "politics and news", "work and companies", "shopping and products",
    "family and relationships", "language and writing", "emergencies and safety", "art and design", "philosophy",
    "industry and machines", "space and weather",
)  # fmt: skip
