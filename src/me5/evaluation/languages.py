"""Which languages a name speaks of, in mteb's codes: `deu-eng` → deu-Latn and eng-Latn, `jaquad-ja` → jpn-Jpan."""

from langcodes import Language
from langcodes.tag_parser import LanguageTagError

UNKNOWN = ("und",)


def of_pair(name: str) -> tuple[str, ...]:
    """The languages of a name that is made of their codes, such as `deu-eng`, `zh` or `ace_Latn`."""
    whole = _code(name)
    if whole is not None:
        return (whole,)
    found = tuple(code for part in name.split("-") if (code := _code(part)) is not None)
    return found or UNKNOWN


def of_name(name: str) -> tuple[str, ...]:
    """The language that a name ends in: a code, or a code and a script, as in `jaquad-ja` and `drcd-zh-hant`."""
    parts = name.split("-")
    for count in (2, 1):
        if len(parts) >= count and (code := _code("-".join(parts[-count:]))) is not None:
            return (code,)
    return UNKNOWN


def _code(tag: str) -> str | None:
    """ISO 639-3 and script of a language tag that names a known language, or None."""
    try:
        language = Language.get(tag)
        if not language.is_valid() or language.territory or language.variants or language.extlangs:
            return None
        return f"{language.to_alpha3()}-{language.maximize().script}"
    except (LanguageTagError, LookupError):
        return None
