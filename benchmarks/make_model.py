"""Write an XLM-RoBERTa embedding model with random weights, in the layout that mE5 models are published in.

Speed does not depend on what the weights say, so a random model of the true size measures like the published one.
The default shape is multilingual-e5-large-instruct: 24 layers of 1024, 560 million parameters, float16, 1.1 GB on disk.
The vocabulary comes from a tokenizer folder (tokenizer.json and its two small configs).

    python benchmarks/make_model.py /tmp/me5-random-large --tokenizer path/to/tokenizer
    python benchmarks/make_model.py /tmp/me5-random-base --tokenizer path/to/tokenizer --layers 12 --hidden 768
"""

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "sentencepiece.bpe.model")
MAX_TOKENS = 512
SPREAD = 0.02  # the standard deviation that XLM-RoBERTa was initialised with


def make_config(layers: int, hidden: int, ffn: int, vocabulary: int) -> dict:
    """The config.json of the published instruct model, at the given size."""
    return {
        "architectures": ["XLMRobertaModel"],
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0,
        "classifier_dropout": None,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": hidden,
        "initializer_range": SPREAD,
        "intermediate_size": ffn,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": MAX_TOKENS + 2,  # positions start behind the padding id, which is 1
        "model_type": "xlm-roberta",
        "num_attention_heads": hidden // 64,
        "num_hidden_layers": layers,
        "output_past": True,
        "pad_token_id": 1,
        "position_embedding_type": "absolute",
        "torch_dtype": "float16",
        "transformers_version": "4.39.3",
        "type_vocab_size": 1,
        "use_cache": True,
        "vocab_size": vocabulary,
    }


def tensor_shapes(config: dict) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor in the published file, the unused pooler included."""
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    yield "embeddings.word_embeddings.weight", (config["vocab_size"], hidden)
    yield "embeddings.position_embeddings.weight", (config["max_position_embeddings"], hidden)
    yield "embeddings.token_type_embeddings.weight", (config["type_vocab_size"], hidden)
    norms = ["embeddings.LayerNorm"]
    linears = [("pooler.dense", hidden, hidden)]
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}."
        linears += [(f"{layer}attention.self.{part}", hidden, hidden) for part in ("query", "key", "value")]
        linears += [(f"{layer}attention.output.dense", hidden, hidden)]
        linears += [(f"{layer}intermediate.dense", ffn, hidden), (f"{layer}output.dense", hidden, ffn)]
        norms += [f"{layer}attention.output.LayerNorm", f"{layer}output.LayerNorm"]
    for name, rows, columns in linears:
        yield f"{name}.weight", (rows, columns)
        yield f"{name}.bias", (rows,)
    for name in norms:
        yield f"{name}.weight", (hidden,)
        yield f"{name}.bias", (hidden,)


def spread_of(name: str, layers: int) -> float:
    """The standard deviation of one tensor.

    What all texts have in common is kept small, or else every two texts would have a cosine near 1 and a wrong engine
    would pass for right: biases, positions and token types a quarter, and what a layer adds shrinks with the depth.
    """
    if name.endswith(".bias") or name.startswith(("embeddings.position", "embeddings.token_type")):
        return SPREAD / 4
    return SPREAD / (2 * layers) ** 0.5 if name.endswith("output.dense.weight") else SPREAD


def random_weights(config: dict, seed: int) -> dict[str, np.ndarray]:
    """Every tensor as float16. Biases and norms are random too: an engine that drops one gives other vectors."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in tensor_shapes(config):
        values = rng.standard_normal(shape, dtype=np.float32)
        values *= np.float32(spread_of(name, config["num_hidden_layers"]))
        if name.endswith("LayerNorm.weight"):
            values += 1
        weights[name] = values.astype(np.float16)
    return weights


def write_configs(folder: Path, config: dict) -> None:
    """The small JSON files that make the folder a sentence-transformers model: mean pooling, then unit length."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    pooling = {"word_embedding_dimension": config["hidden_size"], "pooling_mode_cls_token": False}
    pooling |= {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}
    pooling |= {"pooling_mode_mean_sqrt_len_tokens": False, "pooling_mode_weightedmean_tokens": False}
    pooling |= {"pooling_mode_lasttoken": False, "include_prompt": True}
    versions = {"sentence_transformers": "2.4.0.dev0", "transformers": "4.37.0", "pytorch": "2.1.0+cu121"}
    files = {
        "config.json": config,
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(modules)
        ],
        "1_Pooling/config.json": pooling,
        "config_sentence_transformers.json": {"__version__": versions},
        "sentence_xlm-roberta_config.json": {"max_seq_length": MAX_TOKENS, "do_lower_case": False},
    }
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def vocabulary_size(tokenizer: Path) -> int:
    """One more than the highest id that the tokenizer can give."""
    content = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    pieces = len(content["model"]["vocab"])
    return max([pieces] + [token["id"] + 1 for token in content["added_tokens"]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write; it must not exist yet")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with tokenizer.json of XLM-RoBERTa")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--hidden", type=int, default=1024, help="a multiple of 64, the width of one attention head")
    parser.add_argument("--ffn", type=int, help="width of the feed-forward layers (default: 4 x hidden)")
    parser.add_argument("--vocabulary", type=int, default=0, help="rows of the word table (default: the tokenizer's)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.hidden % 64:
        parser.error(f"--hidden must be a multiple of 64, not {args.hidden}")
    if not (args.tokenizer / "tokenizer.json").is_file():
        parser.error(f"no tokenizer.json in {args.tokenizer}")
    if args.out.exists():
        parser.error(f"{args.out} exists; delete it first or choose another folder")

    vocabulary = max(args.vocabulary, vocabulary_size(args.tokenizer))
    config = make_config(args.layers, args.hidden, args.ffn or 4 * args.hidden, vocabulary)
    write_configs(args.out, config)
    for name in TOKENIZER_FILES:
        if (args.tokenizer / name).is_file():
            shutil.copyfile(args.tokenizer / name, args.out / name)
    weights = random_weights(config, args.seed)
    save_file(weights, args.out / "model.safetensors", metadata={"format": "pt"})
    parameters = sum(tensor.size for tensor in weights.values())
    print(f"wrote {parameters:,} parameters, vocabulary of {config['vocab_size']:,}, to {args.out}")


if __name__ == "__main__":
    main()
