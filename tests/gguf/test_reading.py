"""GGUF files of other people: the same network, tokenizer and vectors as the folder that they were converted from."""

import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import converted
import gguf
import hypothesis.strategies as st
import numpy as np
import pytest
from checkpoints import SENTENCES, Recipe
from hypothesis import example, given, settings
from safetensors.numpy import load_file

from me5 import CheckpointError, Embedder
from me5.checkpoint import read, resolve
from me5.gguf import header
from me5.tokenizer import Tokenizer
from me5.weights import Weights

ODD = ("", "  Two  spaces,\ttabs\nand lines ", "ÉCOLE ﬁne ＡＢＣ ｶﾀｶﾅ", "e\u0301cole", "a <mask> b", "</s><s>",
       "[PAD1] [PAD900]", "zero\u200bwidth\u00a0space", "▁word", "🙂 ∰")  # fmt: skip
RECIPES = {
    "xlm-roberta": Recipe(),
    "bert": Recipe("bert"),
    "wordpiece": Recipe("bert", "wordpiece"),
    "cls": Recipe(pooling="cls"),
}


def ids(path: Path, texts: Any) -> list[list[int]]:
    checkpoint = read(path)
    tokenizer = Tokenizer(checkpoint.tokenizer, checkpoint.config.max_tokens)
    return [sequence.tolist() for sequence in tokenizer.prepare(texts, "", "end").sequences]


@pytest.mark.parametrize("recipe", RECIPES)
def test_same_vectors_to_the_bit(
    recipe: str, build_folder: Any, mapped: Callable[[Path], Path], tmp_path: Path
) -> None:
    folder = mapped(build_folder(RECIPES[recipe]))
    path = converted.convert(folder, tmp_path / "tiny.gguf")
    from_folder, from_file = (Embedder.load(place, precision="f32", prompts="none") for place in (folder, path))
    np.testing.assert_array_equal(from_file.encode(SENTENCES), from_folder.encode(SENTENCES))
    assert from_file.max_seq_length == from_folder.max_seq_length


@pytest.mark.parametrize("recipe", ["xlm-roberta", "bert", "wordpiece"])
def test_same_tokens(recipe: str, build_folder: Any, mapped: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = mapped(build_folder(RECIPES[recipe]))
    path = converted.convert(folder, tmp_path / "tiny.gguf")
    assert ids(path, (*SENTENCES, *ODD)) == ids(folder, (*SENTENCES, *ODD))


def test_same_tokens_without_a_mask(xlmr_folder: Path, tmp_path: Path) -> None:
    """SentencePiece models have none, so that the converter names its id and nothing else."""
    path = converted.convert(xlmr_folder, tmp_path / "tiny.gguf", from_sentencepiece=True)
    assert ids(path, (*SENTENCES, *ODD)) == ids(xlmr_folder, (*SENTENCES, *ODD))


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_every_type(kind: str, xlmr_folder: Path, tmp_path: Path) -> None:
    path = converted.convert(xlmr_folder, tmp_path / "tiny.gguf", kind=kind)
    checkpoint = read(path)
    weights = Weights(checkpoint.weights, checkpoint.config)
    original = load_file(xlmr_folder / "model.safetensors")["embeddings.word_embeddings.weight"]
    number = gguf.GGMLQuantizationType[kind]
    rounded = gguf.dequantize(gguf.quantize(original, number), number)
    np.testing.assert_array_equal(weights.float32("words"), rounded)
    rows = np.array([[5, 0, 7], [7, 7, 1]])
    np.testing.assert_array_equal(weights.rows("words", rows), rounded[rows])
    assert weights.dtype("words") == kind
    assert weights.dtype("embedding_norm.bias") == "F32"


def test_vectors_of_blocks_are_those_of_the_rounded_weights(xlmr_folder: Path, tmp_path: Path) -> None:
    """A folder with the rounded numbers is the truth."""

    def rounded(tensors: dict[str, Any]) -> None:
        number = gguf.GGMLQuantizationType.Q8_0
        for name, tensor in tensors.items():
            if tensor.ndim == 2 and "position" not in name and "token_type" not in name:
                array = gguf.dequantize(gguf.quantize(tensor.numpy(), number), number)
                tensors[name] = tensor.new_tensor(array)

    folder = tmp_path / "rounded"
    shutil.copytree(xlmr_folder, folder)
    checkpoints.change_weights(folder, rounded)
    path = converted.convert(xlmr_folder, tmp_path / "tiny.gguf", kind="Q8_0")
    from_folder, from_file = (Embedder.load(place, precision="f32", prompts="none") for place in (folder, path))
    np.testing.assert_array_equal(from_file.encode(SENTENCES), from_folder.encode(SENTENCES))


def test_prompts_come_from_the_name_of_a_known_model(xlmr_folder: Path, tmp_path: Path) -> None:
    named = converted.convert(
        xlmr_folder, tmp_path / "any.gguf", settings={"general.name": "Multilingual E5 Large Instruct"}
    )
    assert read(named).prompts.style == "instruct"  # type: ignore[union-attr]
    by_file = converted.convert(
        xlmr_folder, tmp_path / "multilingual-e5-small-Q8_0.gguf", settings={"general.name": None}
    )
    assert read(by_file).prompts.query == "query: "  # type: ignore[union-attr]
    assert read(converted.convert(xlmr_folder, tmp_path / "unknown.gguf")).prompts is None


def test_a_pickle_loads_the_file_again(xlmr_file: Path) -> None:
    embedder = Embedder.load(str(xlmr_file), precision="f32", prompts="prefix")
    again = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(again.encode_query(SENTENCES[:3]), embedder.encode_query(SENTENCES[:3]))


def refused(folder: Path, path: Path, message: str, **options: Any) -> None:
    with pytest.raises(CheckpointError, match=message):
        Embedder.load(converted.convert(folder, path, **options), precision="f32", prompts="none")


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("architecture 'llama'", {"settings": {"general.architecture": "llama"}}),
        ("pooling_type is 4", {"settings": {"bert.pooling_type": 4}}),
        ("pooling_type is None", {"settings": {"bert.pooling_type": None}}),
        ("attention is causal", {"settings": {"bert.attention.causal": True}}),
        ("num_hidden_layers is missing", {"settings": {"bert.block_count": None}}),
        ("num_hidden_layers is 1000000", {"settings": {"bert.block_count": 1_000_000}}),
        ("not a multiple of 5 heads", {"settings": {"bert.attention.head_count": 5}}),
        ("context_length is 0", {"settings": {"bert.context_length": 0}}),
        ("kind 'gpt2'", {"settings": {"tokenizer.ggml.model": "gpt2"}}),
        ("without ▁", {"settings": {"tokenizer.ggml.add_space_prefix": False}}),
        ("tokens is missing", {"settings": {"tokenizer.ggml.tokens": None}}),
        ("token_type is missing", {"settings": {"tokenizer.ggml.token_type": None}}),
        ("2 token types", {"settings": {"tokenizer.ggml.token_type": [1, 1]}}),
        ("bos_token_id is missing", {"settings": {"tokenizer.ggml.bos_token_id": None}}),
        ("bos_token_id is 9999999", {"settings": {"tokenizer.ggml.bos_token_id": 9_999_999}}),
        ("prompts is '\\[1\\]'", {"settings": {"me5.prompts": "[1]"}}),
        ("blk.1.ffn_up.bias is missing", {"change": lambda tensors: tensors.pop("blk.1.ffn_up.bias")}),
        ("token_embd.weight is missing", {"change": lambda tensors: tensors.pop("token_embd.weight")}),
        ("blk.0.extra is in", {"change": lambda tensors: tensors.update({"blk.0.extra": np.zeros(3, np.float32)})}),
        (
            "blk.0.attn_q.bias has shape",
            {"change": lambda tensors: tensors.update({"blk.0.attn_q.bias": np.zeros(3, np.float32)})},
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    message: str, options: dict[str, Any], xlmr_folder: Path, tmp_path: Path
) -> None:
    refused(xlmr_folder, tmp_path / "tiny.gguf", message, **options)


# A trie whose first node leads to a second that is not there, and the text it would lead to.
LED_ASTRAY = struct.pack("<III", 8, 0x7FFFFEFF, 0) + b"abc\0"


def test_a_map_of_characters_that_leads_astray(xlmr_folder: Path, tmp_path: Path) -> None:
    """The tokenizers library panics at it."""
    refused(
        xlmr_folder, tmp_path / "tiny.gguf", r"tiny\.gguf: its tokenizer is damaged, or made to harm",
        settings={"tokenizer.ggml.precompiled_charsmap": LED_ASTRAY},
    )  # fmt: skip
    whole = converted.characters()
    units = np.frombuffer(whole, "<u4", (len(whole) - 4) // 4, 4)[: int.from_bytes(whole[:4], "little") // 4].copy()
    offset = (units[0] >> 10) << ((units[0] & 512) >> 6)
    units[offset ^ "α".encode()[0]] |= 0x7FFFFC00  # where all that begins with this byte goes on
    damaged = whole[:4] + units.tobytes() + whole[4 + units.nbytes :]
    settings = {"tokenizer.ggml.precompiled_charsmap": damaged}
    checkpoint = read(converted.convert(xlmr_folder, tmp_path / "tiny.gguf", settings=settings))
    tokenizer = Tokenizer(checkpoint.tokenizer, 64)
    assert len(tokenizer.prepare(["a"], "", "end").sequences) == 1
    with pytest.raises(CheckpointError, match=r"tiny\.gguf: its tokenizer is damaged"):
        tokenizer.prepare(["α"], "", "end")


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(CheckpointError, match=r"not a folder or \.gguf file"):
        resolve("nowhere.gguf")


def test_files_that_are_none(tmp_path: Path) -> None:
    for content, message in ((b"", "0 bytes"), (b"x" * 100, "begins with"), (b"GGUF" + b"\0\0\0\3" * 9, "version")):
        path = tmp_path / "tiny.gguf"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            read(path)


def head(tensors: int, pairs: int, *parts: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + b"".join(parts)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


@pytest.mark.parametrize(
    "content",
    [
        head(1 << 60, 0),
        head(0, 1 << 60),
        head(0, 1, struct.pack("<Q", 1 << 62)),
        head(0, 1, text(b"key"), struct.pack("<I", 99)),
        head(0, 1, text(b"key"), struct.pack("<IIQ", 9, 8, 1 << 61)),
        head(0, 1, text(b"key"), struct.pack("<IIQ", 9, 4, 1 << 61)),
        head(0, 1, text(b"key"), struct.pack("<IIQ", 9, 9, 1)),
        head(0, 2, *[text(b"key") + struct.pack("<II", 4, 1)] * 2),
        head(1, 0, text(b"tensor"), struct.pack("<I", 9)),
        head(1, 0, text(b"tensor"), struct.pack("<IQIQ", 1, 1 << 62, 0, 0)),
        head(1, 0, text(b"tensor"), struct.pack("<IQIQ", 1, 1, 200, 0)),
        head(1, 0, text(b"tensor"), struct.pack("<IQIQ", 1, 1, 0, 1 << 62)),
        head(1, 0, text(b"tensor"), struct.pack("<IQIQ", 1, 33, 8, 0)),
        head(2, 0, *[text(b"tensor") + struct.pack("<IQIQ", 1, 1, 0, 0)] * 2, b"\0" * 64),
    ],
    ids=map(str, range(14)),
)
def test_heads_made_to_harm(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(content + b"\0" * 32)
    with pytest.raises(CheckpointError, match=r"tiny\.gguf"):
        header.read(path)


@given(strings=st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
@example(strings=[])
@example(strings=[""])
@example(strings=["", "a\0b", "", "é▁🙂", "\0"])
@example(strings=["a", "", "b" * 300])
def test_any_strings(strings: list[str], tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("strings") / "tiny.gguf"
    path.write_bytes(
        head(0, 2, text(b"key"), struct.pack("<IIQ", 9, 8, len(strings)), *(text(each.encode()) for each in strings),
             text(b"next"), struct.pack("<II", 4, 7))
    )  # fmt: skip
    file = header.read(path)
    assert file.strings("key") == strings
    assert file.settings["next"] == 7


@pytest.mark.parametrize("before", [b"a", b"a\0b"])
def test_what_is_no_text_is_named(before: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    items = (before, "é".encode()[:1], "é".encode()[1:])
    path.write_bytes(head(0, 1, text(b"key"), struct.pack("<IIQ", 9, 8, 3), *map(text, items)))
    with pytest.raises(CheckpointError, match=r"tiny\.gguf: item 1 of key is not valid UTF-8"):
        header.read(path).strings("key")


@settings(max_examples=100)
@given(data=st.data())
def test_damage_is_an_error_of_ours(data: st.DataObject, xlmr_file: Path, tmp_path_factory: Any) -> None:
    """Cut anywhere, or with a byte changed anywhere in its head, a file loads or is refused."""
    content = bytearray(xlmr_file.read_bytes())
    size = min(tensor.start for tensor in header.read(xlmr_file).tensors.values())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        at = data.draw(st.integers(0, size - 1))
        content[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / "tiny.gguf"
    path.write_bytes(content)
    try:
        checkpoint = read(path)
        Weights(checkpoint.weights, checkpoint.config)
        Tokenizer(checkpoint.tokenizer, checkpoint.config.max_tokens)
    except CheckpointError as error:
        message = str(error)
    else:
        message = str(path.parent)
    assert str(path.parent) in message
