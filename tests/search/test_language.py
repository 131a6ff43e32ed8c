"""Languages: one per document, those that are declared in one form."""

import pytest

from me5.search import Document, language

GERMAN = "Brot braucht Mehl, Wasser, Salz und Hefe. Es wird eine Stunde lang im heißen Ofen gebacken. "
ENGLISH = "Bread needs flour, water, salt and yeast. It is baked in a hot oven for an hour. "


@pytest.mark.parametrize(
    ("named", "code"),
    [
        ("de", "de"), ("de-DE", "de"), ("DE_at", "de"), ("deu", "de"), ("ger", "de"), ("German", "de"),
        (" Deutsch ", "de"),
        ("English", "en"), ("zh-Hans-CN", "zh"), ("wuu", "zh"), ("yue", "zh"), ("cmn", "zh"), ("中文", "zh"),
        ("nb", "no"),
        ("iw", "he"), ("fil", "tl"), ("bcl", "bcl"), ("tiếng việt", "vi"),
        ("{{page.language}}", ""), ("zxx", ""), ("und", ""), ("xx", ""), ("x-none", ""), ("", ""), ("en us", ""),
    ],
)  # fmt: skip
def test_declared(named, code):
    assert language.declared(named) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (GERMAN, "de"), (ENGLISH, "en"), ("Tea is a drink.", "en"), ("富士山は日本の最高峰である。", "ja"),
        ("这是一个关于茶的文章。茶是一种饮料。", "zh"), ("侬好,阿拉上海人欢喜吃茶。", "zh"),
        ("Været på Vestlandet er ofte regnfullt, og noen ganger blåser det kraftig fra havet.", "no"),
        ("K2", ""), ("12,5 %", ""), ("", ""),
    ],
)  # fmt: skip
def test_detected(text, code):
    assert language.detect(text) == code


def test_a_passage_differs_from_its_document_only_when_it_is_long_and_sure():
    assert language.of_passage(GERMAN * 3, "en") == "de"
    assert language.of_passage("Ein kurzer Satz.", "en") == "en"
    assert language.of_passage("x = foo(bar) " * 40, "en") == "en"


def test_a_text_contradicts_its_language_only_when_it_is_sure():
    assert language.contradicts(GERMAN, "en") == "de"
    assert language.contradicts(GERMAN, "de") == ""
    assert language.contradicts("Tee, Kaffee", "en") == "", "too short to tell"
    assert language.contradicts(GERMAN, "tlh") == "", "nobody can tell"
    assert language.known()["my"] == "Burmese"


def test_a_document_has_one_language(index):
    documents = {
        "mixed": Document(f"{ENGLISH * 4}\n\nQuod erat demonstrandum.\n\n/// pip install me5\n\n{ENGLISH * 4}"),
        "declared": Document(GERMAN, language="de-AT"),
        "wrong": Document(GERMAN, language="{{page.language}}"),
        "long": Document(f"{ENGLISH * 20}\n\n{GERMAN * 20}"),
    }
    index.add_documents(documents)
    assert index.store.counts("language").keys() == {"en", "de"}
    rows = index.store.passages.search().select(["source", "language"]).to_list()
    found = {source: {row["language"] for row in rows if row["source"] == source} for source in documents}
    assert (found["mixed"], found["declared"], found["wrong"]) == ({"en"}, {"de"}, {"de"})
