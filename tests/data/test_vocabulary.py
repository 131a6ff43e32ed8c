"""A dataset's texts become a tokenizer: balanced samples, XLM-RoBERTa's ids, and the same ids for every library."""

import random
from pathlib import Path

import pytest
import tokenizers
from transformers import AutoTokenizer
from typer.testing import CliRunner

from me5 import InputError
from me5.cli import app
from me5.data.contract import Document, Query
from me5.data.dataset import Dataset
from me5.data.vocabulary import MASK, SPECIAL, Sample, draw, limit_alphabet, save, train
from me5.data.writing import write_dataset
from me5.prompts import E5_PREFIX
from me5.tokenizer import Tokenizer

SIZES = {"en": 900, "sw": 400, "yo": 20}
TEXTS = ["Habari  ya\tasubuhi, dunia!", "¿Dónde? 42 ﬁne ½", "", "ＡＢＣ　ｱ", "UPPER lower", "x\u200dy☃"]


def sentence(rng: random.Random, lang: str) -> str:
    words = {
        "en": "the cat sat on a warm mat and slept",
        "sw": "paka mweusi alilala juu ya mkeka wake",
        "yo": "ológbò dúdú ń sùn",
    }
    return " ".join(rng.choices(words[lang].split(), k=8)) + f" {rng.randrange(10**6)}"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    rng = random.Random(0)
    items = [
        (Query if number % 2 else Document)(sentence(rng, lang), lang=lang)
        for lang, size in SIZES.items()
        for number in range(size)
    ]
    return write_dataset(tmp_path_factory.mktemp("data") / "pairs", items, step={"step": "test"})


def ignore(texts: int, tokens: int) -> None:
    """Nobody looks."""


def test_languages_are_drawn_by_temperature_and_small_ones_whole(dataset):
    for temperature in (0.0, 0.5, 1.0):
        drawn = draw([dataset], Sample(lines=400, temperature=temperature), advance=ignore)
        assert dict(drawn.found) == SIZES
        assert sum(drawn.drawn.values()) == len(drawn.lines) == pytest.approx(400, abs=45)  # each text by chance
        expected = SIZES["en"] / SIZES["sw"] if temperature else 1.0
        assert drawn.drawn["en"] / drawn.drawn["sw"] == pytest.approx(expected**temperature, rel=0.25)
        if temperature < 1:  # 20 texts cannot fill their share
            assert drawn.drawn["yo"] == 20
    everything = draw([dataset], Sample(lines=10_000), advance=ignore)
    assert dict(everything.drawn) == SIZES


def test_the_sample_follows_from_texts_and_seed_alone(dataset, tmp_path):
    backwards = write_dataset(
        tmp_path / "backwards", list(dataset.queries())[::-1] + list(dataset.documents())[::-1], step={}
    )
    drawn, again, twice, other = (
        draw(sets, Sample(lines=300, seed=seed), advance=ignore).lines
        for sets, seed in (([dataset], 3), ([backwards], 3), ([dataset], 3), ([dataset], 4))
    )
    assert sorted(drawn) == sorted(again)
    assert drawn == twice
    assert len(set(drawn) & set(other)) < 0.6 * len(drawn)
    # The same data named twice: every text once.
    assert len(set(draw([dataset, dataset], Sample(lines=9_999), advance=ignore).lines)) == sum(SIZES.values())


def test_long_texts_are_cut_at_places_of_their_own(tmp_path):
    long = [Document(" ".join(f"{n}-{at}" for at in range(200))) for n in range(50)]
    made = write_dataset(tmp_path / "long", long, step={})
    lines = draw([made], Sample(characters=40), advance=ignore).lines
    assert {len(line) for line in lines} == {40}
    assert sum("-0 " in line for line in lines) < 10
    texts = {document.text for document in long}
    assert all(any(line in text for text in texts) for line in lines)


def test_rare_characters_are_blanked():
    lines, covered = limit_alphabet(["aaab", "aabbc", "ﬁ"], 2, lower_case=False)
    assert lines == ["aaab", "aabb ", "  "]  # the ligature is two letters in NFKC
    assert covered == pytest.approx(8 / 11)
    assert limit_alphabet(["AB"], 9, lower_case=True)[0] == ["ab"]


@pytest.mark.parametrize("lower_case", [False, True], ids=["cased", "lower case"])
def test_every_library_reads_the_same_ids(dataset, tmp_path, lower_case):
    lines = draw([dataset], Sample(), advance=ignore).lines
    prompts = [E5_PREFIX.query, E5_PREFIX.document]
    made, covered = train(lines, pieces=300, alphabet=60, prompts=prompts, lower_case=lower_case)
    assert covered == 1.0
    save(made, tmp_path / "tokenizer")
    file = tmp_path / "tokenizer" / "tokenizer.json"
    vocabulary = tokenizers.Tokenizer.from_file(str(file)).get_vocab()
    assert [vocabulary[token] for token in SPECIAL] == [0, 1, 2, 3]
    assert vocabulary[MASK] == len(vocabulary) - 1
    assert len(vocabulary) <= 300
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path / "tokenizer"), Tokenizer(file, 512)
    assert (theirs.pad_token_id, theirs.cls_token_id, theirs.sep_token_id, theirs.unk_token_id) == (1, 0, 2, 3)
    assert (theirs.mask_token_id, theirs.model_max_length) == (len(vocabulary) - 1, 512)
    for text in [*TEXTS, *lines[:50]]:
        ids = theirs(text)["input_ids"]
        assert list(ours.prepare([text], "", "end").sequences[0]) == ids
        assert (ids[0], ids[-1]) == (0, 2)
    # What stands before every text is not spelled out; capitals are, unless they are read as small letters.
    assert theirs.tokenize("query: cat") == ["▁query", ":", *theirs.tokenize("cat")]
    assert theirs.tokenize("passage: cat")[0] == "▁passage"
    assert (theirs.tokenize("CAT") == theirs.tokenize("cat")) is lower_case
    assert theirs.decode(theirs("the  cat sat").input_ids, skip_special_tokens=True) == "the cat sat"


def test_impossible_numbers_are_refused():
    with pytest.raises(
        InputError, match="20 pieces are too few: 30 single characters, 0 words of prompts and 5 special"
    ):
        train(["some text"], pieces=20, alphabet=30)
    with pytest.raises(InputError, match="no text"):
        train([], pieces=200, alphabet=30)


def test_the_command(dataset, tmp_path):
    arguments = ["data", "tokenizer", str(dataset.folder), "--pieces", "400", "--out", str(tmp_path / "made")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "1,320 of 1,320 texts in 3 languages" in result.output
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    }  # fmt: skip
    with pytest.raises(InputError, match="exists"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert Path(tmp_path / "made" / "tokenizer.json").stat().st_size > 0
