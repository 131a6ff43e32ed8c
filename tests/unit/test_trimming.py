"""A trimmed model: fewer rows of the word table, and the same vectors for the texts that it was trimmed by."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import E5_PROMPTS, SENTENCES, Recipe
from typer.testing import CliRunner

from me5 import Embedder, InputError
from me5.checkpoint import Checkpoint, read
from me5.cli import app
from me5.export import export
from me5.tokenizer import Tokenizer
from me5.trimming import Int64, choose, compare, count, trimmed
from me5.weights import Weights

FEW = SENTENCES[:6]
RECIPES = {"xlm-roberta": Recipe(), "bert": Recipe("bert"), "wordpiece": Recipe("bert", "wordpiece")}


def write(checkpoint: Checkpoint, kept: Int64, target: Path, **options: Any) -> Path:
    with trimmed(checkpoint, kept) as (smaller, weights):
        export(smaller, target, weights=weights, **options)
    return target


@pytest.mark.parametrize("recipe", RECIPES)
def test_same_vectors_to_the_bit_for_texts_that_are_covered(recipe: str, build_folder: Any, tmp_path: Path) -> None:
    checkpoint = read(build_folder(RECIPES[recipe]))
    usage = count(checkpoint, [("any", text) for text in FEW])
    kept = choose(checkpoint, usage)
    assert len(kept) < checkpoint.config.vocab_size / 2
    folder = write(checkpoint, kept, tmp_path / "trimmed")
    before, after = (Embedder.load(path, precision="f32", prompts="none") for path in (checkpoint.path, folder))
    assert after.checkpoint.config.vocab_size == len(kept)
    np.testing.assert_array_equal(after.encode(FEW), before.encode(FEW))
    cosines, longer = compare(before, after, FEW)
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    assert longer == 1


def test_rows_are_copied_as_they_are_stored(build_folder: Any, tmp_path: Path) -> None:
    """Blocks are not rounded again."""
    whole = tmp_path / "whole"
    checkpoint = read(build_folder(Recipe()))
    kept = choose(checkpoint, count(checkpoint, [("any", text) for text in SENTENCES]))
    weights = Weights(checkpoint.weights, checkpoint.config)
    chosen = weights.select("words", kept)
    np.testing.assert_array_equal(chosen.stored("words"), weights.stored("words")[kept])
    np.testing.assert_array_equal(chosen.rows("words", np.array([[1, 0]])), weights.float32("words")[kept[[[1, 0]]]])
    chosen.release("words")
    assert chosen.size("words") == len(kept) * 64 * 4
    assert not whole.exists()


def test_special_tokens_and_characters_stay(build_folder: Any, tmp_path: Path) -> None:
    """Where pieces go, the characters that they were made of remain: nothing becomes unknown."""
    checkpoint = read(build_folder(Recipe()))
    usage = count(checkpoint, [("any", text) for text in SENTENCES])
    kept = choose(checkpoint, usage, cover=0.5)
    assert {0, 1, 2, 3} <= set(kept.tolist())
    folder = write(checkpoint, kept, tmp_path / "trimmed")
    tokenizer = Tokenizer(read(folder).tokenizer, 512)
    sequences = tokenizer.prepare(list(SENTENCES), "", "end").sequences
    assert not any((ids == 3).any() for ids in sequences)
    assert tokenizer.vocabulary == len(kept) < len(choose(checkpoint, usage))
    text = tokenizer.prepare(["a <mask> b"], "", "end").sequences[0]
    assert len(kept) - 1 in text  # <mask> is the last id still


@pytest.mark.parametrize("prompts", [E5_PROMPTS, {"query": "Instruct: retrieve planets\nQuery: "}])
def test_prompts_stay(prompts: Any, build_folder: Any, tmp_path: Path) -> None:
    """No text has to hold what stands in front of them."""
    checkpoint = read(build_folder(Recipe(prompts=prompts)))
    text = SENTENCES[10]  # Chinese
    folder = write(checkpoint, choose(checkpoint, count(checkpoint, [("zh", text)])), tmp_path / "trimmed")
    before, after = (Embedder.load(path, precision="f32") for path in (checkpoint.path, folder))
    np.testing.assert_array_equal(after.encode_query([text]), before.encode_query([text]))
    np.testing.assert_array_equal(after.encode_document([text]), before.encode_document([text]))


def test_how_many_stay(build_folder: Any) -> None:
    checkpoint = read(build_folder(Recipe()))
    usage = count(checkpoint, [("any", text) for text in SENTENCES])
    needed = len(choose(checkpoint, usage, cover=1e-9))
    assert len(choose(checkpoint, usage, pieces=needed + 7)) == needed + 7
    with pytest.raises(InputError, match="pieces are too few"):
        choose(checkpoint, usage, pieces=16)
    for cover in (0, 1.1):
        with pytest.raises(InputError, match="cover is"):
            choose(checkpoint, usage, cover=cover)
    with pytest.raises(InputError, match="no texts"):
        count(checkpoint, [])


def test_pieces_are_filled_up_with_characters_and_then_the_likeliest(build_folder: Any, tmp_path: Path) -> None:
    checkpoint = read(build_folder(Recipe()))
    usage = count(checkpoint, [("any", SENTENCES[0])])
    few = set(choose(checkpoint, usage).tolist())
    vocabulary = json.loads(checkpoint.tokenizer.read_text("utf-8"))["model"]["vocab"]
    single = {at for at, (piece, _) in enumerate(vocabulary) if len(piece) == 1}
    kept = set(choose(checkpoint, usage, pieces=len(few | single) + 50).tolist())
    assert few | single < kept
    added, left = kept - few - single, set(range(len(vocabulary))) - kept
    assert len(added) == 50
    assert min(vocabulary[at][1] for at in added) >= max(vocabulary[at][1] for at in left)
    assert len(choose(checkpoint, usage, pieces=10**6)) == len(vocabulary)
    words = read(build_folder(RECIPES["wordpiece"]))
    assert len(choose(words, count(words, [("any", SENTENCES[0])]), pieces=300)) == 300


def test_languages_are_counted_apart(build_folder: Any) -> None:
    checkpoint = read(build_folder(Recipe()))
    usage = count(checkpoint, [("en", FEW[0]), ("de", FEW[2]), ("en", FEW[1])])
    assert usage.texts == 3
    assert set(usage.by_language) == {"en", "de"}
    np.testing.assert_array_equal(usage.counts, usage.by_language["en"] + usage.by_language["de"])
    tokenizer = Tokenizer(checkpoint.tokenizer, 512)
    assert usage.by_language["de"].sum() == len(next(tokenizer.bare([FEW[2]]))[0])


def test_the_command(build_folder: Any, tmp_path: Path) -> None:
    folder = build_folder(Recipe())
    rows = [{"text": text, "lang": "xx" if at % 2 else "yy"} for at, text in enumerate(FEW)]
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["trim", str(folder), "--texts", str(texts), "--language-field", "lang", "--quiet"]
    run = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out"), "--json"])
    assert run.exit_code == 0, run.output
    report = json.loads(run.stdout)
    assert set(report["languages"]) == {"xx", "yy"}
    assert report["tokens_kept"] == 1
    assert report["tokens_after"] == 1
    assert report["cosine_least"] > 1 - 1e-5
    before, after = report["weights_bytes"]
    assert after < before
    assert report["pieces"][1] == read(tmp_path / "out").config.vocab_size
    missing = CliRunner().invoke(app, [*command, "--language-field", "tongue", "--out", str(tmp_path / "none")])
    assert "no field 'tongue'" in str(missing.exception)
    assert "name another with --language-field" in str(missing.exception)
    printed = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "again")])
    assert "kept whole" in printed.output
    assert "stayed whole" in printed.output


def test_empty_texts_need_no_piece(build_folder: Any, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n \n")
    command = ["trim", str(build_folder(Recipe())), "--texts", str(tmp_path / "texts.txt"), "--quiet"]
    run = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out")])
    assert "texts.txt: all texts are empty" in str(run.exception)
    assert not (tmp_path / "out").exists()
