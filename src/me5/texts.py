"""Which inputs are texts: strings of valid Unicode. An item that is none is named by its place."""

from collections.abc import Iterable, Mapping

from me5.errors import InputError, described


def texts_of(texts: str | Iterable[str]) -> Iterable[str]:
    """The texts to embed; a string is one text.

    Raises `InputError` for anything but an iterable of texts, and for tables and mappings, which iterate over names.
    """
    if isinstance(texts, str):
        return [texts]
    kind = type(texts).__name__
    if isinstance(texts, Mapping):
        raise InputError(f"expected texts, got a {kind}, which gives its keys; pass its values: list(texts.values())")
    if hasattr(texts, "columns"):  # of pandas, polars, Arrow and others, which need not be installed
        raise InputError(f"expected texts, got a {kind}, a table; pass one of its columns, such as table['text']")
    if not isinstance(texts, Iterable) or isinstance(texts, bytes | bytearray):
        raise InputError(f"expected a string or an iterable of strings, got {kind}")
    return texts


def check_text(text: object, index: int, kind: str = "text") -> None:
    """Raise `InputError` naming the item, which is the text of a `kind`, unless it is a string of valid Unicode."""
    if not isinstance(text, str):
        raise InputError(
            f"{kind} {index} is {described(text)}, expected a string; drop it, or convert it with str() if that "
            "is meant"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{kind} {index} holds a lone surrogate, U+{ord(text[error.start]):04X} at character {error.start}, which "
            "is not valid Unicode; the file was probably decoded with errors='surrogateescape'. Replace it, for "
            "example with text.encode('utf-8', 'replace').decode()"
        ) from error
