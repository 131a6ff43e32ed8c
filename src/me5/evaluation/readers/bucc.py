"""BUCC's form: NAME.de, NAME.en (id TAB sentence) and NAME.gold (id TAB id), such as de-en.test.gold.

As in mteb, a sentence of the first language that is in the gold list is looked for among all of the second.
"""

from collections.abc import Iterator
from pathlib import Path

from me5.errors import InputError
from me5.evaluation.languages import of_pair
from me5.evaluation.task import Bitext, Subset
from me5.files.lines import lines


def read(gold: Path) -> Bitext:
    """The task of a `.gold` file and its two sentence files. Raises `InputError` naming file and line."""
    pair = gold.name.split(".")[0]
    first, dash, second = pair.partition("-")
    if not dash:
        raise InputError(f"{gold}: expected a name such as de-en.test.gold")
    left, right = (dict(_sentences(gold.with_suffix(f".{code}"))) for code in (first, second))
    places = {name: place for place, name in enumerate(right)}
    chosen, answers = [], []
    for number, line in _filled(gold):
        fields = line.split("\t")
        if len(fields) != 2 or fields[0] not in left or fields[1] not in places:
            raise InputError(
                f"{gold}, line {number}: expected an id of {gold.stem}.{first} TAB an id of {gold.stem}.{second}, "
                f"got {line[:60]!r}"
            )
        chosen.append(left[fields[0]])
        answers.append(places[fields[1]])
    if not chosen:
        raise InputError(f"{gold} is empty")
    split = "test" if ".test" in gold.name else gold.name.split(".")[1]
    return Bitext(Subset(gold.parent.name, pair, of_pair(pair), split), chosen, list(right.values()), answers)


def _sentences(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in _filled(path):
        name, tab, sentence = line.partition("\t")
        if not tab:
            raise InputError(f"{path}, line {number}: expected id TAB sentence, got {line[:60]!r}")
        yield name, sentence


def _filled(path: Path) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in lines(path) if line)
