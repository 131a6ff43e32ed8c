"""How `me5 search` shows hits."""

from me5.cli.hits import print_hits
from me5.search import Hit
from me5.search.hits import Copy


def test_control_characters_of_documents_never_reach_the_terminal(capsys):
    evil = "red\x1b[31m \x9b2J bell\x07"
    also = (Copy(evil, evil),) * 5
    hit = Hit(0.5, evil, evil, f"{evil}\nsecond\tline", 0, 9, None, "en", "text", {}, "1", (0, 3), also)
    print_hits([hit.as_dict()], dict)
    output = capsys.readouterr().out
    assert not set(output) & {"\x1b", "\x9b", "\x07"}
    assert "second" in output
    assert output.count("red\ufffd[31m \ufffd2J bell\ufffd") == 6
    assert "and 2 more" in " ".join(output.split())


def test_nothing_found_tells_which_languages_there_are(capsys):
    print_hits([], lambda: {"en": 1200, "": 1})
    assert capsys.readouterr().out == "nothing found; the store has passages in en 1,200, unknown 1\n"
    print_hits([], dict)
    assert capsys.readouterr().out == "nothing found; the store is empty\n"
