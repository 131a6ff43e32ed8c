"""What counts as the same text."""

import pytest

from me5.data.letters import letters, text_key


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("Was ist Tee?", "was ist TEE", True),
        ("ﬁne Ⅳ", "Fine iv", True),
        ("Straße", "STRASSE", True),
        ("कि", "का", False),
        ("ที่", "ท", False),
        ("!?", "!!", False),
        ("1.5", "15", True),
    ],
)
def test_letters(one, other, equal):
    assert (letters(one) == letters(other)) == equal


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("The answer.", "the ANSWER", True),
        ("ａｂｃ", "abc", True),
        ("Straße", "STRASSE", True),
        ("a b", "ab", True),
        ("किताब", "कतब", False),
        ("ที่", "ท", False),
        ("?!", "!?", False),
        ("one", "two", False),
    ],
)
def test_what_counts_as_the_same_text(one, other, equal):
    assert (text_key(one) == text_key(other)) is equal


def test_no_text_has_no_key():
    assert text_key("") == text_key(" ") == 0
