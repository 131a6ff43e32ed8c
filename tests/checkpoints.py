"""Builds tiny but complete model folders of the published layout, with random weights and a tokenizer made here.

`build` writes a folder from a `Recipe`. The tensor names and shapes come from transformers' own model classes, not from
me5. All parameters, biases and norms too, are drawn wide, so that texts get clearly different vectors.
"""

import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

# Real sentences: what the tiny tokenizers are made of, and what vectors are compared on.
SENTENCES = (
    "How much protein should a female eat every day?",
    "The CDC's average requirement of protein for women ages 19 to 70 is 46 grams per day.",
    "Wie hoch ist der höchste Berg der Welt?",
    "Der Mount Everest ist mit 8.849 Metern über dem Meeresspiegel der höchste Berg der Erde.",
    "Quelle est la capitale de l'Australie ?",
    "Canberra est la capitale fédérale de l'Australie, entre Sydney et Melbourne.",
    "¿Cuántos huesos tiene el cuerpo humano adulto?",
    "El esqueleto de una persona adulta está formado por 206 huesos.",
    "Сколько планет в Солнечной системе?",
    "В Солнечной системе восемь планет: четыре земной группы и четыре гиганта.",
    "南瓜的家常做法",
    "清炒南瓜丝:嫩南瓜半个,削去表面一层皮,用勺子刮去瓤,擦成细丝。",
    "日本で一番高い山は何ですか。",
    "富士山は標高3,776メートルで、日本の最高峰である。",
    "대한민국의 수도는 어디입니까?",
    "서울특별시는 대한민국의 수도이자 최대 도시이다.",
    "ما هي عاصمة مصر؟",
    "القاهرة هي عاصمة جمهورية مصر العربية وأكبر مدنها.",
    "भारत की राजधानी क्या है?",
    "नई दिल्ली भारत की राजधानी है।",
    "เมืองหลวงของประเทศไทยคืออะไร",
    "Türkiye'nin en uzun nehri hangisidir?",
    "Kızılırmak, tamamı Türkiye sınırları içinde akan en uzun nehirdir.",
    "Mji mkuu wa Kenya ni upi?",
    "ok",
    "Tiếng Việt được viết bằng chữ Quốc ngữ, dùng chữ cái Latinh với nhiều dấu thanh.",
)
E5_PROMPTS = {"query": "query: ", "document": "passage: "}

Body = Literal["xlm-roberta", "bert"]


def passages(count: int, *, most: int = 6) -> list[str]:
    """Longer texts: the same ones every time, of 2 to `most` sentences of mixed languages."""
    choose = random.Random(0)
    return [" ".join(choose.sample(SENTENCES, choose.randint(2, most))) for _ in range(count)]


@dataclass(frozen=True)
class Recipe:
    """What a folder holds. `extras` adds the tensors that published files carry and no vector needs."""

    body: Body = "xlm-roberta"
    tokenizer: Literal["unigram", "wordpiece"] = "unigram"
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    shards: int = 1
    prefix: str = ""
    extras: bool = False
    pooling: Literal["mean", "cls"] = "mean"
    normalize: bool = True
    prompts: Mapping[str, str] = field(default_factory=dict)
    max_seq_length: int = 512
    lower_case: bool = False
    seed: int = 0

    def __hash__(self) -> int:
        return hash(repr(self))


XLMR = Recipe()
# As multilingual-e5-small: XLM-R's tokenizer on a BERT body, more rows than tokens, another pad id in config.json.
BERT = Recipe("bert")
# As all-MiniLM-L6-v2.
BERT_WORDPIECE = Recipe("bert", "wordpiece")


def build(folder: Path, recipe: Recipe = XLMR) -> Path:
    """Write a complete folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _unigram() if recipe.tokenizer == "unigram" else _wordpiece()
    _write_tokenizer(folder, tokenizer, recipe)
    _write_weights(folder, recipe, tokenizer.get_vocab_size())
    _write_sentence_transformers_files(folder, recipe)
    return folder


def build_tokenizer(folder: Path) -> Path:
    """Write a tokenizer of XLM-RoBERTa's form alone, for a network to come, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(folder, _unigram(), XLMR)
    return folder


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def edit_json(path: Path, **changes: Any) -> None:
    """Change top-level keys of a JSON file; a value of None deletes the key."""
    content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    write_json(path, {key: value for key, value in content.items() if value is not None})


def _unigram() -> Tokenizer:
    """All substrings of up to four characters of the sentences' words, with XLM-R's ids, template and steps."""
    pieces: Counter[str] = Counter()
    for word in ("▁" + word for sentence in SENTENCES for word in sentence.split()):
        for start in range(len(word)):
            pieces.update(word[start:end] for end in range(start + 1, min(start + 4, len(word)) + 1))
    total = sum(pieces.values())
    kept = [piece for piece, count in sorted(pieces.items()) if count > 1 or len(piece) == 1]
    vocab = [(special, 0.0) for special in ("<s>", "<pad>", "</s>", "<unk>")]
    vocab += [(piece, math.log(pieces[piece] * len(piece) ** 2 / total)) for piece in kept]
    tokenizer = Tokenizer(models.Unigram([*vocab, ("<mask>", 0.0)], unk_id=3))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return tokenizer


def _wordpiece() -> Tokenizer:
    """Every character, first and continued, and the sentences' words, with BERT's ids, template and steps."""
    text = " ".join(SENTENCES).lower()
    words = sorted(set(re.findall(r"\w+", text)))
    characters = sorted(set(text.replace(" ", "")))
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{c}" for c in characters), *words]
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    # As in the published file of all-MiniLM-L6-v2: limits of its own, which must not apply.
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    return tokenizer


def _write_tokenizer(folder: Path, tokenizer: Tokenizer, recipe: Recipe) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    start, pad, end, unknown, mask = (
        ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
        if recipe.tokenizer == "unigram"
        else ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
    )
    specials = {"cls_token": start, "pad_token": pad, "sep_token": end, "unk_token": unknown, "mask_token": mask}
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **specials},
    )
    write_json(folder / "special_tokens_map.json", specials)


def _write_weights(folder: Path, recipe: Recipe, tokens: int) -> None:
    # Imported here: torch and transformers take seconds, and not every test needs them.
    import torch
    from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

    sizes = {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
    }  # fmt: skip
    if recipe.body == "xlm-roberta":
        config = XLMRobertaConfig(
            **sizes, vocab_size=tokens, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5,
            bos_token_id=0, pad_token_id=1, eos_token_id=2,
        )  # fmt: skip
        model: torch.nn.Module = XLMRobertaModel(config, add_pooling_layer=recipe.extras)
    else:
        config = BertConfig(
            **sizes, vocab_size=tokens + 35, max_position_embeddings=512, type_vocab_size=2, layer_norm_eps=1e-12,
            pad_token_id=0,
        )  # fmt: skip
        model = BertModel(config, add_pooling_layer=recipe.extras)
    config.dtype = recipe.dtype
    config.save_pretrained(folder)
    generator = torch.Generator().manual_seed(recipe.seed)
    tensors = {name: draw(name, tensor.shape, generator) for name, tensor in sorted(model.state_dict().items())}
    tensors = {name: tensor.to(getattr(torch, recipe.dtype)) for name, tensor in tensors.items()}
    if recipe.extras:
        tensors["embeddings.position_ids"] = torch.arange(config.max_position_embeddings)[None]
    files = {recipe.prefix + name: tensor for name, tensor in tensors.items()}
    if recipe.extras:  # the head of a masked language model, as xlm-roberta-large has it beside `roberta.`
        files["lm_head.bias"] = torch.zeros(config.vocab_size)
    save_weights(folder, files, recipe.shards)


def draw(name: str, shape: Any, generator: Any) -> Any:
    import torch

    noise = torch.randn(shape, generator=generator)
    if "LayerNorm.weight" in name:
        return 1 + 0.2 * noise
    return noise * (0.3 if name.endswith("bias") else 0.5 if "embeddings" in name else 0.2)


def save_weights(folder: Path, tensors: Mapping[str, Any], shards: int = 1) -> None:
    """Write model.safetensors, or shards of it with an index, as transformers names them."""
    from safetensors.torch import save_file

    if shards == 1:
        save_file(dict(tensors), folder / "model.safetensors", {"format": "pt"})
        return
    names = sorted(tensors)
    weight_map = {}
    for shard in range(shards):
        file_name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[shard::shards]}
        save_file(part, folder / file_name, {"format": "pt"})
        weight_map.update(dict.fromkeys(part, file_name))
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})


def _write_sentence_transformers_files(folder: Path, recipe: Recipe) -> None:
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    if not recipe.normalize:
        del kinds["Normalize"]
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(kinds.items())
    ]
    write_json(folder / "modules.json", modules)
    write_json(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": 64,
            "pooling_mode_cls_token": recipe.pooling == "cls",
            "pooling_mode_mean_tokens": recipe.pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    )
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": recipe.max_seq_length, "do_lower_case": recipe.lower_case},
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": dict(recipe.prompts), "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )


def change_weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Let `change` edit the tensors (torch, by file name) of a folder's model.safetensors."""
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_weights(folder, tensors)
