"""Long texts are tokenized in parts: the same tokens as whole, and no more parts than the policy needs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tokenizers
from checkpoints import BERT, BERT_WORDPIECE, XLMR, Recipe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import me5.tokenizer
from me5 import InputError
from me5.checkpoint import resolve
from me5.prepared import Prepared
from me5.preprocessor import Preprocessor
from me5.tokenizer import TRUNCATIONS, Tokenizer, Truncation

LIMIT = 24
CUT = [policy for policy in TRUNCATIONS if policy != "error"]
WORDS = (
    "a", "K2", "Rindfleischetikettierung", "南瓜的家常做法。", "how", "e\u0301te\u0301", "\u0301", "...", "x,", "(y)",
    "\ufb01", "½", "\uff21\uff22", "か\u3099き", "<s>", "<mask>", "[SEP]", "▁", "\u0600", "\u0d4e", "שלום\u202e",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467", "1", "aaaa", "ꙮ", "\u200b", "\ufeff", "İ", "ΟΔΟΣ", "\u00adz", "_q",
    "don't",
)  # fmt: skip
GAPS = (" ", " ", " ", "\n", "  ", "\r\n", "\t", "\u3000", "\u00a0", "", "\u2028")
TEXTS = st.lists(st.tuples(st.sampled_from(WORDS) | st.text(max_size=6), st.sampled_from(GAPS)), max_size=40).map(
    lambda pairs: "".join(word + gap for word, gap in pairs)
)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


FAMILIES = {"bundled": None, "xlm-roberta": XLMR, "bert": BERT, "bert-wordpiece": BERT_WORDPIECE, "minilm": None}


@pytest.fixture(scope="module", params=FAMILIES)
def tokenizer(request: pytest.FixtureRequest, build_folder: Callable[[Recipe], Path]) -> Tokenizer:
    """A tokenizer of each family that me5 reads."""
    if request.param == "minilm":
        return Tokenizer(request.getfixturevalue("minilm") / "tokenizer.json", LIMIT)
    recipe = FAMILIES[request.param]
    folder = request.getfixturevalue("bundled") if recipe is None else build_folder(recipe)
    return Tokenizer(folder / "tokenizer.json", LIMIT, lower_case=request.param == "bert")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(me5.tokenizer, "PART", 5)
    monkeypatch.setattr(me5.tokenizer, "_LARGE", 7)


def whole(tokenizer: Tokenizer, text: str, prompt: str, policy: Truncation) -> Prepared:
    """What a tokenizer that parts nothing makes of a text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(me5.tokenizer, "_LARGE", len(text))
        return tokenizer.prepare([text], prompt, policy)


def same(prepared: Prepared, expected: Prepared) -> None:
    assert [ids.tolist() for ids in prepared.sequences] == [ids.tolist() for ids in expected.sequences]


@given(text=TEXTS, prompt=st.sampled_from(["", "query: ", "为这个句子生成表示:"]), policy=st.sampled_from(CUT))
@QUICK
def test_parts_give_the_tokens_of_the_whole(tokenizer, small_parts, text: str, prompt: str, policy: Truncation) -> None:
    assert tokenizer._seams
    expected = whole(tokenizer, text, prompt, policy)
    exact = tokenizer.prepare([text], prompt, policy)
    same(exact, expected)
    assert exact.report == expected.report
    near = tokenizer.prepare([text], prompt, policy, reach=10_000)
    same(near, expected)
    if not near.report.unseen[0]:
        assert near.report == expected.report
    else:
        assert near.report.lost[0] > 0
        assert policy != "chunk"
        for name in ("tokens", "lost"):
            assert getattr(near.report, name)[0] <= getattr(expected.report, name)[0]
        assert near.report.tokens[0] - near.report.lost[0] == expected.report.tokens[0] - expected.report.lost[0]


@pytest.mark.parametrize("policy", CUT)
def test_a_book_among_short_texts(policy: Truncation) -> None:
    tokenizer = Preprocessor(resolve(None)).tokenizer
    book = "It was the best of times, it was the worst of times; 南瓜的家常做法。\n" * 6000
    texts = ["first", book, "last"]
    expected = [whole(tokenizer, text, "query: ", policy) for text in texts]
    for reach in (None, 200_000):
        prepared = tokenizer.prepare(texts, "query: ", policy, reach=reach)
        assert prepared.sequences[0].tolist() == expected[0].sequences[0].tolist()
        assert prepared.sequences[-1].tolist() == expected[2].sequences[0].tolist()
        between = prepared.sequences[1:-1]
        assert [ids.tolist() for ids in between] == [ids.tolist() for ids in expected[1].sequences]
        unseen = prepared.report.unseen[1]
        assert bool(unseen) == (reach is not None and policy != "chunk")
        assert unseen < len(book) - me5.tokenizer.PART


def test_more_is_not_tokenized_than_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Preprocessor(resolve(None)).tokenizer
    encode, seen = tokenizer._encoder.ids, []

    def counted(group: list[str]) -> Iterator[list[int]]:
        seen.append(sum(map(len, group)))
        return encode(group)

    monkeypatch.setattr(tokenizer._encoder, "ids", counted)
    for policy in ("end", "start"):
        tokenizer.prepare([" a" * 1_000_000], "query: ", policy, reach=200_000)
    with pytest.raises(InputError, match=r"text 0 has at least [\d,]+ tokens, the model reads 512"):
        tokenizer.prepare([" a" * 1_000_000], "query: ", "error", reach=200_000)
    assert sum(seen) < 5 * me5.tokenizer.PART


@pytest.mark.parametrize(
    "text", ["a" * 300_000, " " * 300_000, "。" * 300_000, "a. b" + "=" * 300_000], ids=lambda text: text[:4]
)
@pytest.mark.parametrize("policy", CUT)
def test_what_has_no_place_to_be_cut_is_read_whole_or_refused(text: str, policy: Truncation) -> None:
    tokenizer = Preprocessor(resolve(None)).tokenizer
    expected = whole(tokenizer, text, "", policy)
    same(tokenizer.prepare([text], "", policy, reach=400_000), expected)
    with pytest.raises(InputError, match="text 3 has 50,000 characters in a row that cannot be cut to the 512 tokens"):
        tokenizer.prepare([text], "", policy, first=3, reach=50_000)


def test_a_tokenizer_in_which_words_can_be_one_token_parts_nothing(tmp_path: Path, bundled: Path) -> None:
    library = tokenizers.Tokenizer.from_file(str(bundled / "tokenizer.json"))
    library.add_tokens(["ab cd"])
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer(tmp_path / "tokenizer.json", LIMIT)
    assert not tokenizer._seams
    text = "ab cd " * 50_000
    same(tokenizer.prepare([text], "", "end", reach=400_000), whole(tokenizer, text, "", "end"))
    with pytest.raises(InputError, match="20,000 characters in a row"):
        tokenizer.prepare([text], "", "end", reach=20_000)
