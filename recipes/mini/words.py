"""Words and their English translations, from the Open Multilingual Wordnet, as training pairs: RUN/words.parquet.

A word that shares a synset with an English word is paired with the one or two that most often have that meaning. The
senses' frequencies are WordNet's own counts. English words that the teacher would have to spell are left out.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from langcodes import standardize_tag

if TYPE_CHECKING:
    from collections.abc import Iterator

TYPES = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}  # of index.sense; satellites count as adjectives
ENOUGH = 0.2  # of an English word's uses are in the synsets that it shares
BEST = 2
LONGEST = 40  # characters
COPYLEFT = {"slk"}  # AGPL
CODES = {"als": "sq", "zsm": "ms", "nob": "no", "arb": "ar", "cmn": "zh"}
MARKS = re.compile("[\u0591-\u05c7\u064b-\u0652!+*]")  # Hebrew and Arabic vowels, and signs of the editors
Senses = dict[str, dict[str, float]]


def english_senses(wordnet: Path) -> tuple[Senses, dict[str, float]]:
    """Return synset → English word → the share of the word's uses that mean it, and word → uses.

    The uses are the counts of index.sense, plus one half for each sense.
    """
    counts: dict[tuple[str, str], float] = defaultdict(float)
    totals: dict[str, float] = defaultdict(float)
    for line in (wordnet / "index.sense").read_text(encoding="utf-8").splitlines():
        key, offset, _, count = line.split()
        lemma, _, rest = key.partition("%")
        word = lemma.replace("_", " ")
        uses = float(count) + 0.5
        counts[f"{offset}-{TYPES[rest[0]]}", word] += uses
        totals[word] += uses
    senses: Senses = defaultdict(dict)
    for (synset, word), uses in counts.items():
        senses[synset][word] = uses / totals[word]
    return senses, totals


def lemmas(omw: Path) -> Iterator[tuple[str, str, dict[str, set[str]]]]:
    """Yield licence, language and word → synsets of each file of the wordnets of OMW."""
    for path in sorted(omw.glob("wns/*/wn-*.tab")):
        if path.parent.name in COPYLEFT:
            continue
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        if not lines or not lines[0].startswith("#"):
            continue
        _, code, *_, licence = lines[0].split("\t")
        if not code.isalpha():
            continue
        language = CODES.get(code) or standardize_tag(code)
        found: dict[str, set[str]] = defaultdict(set)
        for line in lines[1:]:
            synset, kind, *rest = [*line.split("\t"), ""]
            word = MARKS.sub("", rest[-2].replace("_", " ")).strip() if kind.endswith("lemma") else ""
            if word and len(word) <= LONGEST:
                found[word].add(synset.replace("-s", "-a"))
        yield licence.strip() or "open", language, found


def translations(synsets: set[str], senses: Senses, uses: dict[str, float], known: set[str]) -> list[str]:
    """Return the English words that share most of their uses with these synsets; the common before the rare."""
    shares: dict[str, float] = defaultdict(float)
    for synset in synsets:
        for word, share in senses.get(synset, {}).items():
            shares[word] += share
    usable = {w: s for w, s in shares.items() if s >= ENOUGH and all(part in known for part in re.split(r"[ -]", w))}
    return sorted(usable, key=lambda word: (-usable[word] * log(2 + uses[word]), word))[:BEST]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("omw", type=Path, help="clone of github.com/omwn/omw-data")
    parser.add_argument("wordnet", type=Path, help="the folder of WordNet 3.0 that holds index.sense")
    parser.add_argument("vocabulary", type=Path, help="the teacher's vocab.txt")
    parser.add_argument("run", type=Path)
    arguments = parser.parse_args()
    known = {w for w in arguments.vocabulary.read_text(encoding="utf-8").splitlines() if w.isalpha()}
    senses, uses = english_senses(arguments.wordnet)
    rows: dict[tuple[str, str, str], str] = {}
    for licence, language, found in lemmas(arguments.omw):
        if language != "en":
            for word, synsets in found.items():
                for english in translations(synsets, senses, uses, known):
                    if english.lower() != word.lower():
                        rows.setdefault((english, word, language), licence)
    table = pa.table(
        {
            "query": [row[0] for row in rows],
            "positive": [row[1] for row in rows],
            "query_lang": ["en"] * len(rows),
            "positive_lang": [row[2] for row in rows],
            "kind": ["word"] * len(rows),
            "licence": list(rows.values()),
        }
    )
    pq.write_table(table, arguments.run / "words.parquet")
    print(f"{len(rows):,} words", flush=True)


if __name__ == "__main__":
    main()
