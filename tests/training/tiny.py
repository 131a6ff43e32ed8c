"""Tiny things to train with, and a process that trains: `python tiny.py KILL_AT RECIPE RUN [RECIPE RUN …]`.

KILL_AT is the step after which the process kills itself, 0 for never.
"""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from checkpoints import SENTENCES, build_tokenizer

from me5.data.contract import Document, Example, Query
from me5.data.dataset import Dataset
from me5.data.writing import write_dataset
from me5.training import distributed
from me5.training.loop import Judgement, Step, Trainer
from me5.training.recipe import read_recipe
from me5.training.run import Run

INSTRUCTION = "Given a question, find what answers it"
OWN = "Find the height of mountains"
SYMMETRIC = ("Retrieve parallel sentences.", "Retrieve semantically similar text.")
RECIPE = f"""
name = "tiny"
seed = 3
steps = 6
save_every = 2
precision = "f32"

[model]
start = "random"
tokenizer = "tokenizer"
max_tokens = 128
dropout = 0.1
shape = {{ layers = 1, hidden = 16, heads = 2, intermediate = 24 }}

[batch]
size = 8
parts = 2
negatives = 1
tokens = 200

[loss]
temperature = 0.05

[optimizer]
rate = 1e-2
warmup = 2

[[data]]
dataset = "data"
sources = ["qa"]
instructions = ["{INSTRUCTION}"]

[[data]]
dataset = "data"
sources = ["parallel"]
symmetric = true
instructions = ["{SYMMETRIC[0]}", "{SYMMETRIC[1]}"]
prompted = 0.5
"""
RANKING = """
name = "tiny-reranker"
seed = 3
steps = 24
save_every = 10
precision = "f32"

[model]
start = "random"
tokenizer = "tokenizer"
max_tokens = 128
dropout = 0.0
shape = { layers = 1, hidden = 16, heads = 2, intermediate = 24 }

[batch]
size = 6
parts = 2
negatives = 2
tokens = 200

[loss]
kind = "listwise"

[optimizer]
rate = 3e-2
warmup = 2

[[data]]
dataset = "data"
query_tokens = 60
document_tokens = 60
"""
# Questions have an answer and two negatives; one a second answer, one an answer not to be judged, one its own task.
QUESTIONS = [f"{sentence} {number}" for number, sentence in enumerate(SENTENCES[:20:2])]
ANSWERS = [f"{sentence} {number}" for number, sentence in enumerate(SENTENCES[1:21:2])]
LEFT = [f"eins {sentence}" for sentence in SENTENCES[:12]]
RIGHT = [f"one {sentence}" for sentence in SENTENCES[:12]]
SECOND = {(0, 5)}
IGNORED = {(1, 2)}
WITH_OWN = 3


def negatives_of(number: int) -> list[int]:
    """The answers that are hard negatives of a question."""
    return [(number + step) % len(ANSWERS) for step in (3, 4)]


def examples(scored: int) -> Iterator[Example]:
    """All relations; so many of the first of each question's have a teacher's score."""
    for number, text in enumerate(QUESTIONS):
        query = Query(text, instruction=OWN if number == WITH_OWN else "", lang="en")
        related = [(number, "positive"), *((other, "negative") for other in negatives_of(number))]
        related += [(answer, "positive") for question, answer in SECOND if question == number]
        related += [(answer, "ignore") for question, answer in IGNORED if question == number]
        for at, (answer, kind) in enumerate(related):
            score = {"teacher_score": 5.0 - at, "teacher": "t"} if at < scored else {}
            yield Example(query, Document(ANSWERS[answer], lang="en"), kind, source="qa", **score)
    for left, right in zip(LEFT, RIGHT, strict=True):
        yield Example(Query(left, lang="de"), Document(right, lang="en"), source="parallel")


def write_data(folder: Path, *, scored: int = 0) -> Dataset:
    return write_dataset(folder, examples(scored), step={"step": "test"})


def workshop(folder: Path) -> Path:
    """A folder with tokenizer, data and recipe.toml."""
    build_tokenizer(folder / "tokenizer")
    write_data(folder / "data")
    (folder / "recipe.toml").write_text(RECIPE, "utf-8")
    return folder


def write_recipe(folder: Path, name: str, *changes: tuple[str, str], text: str = RECIPE) -> Path:
    """The recipe with some of its text replaced, beside it."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{name}.toml"
    path.write_text(text, "utf-8")
    return path


def write_ranking(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """The same with the recipe of a cross-encoder."""
    return write_recipe(folder, name, *changes, text=RANKING)


def train(recipe: Path, folder: Path, kill_at: int = 0) -> list[Step | Judgement]:
    seen: list[Step | Judgement] = []

    def observe(entry: Step | Judgement) -> None:
        seen.append(entry)
        if entry.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    trainer = Trainer(read_recipe(recipe), recipe.parent / "cache", advance=lambda texts, tokens: None)
    trainer.fit(Run(folder, recipe), observe=observe)
    return seen


if __name__ == "__main__":
    paths = [Path(argument) for argument in sys.argv[2:]]
    for recipe, folder in zip(paths[::2], paths[1::2], strict=True):
        train(recipe, folder, int(sys.argv[1]))
    distributed.stop()
