"""Ids by the fast library are those of the slow one, whatever the text; what it cannot do, the slow one does."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import SENTENCES, passages
from hypothesis import given, settings
from hypothesis import strategies as st

from me5 import CheckpointError, unigram
from me5.checkpoint import BUNDLED_FILE
from me5.encoding import Encoder, open_encoder
from me5.gguf import header
from me5.gguf import tokenizer as gguf
from me5.tokenizer import TRUNCATIONS, Tokenizer

ODD = (
    "", " ", "\n\t", "▁", "▁▁ a", "a▁b", "\x00", "a\x01b", "\u200b", "\u3000全角\u3000", "\ufeffa", "ﷺ", "İ", "\u0344",
    "<s>", "a <mask> b", "a<mask>b", " <mask>", "<mask><mask>", "<unk><unk>", "x<unk> <unk>y", "𓀀<unk>𓀀", "</s> <s>",
    "<", "<<s>>", "<s", "＜s＞", "﹤mask>", "<\x01s>", "a ＜ｕｎｋ＞ b", "if a < b: 𓀀", "<MASK>", "a" * 3000,
    "漢字" * 2000, "\u0301" * 40, " " * 3000, "<mask>" * 500, "a" + chr(0x2FA2F) + "b",
)  # fmt: skip
PARTS = st.lists(
    st.text(max_size=8) | st.sampled_from([*SENTENCES, "<s>", "<unk>", "<mask>", "<", "＜s＞", "<\x01/s>", "▁", " "]),
    max_size=8,
).map("".join)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(BUNDLED_FILE)


@pytest.fixture(scope="module")
def terms() -> gguf.Terms:
    return gguf.read(header.read(BUNDLED_FILE))


def by_library(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    return [found.ids for found in encoder.library.encode_batch_fast(texts, add_special_tokens=False)]


def test_odd_texts(encoder: Encoder) -> None:
    assert [*encoder.ids(ODD)] == by_library(encoder, [*ODD])
    for text in ODD:
        assert [*encoder.ids([text])] == by_library(encoder, [text])


def test_any_text(encoder: Encoder) -> None:
    @settings(max_examples=300)
    @given(PARTS)
    def check(text: str) -> None:
        assert [*encoder.ids([text])] == by_library(encoder, [text])

    check()


def test_characters_of_all_scripts_and_forms(encoder: Encoder) -> None:
    numbers = [*range(0x3400), *range(0xA000, 0xAC00), *range(0xF900, 0x10000), *range(0x1D400, 0x1F700),
               *range(0x2F800, 0x2FA30)]  # fmt: skip
    texts = [" ".join(f"a{chr(at)}b {chr(at)}" for at in numbers[start::200]) for start in range(200)]
    assert [*encoder.ids(texts)] == by_library(encoder, texts)


def test_what_is_written_as_a_special_token_in_other_characters_is_left_to_the_library(terms: gguf.Terms) -> None:
    fast = unigram.Unigram(terms)
    assert fast.encode(["＜s＞ a", "plain <b>", "<s> a"])[0] is None
    assert None not in fast.encode(["plain <b>", "<s> a", "1 ＜ 2", "𓀀 < 𓀀"])


def test_many_texts_keep_their_order(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unigram, "_THREADS", 3)
    texts = [*passages(400), "＜s＞", *SENTENCES]
    assert sum(map(len, texts)) > unigram._SHARED
    assert [*encoder.ids(texts)] == by_library(encoder, texts)


def test_ordinary_use_opens_one_library_only(bundled: Path) -> None:
    for path in (BUNDLED_FILE, bundled / "tokenizer.json"):
        tokenizer = Tokenizer(path, 20)
        for truncation in TRUNCATIONS[:3]:
            tokenizer.prepare([*SENTENCES], "query: ", truncation)
        assert "library" not in vars(tokenizer._encoder)
        assert tokenizer.vocabulary == tokenizer._encoder.library.get_vocab_size()
        assert tokenizer.frame == ([0], [2])


def test_a_file_is_opened_once_as_long_as_it_is_the_same(tmp_path: Path, xlmr: Path) -> None:
    path = Path(shutil.copyfile(xlmr / "tokenizer.json", tmp_path / "tokenizer.json"))
    first = open_encoder(path)
    assert open_encoder(path) is first
    lower = open_encoder(path, lower_case=True)
    assert [*lower.ids(["WIE"])] == [*first.ids(["wie"])] != [*first.ids(["WIE"])]
    path.write_text(path.read_text(encoding="utf-8").replace('"▁how"', '"▁h0w"') + "\n", encoding="utf-8")
    assert open_encoder(path) is not first
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer.json cannot be read as a tokenizer"):
        open_encoder(path)


def test_prompts_are_counted_alike(encoder: Encoder) -> None:
    for prompt in ("", "query: ", "passage:", "Instruct: Find what answers\nQuery: ", "<s> "):
        for text in ("how tall is K2?", " a", "\u0301a", "南瓜", "<mask>", ""):
            (head,) = encoder.library.encode_batch([prompt + text], add_special_tokens=False)
            expected = sum(1 for _, end in head.offsets if end <= len(prompt)) if prompt else 0
            assert encoder.tokens_of(prompt, text) == expected


def renamed(terms: gguf.Terms, at: int, name: str) -> gguf.Terms:
    return replace(terms, pieces=[*terms.pieces[:at], name, *terms.pieces[at + 1 :]])


OTHER: dict[str, Callable[[gguf.Terms], gguf.Terms]] = {
    "another kind": lambda terms: replace(terms, model="bert"),
    "another map": lambda terms: replace(terms, characters=terms.characters[:-1] + b"\x01"),
    "no map": lambda terms: replace(terms, characters=b""),
    "a piece twice": lambda terms: renamed(terms, 500, terms.pieces[501]),
    "an empty piece": lambda terms: renamed(terms, 500, ""),
    "a long piece": lambda terms: renamed(terms, 500, "a" * 101),
    "no space": lambda terms: renamed(terms, terms.pieces.index("▁"), "▁▁▁▁▁▁▁▁"),
    "another special token": lambda terms: renamed(terms, 0, "[CLS]"),
    "no number for a score": lambda terms: replace(
        terms, scores=np.where(np.arange(len(terms.scores)) == 9, np.nan, 1)
    ),
    "a character that is no piece": lambda terms: renamed(terms, 500, "\U000f0001b"),
    "bytes": lambda terms: renamed(terms, 500, "<0x41>"),
    "a space within": lambda terms: renamed(terms, 500, "a▁b"),
    "a score above zero": lambda terms: replace(terms, scores=terms.scores + np.float32(1)),
}


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_other_vocabularies_are_left_to_the_library(terms: gguf.Terms, change) -> None:
    assert unigram.serves(terms)
    assert not unigram.serves(change(terms))


@pytest.fixture(scope="module")
def few(terms: gguf.Terms) -> gguf.Terms:
    """A small vocabulary with scores of its own."""
    choose = random.Random(5)
    names = {*choose.sample(terms.pieces[4:-1], 4000), *(terms.pieces[at] for at in terms.added)}
    names |= {*"".join(names)}
    kept = [at for at, piece in enumerate(terms.pieces) if piece in names]
    scores = [choose.uniform(-20, 0) for _ in kept]
    return replace(
        terms, pieces=[terms.pieces[at] for at in kept], kinds=terms.kinds[kept], scores=np.array(scores, np.float32),
        ids={name: kept.index(at) for name, at in terms.ids.items()},
    )  # fmt: skip


def test_a_vocabulary_of_any_scores(few: gguf.Terms) -> None:
    assert unigram.serves(few)
    texts = [*passages(50), *(text for text in ODD if len(text) < 100)]
    expected = [found.ids for found in gguf.build(few).encode_batch_fast(texts, add_special_tokens=False)]
    for text, ids, fast in zip(texts, expected, unigram.Unigram(few).encode(texts), strict=True):
        assert fast in (None, ids), text


@pytest.mark.parametrize("size", ["all", "few"])
def test_the_form_of_kitoken_holds_what_its_reader_of_models_makes(
    terms: gguf.Terms, few: gguf.Terms, size: str
) -> None:
    chosen = {"all": terms, "few": few}[size]
    slow = unigram._library().from_sentencepiece(unigram._sentencepiece(chosen))
    slow.set_config(unigram._settings(chosen))
    assert unigram._opened(chosen).to_bytes() == slow.to_bytes()


def test_another_form_of_kitoken_is_left_to_its_reader_of_models(few: gguf.Terms, monkeypatch) -> None:
    expected = unigram._opened(few).to_bytes()
    monkeypatch.setattr(unigram, "_vocabulary", lambda _: b"what another version writes")
    assert unigram._opened(few).to_bytes() == expected


FORMS = {
    "another step": lambda content: content["normalizer"]["normalizers"].append({"type": "Lowercase"}),
    "another split": lambda content: content["pre_tokenizer"]["pretokenizers"].pop(0),
    "bytes for what is unknown": lambda content: content["model"].update(byte_fallback=True),
    "no frame": lambda content: content.update(post_processor=None),
    "a token that swallows spaces": lambda content: content["added_tokens"][4].update(rstrip=True),
    "a token of its own": lambda content: content["added_tokens"].append(
        {**content["added_tokens"][0], "id": 300_000, "content": "<new>"}
    ),
    "finer scores": lambda content: content["model"]["vocab"][9].__setitem__(1, -3.1234567890123),
}


@pytest.fixture(scope="module")
def written(few: gguf.Terms) -> str:
    """Its tokenizer.json, as XLM-RoBERTa's is published."""
    content = json.loads(gguf.build(few).to_str())
    steps = [content["normalizer"], {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]
    return json.dumps({**content, "normalizer": {"type": "Sequence", "normalizers": steps}})


def test_files_of_the_published_form_are_read(tmp_path: Path, written: str, few: gguf.Terms) -> None:
    (tmp_path / "tokenizer.json").write_text(written, encoding="utf-8")
    found = unigram.published(tmp_path / "tokenizer.json")
    assert found is not None
    assert unigram.serves(found)
    assert (found.pieces, found.added, found.id("unk"), found.id("bos"), found.id("eos")) == (
        [*few.pieces], few.added, 3, 0, 2
    )  # fmt: skip
    assert np.array_equal(found.scores, few.scores)


@pytest.mark.parametrize("change", FORMS.values(), ids=FORMS)
def test_files_of_another_form_are_left_to_the_library(tmp_path: Path, written: str, change) -> None:
    content = json.loads(written)
    change(content)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert unigram.published(tmp_path / "tokenizer.json") is None


def test_a_thread_that_opened_it_may_end() -> None:
    """The allocator of kitoken is bound to the thread that loads it: the next use was a segmentation fault."""
    code = """
import threading
from me5.checkpoint import BUNDLED_FILE
from me5.encoding import Encoder
found = []
def run(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
run(lambda: found.append(Encoder(BUNDLED_FILE)))
for number in range(100):
    run(lambda: [*found[0].ids([f"hello world {number}"] * 50)])
print(len([*found[0].ids(["x y z"])]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
