"""A tokenizer.json, or the tokenizer in a GGUF file -> the ids of texts, by the fastest library that reads it right.

`tokenizers` reads all of them, and defines what is right. It takes half a second and 230 MB for a vocabulary such as
XLM-RoBERTa's, so where `unigram` gives the same ids it is opened only when something else is asked for.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import tokenizers

from me5.checkpoint import is_gguf
from me5.errors import CheckpointError
from me5.gguf import header
from me5.gguf import tokenizer as gguf
from me5.panics import panics_named
from me5.unigram import Unigram, published, serves


def open_encoder(path: Path, *, lower_case: bool = False) -> "Encoder":
    """The tokenizer in a file, the same object as long as the file is the same.

    Raises `CheckpointError` where it holds none.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read as a tokenizer: {error}") from error
    return _opened(path, state.st_size, state.st_mtime_ns, lower_case)


@lru_cache(maxsize=1)  # 100 MB for a large vocabulary
def _opened(path: Path, size: int, changed: int, lower_case: bool) -> "Encoder":  # noqa: ARG001  the key
    return Encoder(path, lower_case=lower_case)


class Encoder:
    """A tokenizer without limits or padding, to be shared.

    `frame` are the special tokens before and behind every text, `vocabulary` is the number of ids.
    """

    def __init__(self, path: Path, *, lower_case: bool = False) -> None:
        self.path, self._lower_case = path, lower_case
        terms = None if lower_case else _terms(path)
        self._unigram = None if terms is None or not serves(terms) else Unigram(terms)
        if terms is not None and self._unigram is not None:
            self.frame, self.vocabulary = ([terms.id("bos")], [terms.id("eos")]), len(terms.pieces)
            added = [(terms.pieces[at], False) for at in terms.added]
        else:
            with panics_named(path):
                self.frame = _frame(self.library)
            self.vocabulary = int(self.library.get_vocab_size(with_added_tokens=True))
            added = [
                (token.content, token.rstrip or (token.lstrip and token.content[:1].isalnum()))
                for token in self.library.get_added_tokens_decoder().values()
            ]
        # Whether words are read each on its own, and no token holds or swallows white space that may end a word.
        self.by_words = self._splits() and not any(joins or any(map(str.isspace, word)) for word, joins in added)

    @cached_property
    def library(self) -> tokenizers.Tokenizer:
        """The same as `tokenizers` has it, for all but ids."""
        opened = _open(self.path)
        # Published files carry limits and padding of their own (all-MiniLM-L6-v2: 128 tokens, padded to 128).
        opened.no_truncation()
        opened.no_padding()
        if self._lower_case:  # the prompt too, as sentence-transformers does
            steps = [tokenizers.normalizers.Lowercase(), opened.normalizer]
            opened.normalizer = tokenizers.normalizers.Sequence([step for step in steps if step is not None])
        return opened

    def ids(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """The ids of each text, without special tokens around it."""
        if self._unigram is None:
            yield from self._by_library(texts)
            return
        for text, ids in zip(texts, self._unigram.encode(texts), strict=True):
            yield next(self._by_library([text])) if ids is None else ids

    def tokens_of(self, prompt: str, text: str) -> int:
        """How many tokens lie within the prompt of a text; its last space may be part of the first word behind it."""
        if not prompt:
            return 0
        if self._unigram is not None and prompt[-1:] == " ":
            return len(next(self.ids([prompt])))
        with panics_named(self.path):
            (head,) = self.library.encode_batch([prompt + text[:200]], add_special_tokens=False)
        return sum(1 for _, end in head.offsets if end <= len(prompt))

    def _by_library(self, texts: Sequence[str]) -> Iterator[list[int]]:
        with panics_named(self.path):
            encodings = self.library.encode_batch_fast(list(texts), add_special_tokens=False)
        for encoding in encodings:
            yield encoding.ids

    def _splits(self) -> bool:
        if self._unigram is not None:
            return True
        splits = self.library.pre_tokenizer
        return splits is not None and len(splits.pre_tokenize_str("ab cd")) > 1


def _frame(tokenizer: tokenizers.Tokenizer) -> tuple[list[int], list[int]]:
    template = tokenizer.encode("a")
    inner = [i for i, special in enumerate(template.special_tokens_mask) if not special]
    if not inner:
        return template.ids, []
    return template.ids[: inner[0]], template.ids[inner[-1] + 1 :]


def _terms(path: Path) -> gguf.Terms | None:
    """The terms of a tokenizer that kitoken may serve."""
    return gguf.read(header.read(path)) if is_gguf(path) else published(path)


def _open(path: Path) -> tokenizers.Tokenizer:
    if is_gguf(path):
        return gguf.build(gguf.read(header.read(path)))
    try:
        with panics_named(path):
            return tokenizers.Tokenizer.from_file(str(path))
    except CheckpointError:
        raise
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"{path} cannot be read as a tokenizer: {error}") from error
