"""Texts become the ids that transformers gives; what is too long is cut by policy, and every token is accounted for."""

from pathlib import Path

import numpy as np
import pytest
import tokenizers
from checkpoints import SENTENCES, passages
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import ROUNDING, load

from me5 import Embedder, InputError, Report, TruncationWarning
from me5.prompts import E5_PREFIX, INSTRUCT
from me5.tokenizer import Tokenizer

ODD = {
    "empty": "",
    "spaces": "   ",
    "white space of all kinds": "\t a\u00a0\u3000b\u2028c\r\nd \n",
    "control characters": "a\x00b\x07c\x1b[0m\x7f",
    "byte order mark": "\ufeffa",
    "decomposed kana": "か\u3099き\u3099 ハ\u309a",
    "half-width kana": "ｶﾞｷﾞｸﾞ ﾊﾟ",
    "squared letters": "㍿ ㌔ ㏂ Ⅷ ﬁ ½",
    "full width": "ＡＢＣ１２３！",
    "combining marks": "e\u0301 é Å\u030a ñ n\u0303",
    "zero width": "a\u200bb\u200cc\u200dd\u2060e",
    "soft hyphen": "Donau\u00addampf\u00adschiff",
    "right to left": "\u200fשלום\u202e abc\u202c العَرَبِيَّة",
    "emoji families": "👩‍👩‍👧‍👦 🇹🇷 👍🏽 ☺️",
    "beyond the basic plane": "𐍈 𠮷 𝒳 \U000f0000",
    "Turkish i": "İstanbul ılık I i",
    "final sigma": "ΟΔΟΣ οδος ß ẞ",
    "special tokens as text": "<s> a </s> <mask> <pad> [CLS] [SEP] ▁",
    "one long word": "Rindfleischetikettierung" * 40,
    "unknown letters": "ꙮ 𓀀 ᚠᚢᚦ",
    "longer than the limit in some files": " ".join(SENTENCES),
}


@pytest.fixture(scope="module")
def tokenizer(xlmr: Path) -> Tokenizer:
    return Tokenizer(xlmr / "tokenizer.json", 512)


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    (sequence,) = tokenizer.prepare([text], "", "chunk").sequences
    return sequence.tolist()


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_ids_on_odd_unicode_equal_those_of_transformers(tiny: Path, text: str) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(tiny)(text, truncation=False)["input_ids"]
    assert ids_of(Tokenizer(tiny / "tokenizer.json", 4096), text) == theirs


@pytest.mark.parametrize("model", ["published", "bundled"])
def test_ids_of_real_models_equal_those_of_transformers(request, model: str) -> None:
    from transformers import AutoTokenizer

    folder = request.getfixturevalue("minilm" if model == "published" else "bundled")
    theirs, ours = AutoTokenizer.from_pretrained(folder), Tokenizer(folder / "tokenizer.json", 4096)
    for text in [*ODD.values(), *SENTENCES]:
        assert ids_of(ours, text) == theirs(text, truncation=False)["input_ids"]


def test_ids_of_any_text_equal_those_of_transformers(xlmr: Path) -> None:
    from transformers import AutoTokenizer

    theirs, ours = AutoTokenizer.from_pretrained(xlmr), Tokenizer(xlmr / "tokenizer.json", 4096)

    @settings(max_examples=100)
    @given(st.text(st.characters(codec="utf-8")))
    def check(text: str) -> None:
        assert ids_of(ours, text) == theirs(text)["input_ids"]

    check()


def test_an_empty_text_is_its_special_tokens(tokenizer: Tokenizer) -> None:
    for text in ("", " ", "\n\t "):
        assert ids_of(tokenizer, text) == [0, 2]


def test_empty_texts_have_vectors(tiny: Path) -> None:
    vectors = load(tiny).encode(["", " ", "a"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-3


PREFIXES = {"no prompt": "", "query": "query: ", "no last space": "query:", "instruct": INSTRUCT.prefix("query", "sts")}
LIMIT = 48
LONG = passages(3)[0] + " " + passages(3)[1]


@pytest.fixture(scope="module", params=PREFIXES.values(), ids=PREFIXES.keys())
def cut(request: pytest.FixtureRequest, xlmr: Path) -> tuple[Tokenizer, str, list[int], list[int]]:
    """(a tokenizer with a low limit, prefix, the prefix's tokens, the tokens of `LONG`), told by the library itself."""
    library = tokenizers.Tokenizer.from_file(str(xlmr / "tokenizer.json"))
    prompt = library.encode(request.param.rstrip(), add_special_tokens=False).ids
    everything = library.encode(request.param + LONG, add_special_tokens=False).ids
    assert everything[: len(prompt)] == prompt
    return Tokenizer(xlmr / "tokenizer.json", LIMIT), request.param, prompt, everything[len(prompt) :]


def test_end_keeps_prompt_specials_and_the_beginning(cut) -> None:
    tokenizer, prefix, prompt, body = cut
    room = LIMIT - 2 - len(prompt)
    prepared = tokenizer.prepare([LONG], prefix, "end")
    assert [s.tolist() for s in prepared.sequences] == [[0, *prompt, *body[:room], 2]]
    assert list(prepared.report.tokens) == [2 + len(prompt) + len(body)]
    assert list(prepared.report.lost) == [len(body) - room]
    assert list(prepared.report.chunks) == [1]


def test_start_keeps_prompt_specials_and_the_end(cut) -> None:
    tokenizer, prefix, prompt, body = cut
    room = LIMIT - 2 - len(prompt)
    prepared = tokenizer.prepare([LONG], prefix, "start")
    assert [s.tolist() for s in prepared.sequences] == [[0, *prompt, *body[-room:], 2]]
    assert list(prepared.report.lost) == [len(body) - room]


def test_chunk_keeps_everything(cut) -> None:
    tokenizer, prefix, prompt, body = cut
    room = LIMIT - 2 - len(prompt)
    prepared = tokenizer.prepare(["ok", LONG, "ok"], prefix, "chunk")
    chunks = [s.tolist() for s in prepared.sequences[1:-1]]
    assert all(chunk[: 1 + len(prompt)] == [0, *prompt] and chunk[-1] == 2 for chunk in chunks)
    assert [token for chunk in chunks for token in chunk[1 + len(prompt) : -1]] == body
    assert all(len(chunk) == LIMIT for chunk in chunks[:-1])
    assert len(chunks) == -(-len(body) // room)
    assert list(prepared.owners) == [0, *[1] * len(chunks), 2]
    assert list(prepared.report.chunks) == [1, len(chunks), 1]
    assert list(prepared.report.lost) == [0, 0, 0]


def test_error_names_the_text(cut) -> None:
    tokenizer, prefix, prompt, body = cut
    with pytest.raises(InputError, match=rf"text 101 has {2 + len(prompt) + len(body)} tokens, the model reads 48"):
        tokenizer.prepare(["ok", LONG], prefix, "error", first=100)


@pytest.mark.parametrize("truncation", ["end", "start", "chunk", "error"])
def test_a_text_of_exactly_the_limit_is_whole(xlmr: Path, truncation) -> None:
    length = len(ids_of(Tokenizer(xlmr / "tokenizer.json", 512), LONG))
    prepared = Tokenizer(xlmr / "tokenizer.json", length).prepare([LONG], "", truncation)
    assert [len(s) for s in prepared.sequences] == [length]
    assert list(prepared.report.lost) == [0]


def test_a_prompt_that_fills_the_model_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"the prompt alone has .* tokens and the model reads 512.*shorter task"):
        tokenizer.prepare(["a"], "Do this. " * 400, "end")


def test_an_unknown_policy_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="unknown truncation 'middle'; expected one of end, start, chunk, error"):
        tokenizer.prepare(["a"], "", "middle")  # type: ignore[arg-type]


def test_a_vector_of_chunks_is_their_token_weighted_mean_at_unit_length(xlmr: Path) -> None:
    embedder = load(xlmr, max_tokens=LIMIT, truncation="chunk", prompts=E5_PREFIX)
    texts = ["short", LONG, " ".join(SENTENCES), "ok"]
    vectors = embedder.encode_document(texts)
    for index, text in enumerate(texts):
        sequences = embedder.prepare([text], "document").sequences
        parts = np.stack([embedder.engine.embed([s])[0] for s in sequences]).astype(np.float64)
        mean = (parts * [[len(s)] for s in sequences]).sum(axis=0)
        np.testing.assert_allclose(vectors[index], mean / np.linalg.norm(mean), rtol=0, atol=ROUNDING)
    assert len(embedder.prepare(texts[2:3], "document").sequences) > 10


def test_the_report_grows_over_calls_and_windows(xlmr: Path) -> None:
    embedder = load(xlmr, "fake", max_tokens=LIMIT)
    report = Report()
    with pytest.warns(TruncationWarning, match=rf"longer than {LIMIT} tokens were cut: 1 of 2 \(item 1\), "):
        embedder.encode(["ok", LONG], report=report)
    embedder.encode(f"text {number}" for number in range(5000))
    embedder.encode([], report=report)
    embedder.encode(["a", "b"], report=report)
    assert report.texts == 4
    assert report.truncated == [1]
    assert report.tokens[1] - report.lost[1] == LIMIT
    assert list(report.chunks) == [1, 1, 1, 1]
    assert str(report).startswith(f"4 texts, {sum(report.tokens):,} tokens; 1 truncated, ")


def test_counts_equal_the_librarys(xlmr: Path, tokenizer: Tokenizer) -> None:
    library = tokenizers.Tokenizer.from_file(str(xlmr / "tokenizer.json"))
    report = tokenizer.prepare(SENTENCES, "query: ", "end").report
    assert list(report.tokens) == [len(library.encode("query: " + text).ids) for text in SENTENCES]


NO_TEXTS = {
    "None": (None, "text 7 is None, expected a string"),
    "number": (3.5, r"text 7 is float \(3.5\), expected a string; drop it, or convert it with str"),
    "bytes": (b"abc", r"text 7 is bytes \(b'abc'\)"),
    "list": (["a"], r"text 7 is list \(\['a'\]\)"),
    "long value": (list(range(100)), r"text 7 is list \(\[0, 1, .*\.\.\.\)"),
    "not a number": (float("nan"), r"text 7 is float \(nan\)"),
    "lone surrogate": ("ab\ud800c", r"text 7 holds a lone surrogate, U\+D800 at character 2.*surrogateescape"),
    "escaped byte": (b"\xff".decode("utf-8", "surrogateescape"), r"U\+DCFF at character 0"),
}


@pytest.mark.parametrize(("item", "message"), NO_TEXTS.values(), ids=NO_TEXTS.keys())
def test_what_is_no_text_is_refused_by_its_place(xlmr: Path, item, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(xlmr, "fake").encode([*SENTENCES[:7], item, "ok"])


@pytest.mark.parametrize(
    ("texts", "message"),
    [(None, "got NoneType"), (5, "got int"), (b"ab", "got bytes"), ([["a"]], "text 0 is list")],
    ids=["None", "int", "bytes", "nested"],
)
def test_arguments_that_hold_no_texts_are_refused(xlmr: Path, texts, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(xlmr, "fake").encode(texts)


@pytest.mark.parametrize("max_tokens", [2, 0, -1, 513])
def test_an_impossible_limit_is_refused(xlmr: Path, max_tokens: int) -> None:
    with pytest.raises(InputError, match=rf"between 3 and the model's 512 positions, got {max_tokens}"):
        Embedder.load(xlmr, max_tokens=max_tokens, prompts="none")


@pytest.mark.parametrize("spaces", [True, False], ids=["with spaces", "without spaces"])
def test_megabytes_of_text(tokenizer: Tokenizer, spaces: bool) -> None:
    """Never done where anything is quadratic. Both ends are read right, and every token is counted."""
    once = " ".join(SENTENCES) + " " if spaces else "".join(SENTENCES).replace(" ", "")
    text = once * (2_000_000 // len(once.encode()) + 1)
    beginning, end = (ids_of(tokenizer, once[at])[1:-1] for at in (slice(200), slice(-200, None)))
    prepared = tokenizer.prepare([text], "", "chunk")
    assert prepared.report.tokens[0] > 400_000
    assert prepared.report.lost[0] == 0
    assert sum(len(sequence) - 2 for sequence in prepared.sequences) == prepared.report.tokens[0] - 2
    assert prepared.sequences[0][1:50].tolist() == beginning[:49]
    tail = np.concatenate([prepared.sequences[-2][1:-1], prepared.sequences[-1][1:-1]])
    assert tail[-49:].tolist() == end[-49:]


def test_lower_case_applies_to_the_prompt_too(xlmr: Path) -> None:
    lower = Tokenizer(xlmr / "tokenizer.json", 512, lower_case=True)
    plain = Tokenizer(xlmr / "tokenizer.json", 512)
    found = lower.prepare(["Der MOUNT Everest"], "QUERY: ", "end").sequences[0]
    assert found.tolist() == plain.prepare(["der mount everest"], "query: ", "end").sequences[0].tolist()


@pytest.mark.parametrize("policy", ["end", "start", "chunk"])
@pytest.mark.parametrize(
    "text", [SENTENCES[0], " ".join(SENTENCES), ODD["emoji families"]], ids=["short", "long", "emoji"]
)
def test_a_look_shows_what_preparing_reads_and_cuts(tiny: Path, text: str, policy: str) -> None:
    tokenizer = load(tiny, "fake", max_tokens=100).tokenizer
    prefix = INSTRUCT.prefix("query", None)
    tokens = tokenizer.look(text, prefix, policy)
    prepared = tokenizer.prepare([text], prefix, policy)
    assert len(tokens) == prepared.report.tokens[0]
    assert sum(token.lost for token in tokens) == prepared.report.lost[0]
    if policy != "chunk":
        kept = [token.id for token in tokens if not token.lost]
        assert kept == prepared.sequences[0].tolist()
    assert not any(token.lost and (token.special or token.prompt) for token in tokens)
    for token in tokens:
        assert (token.start is None) == token.special
        assert token.start is None or 0 <= token.start <= token.end <= len(prefix + text)


def test_decoding_gives_the_text_back(tiny: Path) -> None:
    tokenizer = load(tiny, "fake").tokenizer
    ids = tokenizer.prepare(["ok"], "", "end").sequences[0].tolist()
    assert tokenizer.decode(ids).replace("▁", "").replace(" ", "") == "ok"  # the tiny files have no decoder
    assert len(tokenizer.decode(ids, skip_special=False)) > len(tokenizer.decode(ids))
