"""Which languages examples are in, and how often each."""

from collections.abc import Mapping, Sequence

from me5.errors import InputError
from me5.search import language

# Shares of arXiv 2401.00368, figure 3: English 43.1 %, thirteen languages about 2.85 % each, all others the rest.
_ENGLISH, _LARGE, _OTHERS = 43.1, 2.85, 19.8
_LARGE_ONES = ("pl", "ja", "it", "ru", "id", "de", "fa", "es", "zh", "fr", "pt", "ar", "nl")


def weights(chosen: Sequence[str] = ()) -> Mapping[str, float]:
    """The share of each language by code: the published ones, or equal ones of those that are chosen.

    Languages are given as codes or English names. Raises `InputError` for one that cannot be checked in answers.
    """
    names = language.known()
    if not chosen:
        others = [code for code in names if code != "en" and code not in _LARGE_ONES]
        return {
            code: _ENGLISH if code == "en" else _LARGE if code in _LARGE_ONES else _OTHERS / len(others)
            for code in names
        }
    codes = {one: language.declared(one) for one in chosen}
    if unknown := [one for one, code in codes.items() if code not in names]:
        raise InputError(f"unknown language {unknown[0]!r}; known are {', '.join(names)}")
    return dict.fromkeys(codes.values(), 1.0)


def name_of(code: str) -> str:
    """What a prompt calls a language."""
    return language.known()[code]
