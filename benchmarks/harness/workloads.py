"""The texts: how many, how long in tokens, and the texts themselves, built for the model's own tokenizer."""

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from tokenizers import Tokenizer

SEED = 0


@dataclass(frozen=True)
class Workload:
    """Texts and their true token counts, specials included. One at a time means latency, else throughput."""

    name: str
    texts: list[str]
    counts: list[int]
    one_by_one: bool = False

    @property
    def tokens(self) -> int:
        return sum(self.counts)


def bundled_folder() -> Path:
    """The bundled model as a folder, which other libraries read too; written once, beside other temporary files."""
    from me5 import fingerprint
    from me5.checkpoint import resolve
    from me5.export import export

    checkpoint = resolve()
    folder = Path(tempfile.gettempdir()) / f"{checkpoint.name}-{fingerprint.of_checkpoint(checkpoint)[:12]}"
    if not folder.exists():
        export(checkpoint, folder)
    return folder


def token_limit(folder: Path) -> int:
    """How many tokens of a text the model reads: from sentence_*_config.json, as sentence-transformers does."""
    for path in sorted(folder.glob("sentence_*_config.json")):
        limit = json.loads(path.read_text(encoding="utf-8")).get("max_seq_length")
        if limit:
            return int(limit)
    return 512


def open_tokenizer(folder: Path, limit: int) -> Tokenizer:
    """The folder's tokenizer, cutting at the limit and padding nothing."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(limit)
    tokenizer.no_padding()
    return tokenizer


def count_tokens(tokenizer: Tokenizer, texts: list[str]) -> list[int]:
    return [len(encoding.ids) for encoding in tokenizer.encode_batch(texts)]


def whole_words(tokenizer: Tokenizer, rng: np.random.Generator, wanted: int = 2000) -> list[str]:
    """Words of the vocabulary that are one token each, so that n of them in a row are n tokens.

    From an XLM-RoBERTa vocabulary these are words of a hundred languages, spread over the whole word table.
    """
    pieces = sorted(tokenizer.get_vocab())
    marked = [piece[1:] for piece in pieces if piece.startswith("▁")]
    words = [word for word in (marked or pieces) if len(word) > 2 and word.isalpha()]
    words = [str(word) for word in rng.permutation(words)[: 4 * wanted]]
    specials = tokenizer.num_special_tokens_to_add(is_pair=False)
    counts = count_tokens(tokenizer, words)
    return [word for word, count in zip(words, counts, strict=True) if count == specials + 1][:wanted]


def make_texts(tokenizer: Tokenizer, lengths: list[int], rng: np.random.Generator) -> list[str]:
    """One text per length, in tokens."""
    words = whole_words(tokenizer, rng)
    specials = tokenizer.num_special_tokens_to_add(is_pair=False)
    return [" ".join(rng.choice(words, max(1, length - specials))) for length in lengths]


def mixed_lengths(texts: int, limit: int, rng: np.random.Generator) -> list[int]:
    """Many short texts and a few long ones, as collections have: the median is 67 tokens."""
    lengths = np.clip(np.exp(rng.normal(4.2, 0.7, texts)).astype(int), 8, limit)
    return [int(length) for length in lengths]


def sentences(wanted: int) -> list[str]:
    """Real English prose that every machine has: the Python language reference, which ships inside Python."""
    prose = re.sub(r"\s+", " ", "\n\n".join(topics[name] for name in sorted(topics) if len(topics[name]) > 2000))
    found = re.findall(r"(?<=\. )[A-Z][^.:|+=<>{}\[\]*]{40,240}\.(?= [A-Z])", prose)
    unique = list(dict.fromkeys(found))
    return unique[:: max(1, len(unique) // wanted)][:wanted]


def build(names: list[str], folder: Path, quick: bool, times: int = 1, prefix: str = "") -> list[Workload]:
    """The named workloads for this model. Quick is a fifth of the texts: for trying out, not for figures.

    `times` is how many times as many texts a fast device gets; those that come one at a time stay as few. `prefix`
    stands in front of every text.
    """
    limit = token_limit(folder)
    tokenizer = open_tokenizer(folder, limit)
    part = 5 if quick else 1
    count_prefix = len(tokenizer.encode(prefix, add_special_tokens=False).ids)
    workloads = []
    for name in names:
        rng = np.random.default_rng(SEED)
        if name == "sentences":
            texts = sentences(300 // part)
        else:
            lengths = {
                "mixed": mixed_lengths(48 * times, limit, rng)[: 48 * times // part],
                "query": [16] * (20 // part),
                "16": [16] * (120 * times // part),
                "128": [128] * (15 * times // part),
                "512": [min(512, limit)] * max(2, 6 * times // part),
            }[name]
            texts = make_texts(tokenizer, [length - count_prefix for length in lengths], rng)
        texts = [prefix + text for text in texts]
        workloads.append(Workload(name, texts, count_tokens(tokenizer, texts), one_by_one=name == "query"))
    return workloads
