"""Where results go is looked at before the work, and what cannot go there is refused with what can."""

import pytest


@pytest.mark.parametrize(
    "command",
    [
        "embed texts.txt -o nosuch/x.npy",
        "cluster vectors.npy -o nosuch/x.jsonl",
        "duplicates vectors.npy -o nosuch/x.jsonl",
        "calibrate no-model pairs.jsonl --out nosuch/x",
        "calibrate no-model pairs.jsonl --judge c.json --out nosuch/x",
        "eval speed no-set -o nosuch/x",
        "eval report no-results -o nosuch/x.html",
        "trim no-model --texts no.txt --out nosuch/x.gguf",
        "export no-model --to nosuch/x.gguf",
    ],
)
def test_a_folder_that_does_not_exist_is_told_before_any_work(command, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("tea")
    code, _, errors = run(*command.split())
    assert code == 2
    assert "the folder of nosuch/x" in errors
    assert "does not exist; create it, or write elsewhere" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["texts.txt"]


@pytest.mark.parametrize(
    "command",
    ["trim no-model --texts no.txt --out", "export no-model --to", "data tokenizer no-set --pieces 50000 --out"],
)
def test_a_folder_that_cannot_be_made_is_told_before_any_work(command, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("tea")
    code, _, errors = run(*command.split(), "texts.txt/x")
    assert code == 2
    assert f"texts.txt/x cannot be written: {tmp_path}/texts.txt is no folder that takes it" in errors


def test_a_report_takes_no_inputs_place(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.json").write_text("{}")
    code, _, errors = run("calibrate", "no-model", "pairs.json", "--out", "pairs")
    assert (code, "pairs.json is also the input, and would be replaced" in errors) == (2, True)


@pytest.mark.parametrize("command", ["export no-model --to", "trim no-model --texts texts.txt --out"])
@pytest.mark.parametrize("name", ["x.onnx", "model.safetensors", "x.GGML", "x.tar.gz"])
def test_a_model_is_written_as_a_folder_or_as_gguf(command, name, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("tea")
    code, _, errors = run(*command.split(), name)
    assert code == 2
    assert f"{name} has the name of a file" in errors
    assert "expected a file that ends in .gguf, or a folder" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["texts.txt"]
