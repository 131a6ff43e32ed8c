"""The vectors of a teacher: made once for everything that decides them, and never taken for those of another."""

import json
from collections.abc import Callable
from pathlib import Path

import checkpoints
import numpy as np
import pytest
import tiny

from me5 import Embedder
from me5.data import vectors
from me5.training import teacher

CHANGES: dict[str, Callable[[Path], None]] = {
    "weights": lambda folder: checkpoints.change_weights(
        folder, lambda tensors: tensors["encoder.layer.1.output.LayerNorm.bias"].add_(0.5)
    ),
    "tokenizer": lambda folder: drop_pieces(folder / "tokenizer.json"),
    "lower case": lambda folder: checkpoints.edit_json(folder / "sentence_bert_config.json", do_lower_case=True),
    "pooling": lambda folder: checkpoints.edit_json(
        folder / "1_Pooling/config.json", pooling_mode_mean_tokens=False, pooling_mode_cls_token=True
    ),
    "prompts": lambda folder: checkpoints.edit_json(
        folder / "config_sentence_transformers.json", prompts={"query": "Q: ", "document": "D: "}
    ),
    "length": lambda folder: checkpoints.edit_json(folder / "sentence_bert_config.json", max_seq_length=5),
}


def drop_pieces(path: Path) -> None:
    """Take the longer half of the pieces out of use; ids stay."""
    content = json.loads(path.read_text("utf-8"))
    vocab = content["model"]["vocab"]
    content["model"]["vocab"] = [[piece, score if len(piece) < 3 else -1e4] for piece, score in vocab]
    checkpoints.write_json(path, content)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.filterwarnings("ignore::me5.TruncationWarning")
def test_whatever_decides_a_vector_decides_which_are_read(tmp_path, xlmr, copy_of, monkeypatch, change: str) -> None:
    dataset = tiny.write_data(tmp_path / "data")
    model = copy_of(xlmr)

    def taken() -> np.ndarray:
        opened = teacher.open_vectors(dataset, str(model), tmp_path / "cache", advance=lambda *_: None)
        return opened.take(np.arange(len(opened)))

    before = taken()
    with monkeypatch.context() as patched:
        patched.setattr(Embedder, "stream", None)  # nothing is embedded twice
        np.testing.assert_array_equal(taken(), before)
    CHANGES[change](model)
    after = taken()
    assert (np.abs(after - before).max(axis=1) > 1e-3).mean() > 0.5  # some texts have no upper case, or are short
    expected = Embedder.load(model, prompts=None if change == "prompts" else "none").encode(
        [query.text for query in dataset.queries()]
    )
    np.testing.assert_array_equal(after, expected.astype(np.float16))


def test_a_precision_is_part_of_it(tmp_path, xlmr, monkeypatch) -> None:
    dataset = tiny.write_data(tmp_path / "data")
    checkpoint = teacher.resolve(xlmr)
    paths = set()
    for precision in ("f32", "bf16"):
        monkeypatch.setattr(teacher, "resolve_precision", lambda device, precision=precision: precision)
        paths.add(teacher.folder_of(tmp_path, dataset, teacher.version_of(checkpoint, "cpu")))
    assert len(paths) == 2


def test_a_run_that_was_killed_resumes_bit_exactly(tmp_path, xlmr, monkeypatch) -> None:
    """After one shard of queries: that shard is read, the others are computed."""
    dataset = tiny.write_data(tmp_path / "data")
    count = dataset.counts["queries"]
    monkeypatch.setattr(vectors, "SHARD_TEXTS", 5)
    whole = teacher.open_vectors(dataset, str(xlmr), tmp_path / "whole", advance=lambda *_: None)
    stream, embedded = Embedder.stream, []

    def until(most: int):
        def killed(self, texts, *args, **options):
            texts = list(texts)
            if len(embedded) + len(texts) > most:
                raise KeyboardInterrupt
            embedded.extend(texts)
            return stream(self, texts, *args, **options)

        return killed

    monkeypatch.setattr(Embedder, "stream", until(5))
    with pytest.raises(KeyboardInterrupt):
        teacher.open_vectors(dataset, str(xlmr), tmp_path / "cache", advance=lambda *_: None)
    assert len(embedded) == 5
    monkeypatch.setattr(Embedder, "stream", until(count))
    resumed = teacher.open_vectors(dataset, str(xlmr), tmp_path / "cache", advance=lambda *_: None)
    assert embedded == [query.text for query in dataset.queries()]
    rows = np.arange(count)
    np.testing.assert_array_equal(resumed.take(rows), whole.take(rows))
