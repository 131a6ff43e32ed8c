"""The files that some engines read in place of the published folder, made once per model and kept.

encode.py runs this in the engine's own Python, because the libraries that export disagree about versions:

    python -m harness.exports KIND SOURCE OUT        run in benchmarks/; KIND is a key of EXPORTS below

SOURCE is the model folder, or for the int8 kinds the folder of the float export that they start from.
"""

import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

# An export that starts from another export, not from the model folder.
BASES = {"onnx-int8": "onnx", "openvino-int8": "openvino"}
SMALL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def destination(kind: str, model: Path, cache: Path) -> Path:
    """Where the export of this model lies: another model under the same name gets another folder."""
    weights = (model / "model.safetensors").stat()
    config = (model / "config.json").read_bytes()
    key = hashlib.sha256(config + f"{weights.st_size} {weights.st_mtime_ns}".encode()).hexdigest()[:12]
    return cache / f"{key}-{kind}"


def torch_encoder(source: Path):
    """The encoder as a float32 torch module of (ids, mask) -> last hidden state, with two inputs to trace it by."""
    import torch
    from transformers import AutoModel

    class Encoder(torch.nn.Module):
        def __init__(self, model: torch.nn.Module):
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    model = AutoModel.from_pretrained(source, dtype=torch.float32)
    ids = torch.full((2, 7), 5, dtype=torch.int64)
    return Encoder(model).eval(), (ids, torch.ones_like(ids))


def export_onnx(source: Path, out: Path) -> None:
    """Float32 ONNX through torch.onnx, weights beside the graph, and what fastembed wants to find next to it."""
    import torch

    encoder, inputs = torch_encoder(source)
    names = ["input_ids", "attention_mask"]
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    torch.onnx.export(
        encoder,
        inputs,
        out / "model.onnx",
        input_names=names,
        output_names=["last_hidden_state"],
        dynamo=True,
        dynamic_shapes=dict.fromkeys(names, free),
    )
    for name in SMALL_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)


def export_onnx_int8(source: Path, out: Path) -> None:
    """ONNX Runtime's own dynamic quantization: weights per channel, activations per tensor."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(source / "model.onnx", out / "model.onnx", per_channel=True, weight_type=QuantType.QInt8)


def export_openvino(source: Path, out: Path) -> None:
    """OpenVINO's conversion of the torch module, weights kept in float32."""
    import openvino

    encoder, inputs = torch_encoder(source)
    shapes = [openvino.PartialShape([-1, -1])] * 2
    model = openvino.convert_model(encoder, example_input=inputs, input=shapes)
    openvino.save_model(model, out / "model.xml", compress_to_fp16=False)


def export_openvino_int8(source: Path, out: Path) -> None:
    """NNCF's weight compression; the runtime quantizes the activations as it goes."""
    import nncf
    import openvino

    model = openvino.Core().read_model(source / "model.xml")
    model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    openvino.save_model(model, out / "model.xml", compress_to_fp16=False)


def export_ctranslate2(source: Path, out: Path, quantization: str = "float32") -> None:
    """CTranslate2's converter for BERT and XLM-RoBERTa."""
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(source)).convert(str(out), quantization=quantization, force=True)


def export_sentence_transformers(source: Path, out: Path, backend: str) -> None:
    """The folder that sentence-transformers advises to save, so that it need not export at every start."""
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(source), device="cpu", backend=backend).save_pretrained(str(out))


def export_gguf(source: Path, out: Path) -> None:
    """The one file of llama.cpp: layers in 8-bit blocks, the word table in 4-bit ones."""
    from me5.checkpoint import resolve
    from me5.export import export

    export(resolve(source), out / "model.gguf", matrices="q8_0", words="q4_0")


EXPORTS: dict[str, Callable[[Path, Path], None]] = {
    "onnx": export_onnx,
    "onnx-int8": export_onnx_int8,
    "openvino": export_openvino,
    "openvino-int8": export_openvino_int8,
    "ctranslate2": export_ctranslate2,
    "ctranslate2-int8": lambda source, out: export_ctranslate2(source, out, "int8"),
    "gguf": export_gguf,
    "st-onnx": lambda source, out: export_sentence_transformers(source, out, "onnx"),
    "st-openvino": lambda source, out: export_sentence_transformers(source, out, "openvino"),
}


def main() -> None:
    kind, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    unfinished = out.with_name(out.name + ".unfinished")  # renamed at the end, so that a broken export is never used
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    EXPORTS[kind](source, unfinished)
    unfinished.rename(out)


if __name__ == "__main__":
    main()
