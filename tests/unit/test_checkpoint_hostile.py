"""Folders made to harm or by mistake: refused with the field's name, before any memory is taken for them."""

import json
import shutil
from pathlib import Path

import pytest
from checkpoints import edit_json, write_json
from vectors import load

import me5
from me5 import CheckpointError
from me5.checkpoint import read_folder

DEEP = "[" * 100_000
CONFIG = "config.json"
FIELDS = {
    CONFIG: [
        ("num_hidden_layers", 1e9), ("num_hidden_layers", 10**9), ("num_hidden_layers", 0), ("num_hidden_layers", -1),
        ("num_hidden_layers", True), ("num_hidden_layers", 2.5), ("num_hidden_layers", [2]), ("vocab_size", 10**12),
        ("vocab_size", -5), ("hidden_size", 0), ("hidden_size", "64"), ("num_attention_heads", 0),
        ("num_attention_heads", -4), ("intermediate_size", {}), ("max_position_embeddings", 2),
        ("max_position_embeddings", 4), ("max_position_embeddings", 10**15), ("type_vocab_size", 0),
        ("pad_token_id", -1), ("pad_token_id", -600), ("pad_token_id", 10**6), ("pad_token_id", 1.0),
        ("layer_norm_eps", "small"), ("layer_norm_eps", float("nan")), ("layer_norm_eps", float("inf")),
        ("layer_norm_eps", -1e-5), ("hidden_dropout_prob", 1.5), ("attention_probs_dropout_prob", "none"),
    ],
    "sentence_bert_config.json": [
        ("max_seq_length", -1), ("max_seq_length", 2), ("max_seq_length", "512"), ("max_seq_length", True),
        ("max_seq_length", 12.5), ("max_seq_length", [512]), ("do_lower_case", "false"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "field", "value"), [(file, *field) for file, fields in FIELDS.items() for field in fields], ids=str
)
def test_a_field_out_of_its_bounds_is_named(xlmr, copy_of, file, field, value):
    folder = copy_of(xlmr)
    edit_json(folder / file, **{field: value})
    with pytest.raises(CheckpointError, match=field) as raised:
        read_folder(folder)
    assert str(folder) in str(raised.value)


@pytest.mark.parametrize("value", ["512", True, [1], -3, 0, float("nan")])
def test_a_limit_of_the_tokenizer_that_is_none_is_named(xlmr, copy_of, value):
    folder = copy_of(xlmr)
    (folder / "sentence_bert_config.json").unlink()
    write_json(folder / "tokenizer_config.json", {"model_max_length": value})
    with pytest.raises(CheckpointError, match="model_max_length is"):
        read_folder(folder)


OUTSIDE = ["../other", "/etc/passwd", "a/../../other", ".."]


@pytest.mark.parametrize("name", [*OUTSIDE, "sub/model.safetensors", ""])
def test_weights_outside_the_folder_are_not_opened(xlmr, copy_of, name):
    folder = copy_of(xlmr)
    shutil.copytree(xlmr, folder.parent / "other")
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"a": name}})
    with pytest.raises(CheckpointError, match=r"weight_map names .*, expected a file of the folder itself"):
        read_folder(folder)


@pytest.mark.parametrize("path", OUTSIDE)
def test_pooling_outside_the_folder_is_not_read(xlmr, copy_of, path):
    folder = copy_of(xlmr)
    modules = [{"path": "", "type": "s.Transformer"}, {"path": path, "type": "s.Pooling"}]
    write_json(folder / "modules.json", modules)
    with pytest.raises(CheckpointError, match=r"modules.json: path is .* leads out of the folder"):
        read_folder(folder)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors.index.json", '{"weight_map": ["a"]}'),
        ("model.safetensors.index.json", '{"weight_map": {"a": 7}}'),
        ("model.safetensors.index.json", json.dumps({"weight_map": {"a": "x" * 300}})),
        ("modules.json", '[{"type": "Transformer", "path": ""}, {"type": "Pooling", "path": "' + "y" * 300 + '"}]'),
        ("config.json", DEEP),
        ("modules.json", DEEP),
        ("config_sentence_transformers.json", '{"prompts": {"query": 7}}'),
        ("1_Pooling/config.json", '{"pooling_mode": {"a": 1}}'),
        ("1_Pooling/config.json", '{"pooling_mode": "mean", "word_embedding_dimension": "64"}'),
        ("tokenizer.json", DEEP),
        ("tokenizer.json", "\x00"),
    ],
)
def test_damaged_files_are_refused_by_name(xlmr, copy_of, file, content):
    folder = copy_of(xlmr)
    (folder / file).write_text(content)
    with pytest.raises(CheckpointError, match=str(folder)):
        load(folder)


def test_a_tokenizer_of_another_model_is_refused(xlmr, copy_of):
    folder = copy_of(xlmr)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"] += [[f"more{number}", -20.0] for number in range(2000)]
    write_json(folder / "tokenizer.json", content)
    with pytest.raises(CheckpointError, match=r"tokenizer.json has [\d,]+ tokens, vocab_size of config.json is"):
        load(folder)


def test_a_byte_order_mark_harms_nothing(xlmr, copy_of):
    folder = copy_of(xlmr)
    path = folder / CONFIG
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_folder(folder).config == read_folder(xlmr).config


def test_a_folder_of_a_run_is_called_by_the_run(xlmr, tmp_path, monkeypatch):
    for run in ("first", "second"):
        shutil.copytree(xlmr, tmp_path / run / "model")
        (tmp_path / run / "run.json").write_text("{}")
        assert read_folder(tmp_path / run / "model").name == run
    monkeypatch.chdir(tmp_path / "first" / "model")
    assert read_folder(Path()).name == "first"
    assert read_folder(Path("../../second/model")).name == "second"
    (tmp_path / "first" / "run.json").unlink()
    assert read_folder(Path()).name == "model"


def test_arrays_are_loaded_without_pickles_by_name():
    for path in Path(me5.__file__).parent.rglob("*.py"):
        for call in path.read_text("utf-8").split("np.load(")[1:]:
            assert "allow_pickle=False" in call[:120], path
