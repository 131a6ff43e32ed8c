"""The texts of datasets -> a Unigram tokenizer with XLM-RoBERTa's special tokens, ids and files.

A sample of lines is drawn by language with temperature, so that large languages do not take every piece and small ones
get some; which texts are in it follows from their ids and a seed, whatever the order of the data.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from me5.data.contract import Document, Query
from me5.data.dataset import TEXT_TABLES, Dataset
from me5.errors import InputError
from me5.files.atomic import new_folder
from me5.progress import Advance

# In the order of fairseq and XLM-RoBERTa: ids 0 to 3; <mask> is the last id.
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
MASK = "<mask>"
_ROLES = {
    "bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>",
    "unk_token": "<unk>", "mask_token": MASK,
}  # fmt: skip
# Longer pieces are seldom words, and a model cannot see into one. SentencePiece's default is 16.
_LONGEST_PIECE = 16


@dataclass(frozen=True)
class Sample:
    """Which texts a vocabulary is made from.

    A language with n texts has n ** `temperature` shares of `lines` texts: 1 is its size, 0 the same for every one. A
    text is truncated to `characters` from a place of its own, so that the middle of long ones counts too.
    """

    lines: int = 500_000
    characters: int = 240
    temperature: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class Drawn:
    """The lines of a sample, and by language how many texts there were and how many were drawn."""

    lines: list[str]
    found: Mapping[str, int]
    drawn: Mapping[str, int]


def draw(datasets: Sequence[Dataset], sample: Sample, *, advance: Advance) -> Drawn:
    """Documents with their titles, and queries; equal ones once. Reads the data twice and holds what it draws."""
    found: Counter[str] = Counter()
    for dataset in datasets:
        for table in TEXT_TABLES:
            for (langs,) in dataset.columns(table, "lang"):
                found.update(langs)
    shares = _shares(found, sample)
    drawn: Counter[str] = Counter()
    lines: list[str] = []
    seen: set[str] = set()
    for value in _values(datasets, advance):
        number = _number(value.id, sample.seed)
        if (number >> 64) < shares[value.lang] * 2.0**64 and value.id not in seen:
            seen.add(value.id)
            drawn[value.lang] += 1
            text = value.whole if isinstance(value, Document) else value.text
            start = (number & (1 << 64) - 1) % (max(len(text) - sample.characters, 0) + 1)
            lines.append(text[start : start + sample.characters])
    return Drawn(lines, found, drawn)


def _shares(found: Mapping[str, int], sample: Sample) -> dict[str, float]:
    """The share of its texts that is drawn of every language. What one with few cannot give, the others do."""
    room, shares = float(sample.lines), {}
    # From the language that runs out first to the one that has most to spare.
    order = sorted(found, key=lambda lang: (found[lang] ** (1 - sample.temperature), lang))
    weights = [found[lang] ** sample.temperature for lang in order]
    for place, lang in enumerate(order):
        shares[lang] = min(room * weights[place] / sum(weights[place:]) / found[lang], 1.0)
        room -= shares[lang] * found[lang]
    return shares


def _values(datasets: Sequence[Dataset], advance: Advance) -> Iterator[Document | Query]:
    for dataset in datasets:
        yield from dataset.documents(advance=advance)
        yield from dataset.queries(advance=advance)


def _number(name: str, seed: int) -> int:
    """128 random bits that belong to a text."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {name}".encode(), digest_size=16).digest(), "little")


def limit_alphabet(lines: Sequence[str], size: int, *, lower_case: bool) -> tuple[list[str], float]:
    """Normalized lines with all but their most frequent characters blanked, and the share of the text that those cover.

    The trainer keeps every character that it sees: thousands of rare ones would take the place of words.
    """
    normalized = [normalize("NFKC", line) for line in lines]
    if lower_case:
        normalized = [line.lower() for line in normalized]
    counts: Counter[str] = Counter()
    for line in normalized:
        counts.update(line)
    # By code point where counts are equal, so that the order of the lines does not matter.
    kept = set(sorted(counts, key=lambda character: (-counts[character], character))[:size])
    covered = sum(counts[character] for character in kept) / max(sum(counts.values()), 1)
    rare = "".join(sorted(set(counts) - kept))
    if rare:
        pattern = re.compile(f"[{re.escape(rare)}]")
        normalized = [pattern.sub(" ", line) for line in normalized]
    return normalized, covered


def train(
    lines: Sequence[str],
    *,
    pieces: int,
    alphabet: int,
    prompts: Sequence[str] = (),
    lower_case: bool = False,
    show_progress_bar: bool = False,
) -> tuple[Tokenizer, float]:
    """A tokenizer of at most `pieces` ids, and how much of the sample its `alphabet` of characters covers.

    The words of `prompts` are one piece each: every text pays for them. On the same lines the trainer finds the same
    pieces; their scores may differ in the last digit, for it sums in no fixed order. Raises `InputError` where the
    numbers cannot be had.
    """
    draft = new_tokenizer(models.Unigram(), lower_case=lower_case)
    whole = sorted({word for text in prompts for word in words(draft, text)})
    least = len(SPECIAL) + 1 + alphabet + len(whole)
    if pieces <= least:
        raise InputError(
            f"{pieces} pieces are too few: {alphabet} single characters, {len(whole)} words of prompts and "
            f"{len(SPECIAL) + 1} special tokens need more; ask for more pieces, or a smaller alphabet"
        )
    if not lines:
        raise InputError("there is no text to make a tokenizer from")
    cleaned, covered = limit_alphabet(lines, alphabet, lower_case=lower_case)
    learned = learn(cleaned, pieces=pieces, lower_case=lower_case, show_progress_bar=show_progress_bar)
    usual = sum(learned.values()) / max(len(learned), 1)
    return finished(with_whole(learned, dict.fromkeys(whole, usual), pieces), lower_case=lower_case), covered


def learn(
    lines: Sequence[str],
    *,
    pieces: int,
    lower_case: bool = False,
    longest: int = _LONGEST_PIECE,
    show_progress_bar: bool = False,
) -> dict[str, float]:
    """The pieces of a Unigram model with the logarithms of their probabilities; room is left for the special tokens."""
    draft = new_tokenizer(models.Unigram(), lower_case=lower_case)
    trainer = trainers.UnigramTrainer(
        vocab_size=pieces - 1, special_tokens=list(SPECIAL), unk_token="<unk>", max_piece_length=longest,
        show_progress=show_progress_bar,
    )  # fmt: skip
    draft.train_from_iterator(lines, trainer=trainer, length=len(lines))
    stored = json.loads(draft.to_str())["model"]["vocab"]
    return {piece: score for piece, score in stored if piece not in SPECIAL}


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    """A text in the units that no piece crosses, as the vocabulary spells them."""
    normal = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]


def with_whole(learned: Mapping[str, float], whole: Mapping[str, float], pieces: int) -> dict[str, float]:
    """Learned pieces with whole words among them, for which the rarest of more than a character make way.

    A word that was learned too keeps the better score. Special tokens need `pieces` to have room for them.
    """
    kept = {word: max(score, learned.get(word, score)) for word, score in whole.items()}
    kept |= {piece: score for piece, score in learned.items() if len(piece) == 1}
    room = pieces - len(SPECIAL) - 1
    for piece, score in sorted(learned.items(), key=lambda entry: -entry[1]):
        if len(kept) >= room:
            break
        kept.setdefault(piece, score)
    return kept


def finished(pieces: Mapping[str, float], *, lower_case: bool = False) -> Tokenizer:
    """Pieces and their logarithmic probabilities as a tokenizer: the likeliest first, between the special tokens."""
    # Three digits halve the file; 0.0005 in the logarithm of a probability decides nothing.
    ordered = [(piece, round(score, 3)) for piece, score in sorted(pieces.items(), key=lambda entry: -entry[1])]
    vocabulary = [(piece, 0.0) for piece in SPECIAL] + ordered + [(MASK, 0.0)]
    tokenizer = new_tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False), lower_case=lower_case)
    tokenizer.add_special_tokens([*SPECIAL, MASK])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def new_tokenizer(model: models.Unigram, *, lower_case: bool = False) -> Tokenizer:
    """A model between NFKC, with white space as one space, and words that begin with ▁ as SentencePiece writes them."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            *([normalizers.Lowercase()] if lower_case else []),
            normalizers.Replace(Regex(r"[\s\p{Cc}]+"), " "),
            normalizers.Strip(),
        ]
    )
    # Punctuation stands alone, so that no piece is spent on "word," beside "word".
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"), pre_tokenizers.Punctuation("isolated")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, *, max_tokens: int = 512, overwrite: bool = False) -> None:
    """Write the three files that transformers, sentence_transformers and me5 read; the folder appears whole or not."""
    # The generic class, because transformers 5 rebuilds the tokenizer of XLM-R from parts of its own.
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_tokens, "padding_side": "right",
        "truncation_side": "right", "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"], **_ROLES,
    }  # fmt: skip
    with new_folder(folder, overwrite=overwrite) as partial:
        (partial / "tokenizer.json").write_text(tokenizer.to_str(pretty=False), encoding="utf-8")
        for name, content in (("tokenizer_config.json", config), ("special_tokens_map.json", _ROLES)):
            (partial / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
