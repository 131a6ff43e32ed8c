"""A made-up world in two made-up languages, xa and xb: training data and evaluation sets, the same for the same seed.

    pairs.jsonl              sentences and their translations
    questions.jsonl          questions and the passages that answer them, in every combination of the languages
    eval/bitext/xa-xb.tsv    sentences that no training pair has
    eval/retrieval/…         questions that no training pair has, against all passages: xa to xa, and xa to xb

Every word of xb is another than its translation and stands at another place. Passages come in families that differ in
one word, so that finding the right one takes more than its topic.

    python recipes/toy/make_data.py FOLDER
"""

import argparse
import json
import random
from pathlib import Path

KINDS = {"name": 60, "verb": 20, "quality": 20, "thing": 30, "place": 30}
SENTENCES, FAMILIES, HELD_OUT = 4_000, 250, 200
SYLLABLES = {"xa": ("bdfgklm", "aeo"), "xb": ("nprstvz", "iuy")}
# "NAME verb the quality thing in place" and "who verb …?"; xb puts the verb last and says "in" behind the place.
ORDER = {"xa": "{name} {verb} lo {quality} {thing} ka {place}", "xb": "{name} {place} ny {quality} {thing} ty {verb}"}
WHO = {"xa": "dofa", "xb": "tivu"}

Fact = dict[str, int]


def lexicon(language: str, rng: random.Random) -> dict[str, list[str]]:
    """A word for every meaning, by kind; no two alike."""
    consonants, vowels = SYLLABLES[language]
    syllables = [consonant + vowel for consonant in consonants for vowel in vowels]
    words: set[str] = set()
    found = {}
    for kind, count in KINDS.items():
        found[kind] = []
        while len(found[kind]) < count:
            word = "".join(rng.choices(syllables, k=rng.randint(2, 3)))
            if word not in words:
                words.add(word)
                found[kind].append(word)
    return found


class World:
    """Meanings as numbers, and how each language says them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.words = {language: lexicon(language, self.rng) for language in ORDER}

    def fact(self) -> Fact:
        return {kind: self.rng.randrange(count) for kind, count in KINDS.items()}

    def family(self) -> list[Fact]:
        """A fact, and others by other people that differ in one word."""
        first = self.fact()
        others = []
        for kind in ("verb", "quality", "thing", "place"):
            changed = (first[kind] + self.rng.randrange(1, KINDS[kind])) % KINDS[kind]
            others.append({**first, kind: changed, "name": self.rng.randrange(KINDS["name"])})
        return [first, *others]

    def sentence(self, fact: Fact, language: str) -> str:
        return ORDER[language].format(**{kind: self.words[language][kind][number] for kind, number in fact.items()})

    def question(self, fact: Fact, language: str) -> str:
        words = {kind: self.words[language][kind][number] for kind, number in fact.items()} | {"name": WHO[language]}
        return ORDER[language].format(**words) + "?"


def distinct(facts: list[Fact]) -> list[Fact]:
    """The facts that ask different questions."""
    return list({tuple(number for kind, number in fact.items() if kind != "name"): fact for fact in facts}.values())


def write_lines(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_retrieval(
    folder: Path, world: World, facts: list[Fact], asked: list[int], languages: tuple[str, str]
) -> None:
    """A BEIR folder: some facts asked for, all of them to be found."""
    ask, answer = languages
    corpus = [{"_id": f"d{n}", "title": "", "text": world.sentence(fact, answer)} for n, fact in enumerate(facts)]
    write_lines(folder / "corpus.jsonl", corpus)
    write_lines(folder / "queries.jsonl", [{"_id": f"q{n}", "text": world.question(facts[n], ask)} for n in asked])
    judged = "query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t1\n" for n in asked)
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "qrels" / "test.tsv").write_text(judged, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    world, folder = World(arguments.seed), arguments.folder
    facts = distinct([world.fact() for _ in range(SENTENCES + HELD_OUT)])
    pairs = [
        {
            "query": world.sentence(fact, "xa"), "positive": world.sentence(fact, "xb"),
            "query_lang": "xa", "positive_lang": "xb", "source": "translations", "licence": "CC0-1.0",
        }
        for fact in facts[HELD_OUT:]
    ]  # fmt: skip
    write_lines(folder / "pairs.jsonl", pairs)
    held_out = [f"{world.sentence(fact, 'xa')}\t{world.sentence(fact, 'xb')}\n" for fact in facts[:HELD_OUT]]
    (folder / "eval" / "bitext").mkdir(parents=True, exist_ok=True)
    (folder / "eval" / "bitext" / "xa-xb.tsv").write_text("".join(held_out), encoding="utf-8")

    facts = distinct([fact for _ in range(FAMILIES) for fact in world.family()])
    asked = sorted(world.rng.sample(range(len(facts)), HELD_OUT))
    questions = [
        {
            "query": world.question(fact, ask), "positive": world.sentence(fact, answer),
            "query_lang": ask, "positive_lang": answer, "source": "questions", "licence": "CC0-1.0",
        }
        for number, fact in enumerate(facts)
        if number not in asked
        for ask in ORDER
        for answer in ORDER
    ]  # fmt: skip
    write_lines(folder / "questions.jsonl", questions)
    for languages in (("xa", "xa"), ("xa", "xb")):
        write_retrieval(folder / "eval" / "retrieval" / "-".join(languages), world, facts, asked, languages)


if __name__ == "__main__":
    main()
