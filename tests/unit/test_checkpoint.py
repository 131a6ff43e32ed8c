"""Model folders: every published layout loads, and whatever would change the numbers is refused by name."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import BERT, E5_PROMPTS, SENTENCES, XLMR, Recipe, edit_json, write_json
from vectors import load

from me5 import CheckpointError, Embedder, PromptWarning
from me5.checkpoint import read_folder, resolve

SAME_VECTORS = {
    "two shards": replace(XLMR, shards=2),
    "prefix roberta.": replace(XLMR, prefix="roberta."),
    "prefix model.": replace(XLMR, prefix="model."),
    "with pooler and position_ids": replace(XLMR, extras=True),
    "all of it in three shards": replace(XLMR, shards=3, prefix="roberta.", extras=True),
    "without Normalize": replace(XLMR, normalize=False),
}


@pytest.mark.parametrize("recipe", SAME_VECTORS.values(), ids=SAME_VECTORS.keys())
def test_layouts_of_the_same_weights_give_the_same_vectors(build_folder, recipe: Recipe) -> None:
    expected = load(build_folder(XLMR)).encode(SENTENCES)
    np.testing.assert_array_equal(load(build_folder(recipe)).encode(SENTENCES), expected)


@pytest.mark.parametrize("prefix", ["bert.", ""])
def test_a_bert_file_with_and_without_prefix_and_extras(build_folder, prefix: str) -> None:
    expected = load(build_folder(BERT)).encode(SENTENCES)
    found = load(build_folder(replace(BERT, prefix=prefix, extras=True))).encode(SENTENCES)
    np.testing.assert_array_equal(found, expected)


def test_a_plain_transformers_folder_is_read_with_mean_pooling(xlmr: Path, copy_of) -> None:
    folder = copy_of(xlmr)
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "1_Pooling")
    embedder = load(folder)
    assert embedder.max_seq_length == 512
    np.testing.assert_array_equal(embedder.encode(SENTENCES), load(xlmr).encode(SENTENCES))


def test_new_files_name_the_pooling_mode_in_one_word(xlmr: Path, build_folder, copy_of) -> None:
    for mode, recipe in (("mean", XLMR), ("cls", replace(XLMR, pooling="cls"))):
        folder = copy_of(xlmr)
        write_json(folder / "1_Pooling" / "config.json", {"embedding_dimension": 64, "pooling_mode": mode})
        assert read_folder(folder).config.pooling == mode
        np.testing.assert_array_equal(load(folder).encode(SENTENCES), load(build_folder(recipe)).encode(SENTENCES))


def test_what_the_files_say_of_the_network(xlmr: Path, bert: Path) -> None:
    robust, plain = read_folder(xlmr).config, read_folder(bert).config
    assert (robust.body, robust.first_position, robust.max_positions, robust.max_tokens) == ("xlm-roberta", 2, 514, 512)
    assert (plain.body, plain.first_position, plain.max_positions, plain.max_tokens) == ("bert", 0, 512, 512)
    assert (robust.type_vocab_size, plain.type_vocab_size) == (1, 2)
    assert (robust.layer_norm_eps, plain.layer_norm_eps) == (1e-5, 1e-12)
    assert plain.vocab_size == robust.vocab_size + 35


@pytest.mark.parametrize(
    ("file", "content", "max_tokens"),
    [
        ("sentence_bert_config.json", {"max_seq_length": 128}, 128),
        ("sentence_bert_config.json", {"max_seq_length": 4096}, 512),
        ("sentence_bert_config.json", {"max_seq_length": None}, 512),
        ("sentence_xlm-roberta_config.json", {"max_seq_length": 200, "do_lower_case": False}, 200),
        ("tokenizer_config.json", {"model_max_length": 300}, 300),
        ("tokenizer_config.json", {"model_max_length": 1e30}, 512),
        ("tokenizer_config.json", {}, 512),
    ],
)
def test_the_limit_comes_from_the_first_file_that_states_one(
    xlmr: Path, copy_of, file: str, content: dict, max_tokens: int
) -> None:
    folder = copy_of(xlmr)
    (folder / "sentence_bert_config.json").unlink()
    write_json(folder / file, content)
    assert read_folder(folder).config.max_tokens == max_tokens


def test_listed_prompts_are_taken_from_the_folder(build_folder) -> None:
    prompts = read_folder(build_folder(replace(XLMR, prompts=E5_PROMPTS))).prompts
    assert prompts is not None
    assert (prompts.style, prompts.prefix("query"), prompts.prefix("document")) == ("prefix", "query: ", "passage: ")


def test_unknown_prompts_are_said_once_and_leave_texts_bare(xlmr: Path) -> None:
    with pytest.warns(PromptWarning, match=r"nothing says how tiny-model wants.*prompts='none' silences this"):
        embedder = Embedder.load(xlmr, precision="f32")
    np.testing.assert_array_equal(embedder.encode_query("ok"), load(xlmr).encode("ok"))


RECOGNISED = {
    "folder name": ("multilingual-e5-small", "intfloat/multilingual-e5-small", "prefix"),
    "folder name in other case": ("Multilingual-E5-Small", "intfloat/multilingual-e5-small", "prefix"),
    "instruct": ("multilingual-e5-large-instruct", "intfloat/multilingual-e5-large-instruct", "instruct"),
    "hub cache": ("models--intfloat--multilingual-e5-base/snapshots/d13f", "intfloat/multilingual-e5-base", "prefix"),
    "hub cache of another owner": ("models--someone--multilingual-e5-base/snapshots/abc", None, None),
    "unknown name": ("my-model", None, None),
}  # fmt: skip


@pytest.mark.parametrize(("path", "model_id", "style"), RECOGNISED.values(), ids=RECOGNISED.keys())
def test_a_known_model_is_recognised_by_its_path(xlmr: Path, tmp_path: Path, path: str, model_id, style) -> None:
    shutil.copytree(xlmr, tmp_path / path)
    checkpoint = resolve(tmp_path / path)
    assert (checkpoint.known.id if checkpoint.known else None) == model_id
    assert (checkpoint.prompts.style if checkpoint.prompts else None) == style


def test_a_link_into_the_hub_cache_is_recognised(xlmr: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--intfloat--multilingual-e5-small" / "snapshots" / "abc"
    shutil.copytree(xlmr, snapshot)
    (tmp_path / "link").symlink_to(snapshot)
    assert resolve(tmp_path / "link").known.id == "intfloat/multilingual-e5-small"


def test_the_bundled_model_is_the_default() -> None:
    assert resolve().name == resolve("me5-small").name == resolve("ME5-Small").name == "me5-small"
    assert resolve().prompts.style == "instruct"


@pytest.mark.parametrize("name", ["no-such-folder", "./a/b/c", "a/b/c", Path("owner/name"), "/owner/name"])
def test_what_is_no_model_says_what_would_be(name: str | Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"it is not a folder or \.gguf file here, not the bundled me5-small.*`me5 models` lists"
    ):
        resolve(name)


def _write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def _edit(name: str, **changes: object) -> Callable[[Path], object]:
    return lambda folder: edit_json(folder / name, **changes)


def _modules(*kinds: str) -> Callable[[Path], object]:
    entries = [{"path": "1_Pooling" if kind == "Pooling" else "", "type": f"s.models.{kind}"} for kind in kinds]
    return lambda folder: write_json(folder / "modules.json", entries)


def _pooling(**settings: object) -> Callable[[Path], object]:
    return lambda folder: write_json(folder / "1_Pooling" / "config.json", settings)


def _pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


REFUSALS = {
    "no config.json": (lambda f: (f / "config.json").unlink(), "no config.json, so it is not a model folder"),
    "no tokenizer.json": (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json.*save_pretrained"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors. Convert it once"),
    "a pickle only": (_pickle_only, "pytorch_model.bin is a pickle, which can run code.*Convert it once"),
    "other model_type": (_edit("config.json", model_type="distilbert"), "model_type is 'distilbert'.*me5 reads XLM"),
    "no model_type": (_edit("config.json", model_type=None), "model_type is None"),
    "relu": (_edit("config.json", hidden_act="relu"), "hidden_act is 'relu', expected 'gelu'"),
    "tanh gelu": (_edit("config.json", hidden_act="gelu_new"), "hidden_act is 'gelu_new'"),
    "relative positions": (
        _edit("config.json", position_embedding_type="relative_key"), "position_embedding_type is 'relative_key'",
    ),
    "a decoder": (_edit("config.json", is_decoder=True), "is_decoder is True"),
    "factorised embeddings": (_edit("config.json", embedding_size=16), "embedding_size"),
    "a size is missing": (_edit("config.json", hidden_size=None), "hidden_size is missing, expected"),
    "a size is a word": (_edit("config.json", num_hidden_layers="two"), "num_hidden_layers is 'two', expected"),
    "no pad id": (_edit("config.json", pad_token_id=None), "config.json: pad_token_id is missing, expected a whole"),
    "heads do not divide": (_edit("config.json", num_attention_heads=5), "hidden_size 64 is not a multiple of 5 heads"),
    "Dense": (_modules("Transformer", "Pooling", "Dense"), "Transformer → Pooling → Dense is not supported"),
    "no Pooling": (_modules("Transformer"), "module chain Transformer is not supported"),
    "two Normalize": (_modules("Transformer", "Pooling", "Normalize", "Normalize"), "module chain"),
    "max pooling": (_pooling(pooling_mode_max_tokens=True), "pooling mode pooling_mode_max_tokens is not supported"),
    "two modes": (_pooling(pooling_mode_mean_tokens=True, pooling_mode_cls_token=True), "pooling mode.*cls.*mean"),
    "no mode": (_pooling(pooling_mode_mean_tokens=False), "pooling mode none is not supported"),
    "unknown word": (_pooling(pooling_mode="lasttoken"), "pooling mode lasttoken is not supported"),
    "prompt left out of the mean": (_pooling(pooling_mode="mean", include_prompt=False), "without the prompt's tokens"),
    "pooling of another width": (
        _pooling(pooling_mode="mean", word_embedding_dimension=32), "expects vectors of 32, the encoder gives 64",
    ),
    "damaged config.json": (_write("config.json", '{"model_type": '), "config.json cannot be read as JSON"),
    "damaged modules.json": (_write("modules.json", "[{"), "modules.json cannot be read as JSON"),
    "config.json holds a list": (_write("config.json", "[]"), "config.json"),
    "modules.json holds other things": (_write("modules.json", '["Transformer"]'), "modules.json"),
    "pooling holds a list": (_write("1_Pooling/config.json", "[]"), "1_Pooling/config.json"),
    "prompts are no table": (_write("config_sentence_transformers.json", '{"prompts": ["q"]}'), "prompts"),
    "config.json is no text": (lambda f: (f / "config.json").write_bytes(b"\xff"), "config.json cannot be read"),
    "an index without its shard": (
        _write("model.safetensors.index.json", '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}'),
        "shards that are not there: model-00001-of-00002.safetensors",
    ),
    "an empty index": (_write("model.safetensors.index.json", "{}"), "shards that are not there: none"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals_name_the_thing(xlmr: Path, copy_of, damage: Callable[[Path], object], message: str) -> None:
    folder = copy_of(xlmr)
    damage(folder)
    with pytest.raises(CheckpointError, match=message) as raised:
        read_folder(folder)
    assert re.search(re.escape(str(folder)), str(raised.value)), "the message names the folder"


def test_a_damaged_tokenizer_is_refused(xlmr: Path, copy_of) -> None:
    folder = copy_of(xlmr)
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer.json cannot be read as a tokenizer"):
        load(folder)
