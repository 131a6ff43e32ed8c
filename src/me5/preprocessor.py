"""Everything about a model but its engine: texts and a side -> token sequences, vectors of sequences -> those of texts.

prepare   texts → prompts → token ids (and the report)
merge     vectors of sequences → one vector per text
"""

import warnings
from collections.abc import Sequence

import numpy as np

from me5 import fingerprint
from me5.checkpoint import Checkpoint, ModelConfig
from me5.errors import CheckpointError, InputError, PromptWarning, caller
from me5.prepared import Prepared
from me5.probes import probes
from me5.prompts import NONE, STYLES, Prompts, Side
from me5.tokenizer import TRUNCATIONS, Tokenizer, Truncation
from me5.vectors import Float32, normalized


class CheckpointReader:
    """A checkpoint with the tokenizer and the truncation that apply to what it reads.

    `max_tokens` None is the model's own limit. Raises `InputError` for a wrong setting, `CheckpointError` for a
    tokenizer that cannot be read or belongs to another model.
    """

    tokenizer: Tokenizer

    def __init__(
        self, checkpoint: Checkpoint, *, max_tokens: int | None = None, truncation: Truncation = "end"
    ) -> None:
        self._settle(checkpoint, max_tokens, truncation)
        self.tokenizer = open_tokenizer(checkpoint, max_tokens)

    def _settle(self, checkpoint: Checkpoint, max_tokens: int | None, truncation: Truncation) -> None:
        """Check everything, and keep all but the tokenizer."""
        check_truncation(truncation)
        if max_tokens is not None:
            check_max_tokens(checkpoint.config, max_tokens)
        self.checkpoint = checkpoint
        self.truncation: Truncation = truncation

    @property
    def max_tokens(self) -> int:
        """The longest sequence that the model reads, in tokens with prompts and special tokens; can be set."""
        return self.tokenizer.max_tokens

    @max_tokens.setter
    def max_tokens(self, value: int) -> None:
        check_max_tokens(self.checkpoint.config, value)
        self.tokenizer = self.tokenizer.limited(value)

    def probes(self) -> Prepared:
        """Real texts without prompts, on which precisions are compared and from which int8 learns.

        As long as the model's own limit, whatever `max_tokens` is: a text's vector does not depend on it.
        """
        most = self.checkpoint.config.max_tokens
        return self.tokenizer.limited(most).prepare(probes(most), "", "end")


class Preprocessor(CheckpointReader):
    """A checkpoint with the prompts, the tokenizer and the truncation that apply to its texts.

    `prompts` and `max_tokens` None are the model's own. Safe to use from several threads. Raises `InputError` for a
    wrong setting, `CheckpointError` for a tokenizer that cannot be read or belongs to another model.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        prompts: str | Prompts | None = None,
        max_tokens: int | None = None,
        truncation: Truncation = "end",
    ) -> None:
        super().__init__(checkpoint, max_tokens=max_tokens, truncation=truncation)
        self.prompts = choose_prompts(prompts, checkpoint.prompts, checkpoint.name)

    def _settle(self, checkpoint: Checkpoint, max_tokens: int | None, truncation: Truncation) -> None:
        if checkpoint.config.head is not None:
            raise CheckpointError(
                f"{checkpoint.name} is a cross-encoder, which scores pairs of texts and gives no vectors; load it with "
                "me5.Reranker, or pass a model that embeds"
            )
        super()._settle(checkpoint, max_tokens, truncation)

    @property
    def dim(self) -> int:
        """The width of the model's vectors."""
        return self.checkpoint.config.hidden_size

    def fingerprint(self, precision: str, *, task: str | None = None) -> str:
        """A fingerprint of everything that decides the vector of a text; see `fingerprint.of_vectors`."""
        return fingerprint.of_vectors(
            self.checkpoint, precision=precision, max_tokens=self.max_tokens, truncation=self.truncation,
            prompts=self.prompts, task=task,
        )  # fmt: skip

    def prepare(
        self,
        texts: Sequence[str],
        side: Side,
        *,
        task: str | None = None,
        truncation: Truncation | None = None,
        first: int = 0,
        reach: int | None = None,
    ) -> Prepared:
        """Prompt and tokenize texts. Errors count items from `first`; `reach` is that of `Tokenizer.prepare`."""
        prefix = self.prompts.prefix(side, task)
        return self.tokenizer.prepare(texts, prefix, truncation or self.truncation, first=first, reach=reach)

    @staticmethod
    def merge(vectors: Float32, prepared: Prepared, *, unit: bool = True) -> Float32:
        """One vector per text from those of its sequences (sequences, dim): (texts, dim).

        Chunks of a text become their mean weighted by tokens, at unit length again where `unit`.
        """
        if len(vectors) == prepared.texts:
            return vectors
        lengths = np.array([len(sequence) for sequence in prepared.sequences], np.float32)
        merged = np.zeros((prepared.texts, vectors.shape[1]), np.float32)
        np.add.at(merged, prepared.owners, vectors * lengths[:, None])
        alone = np.array(prepared.report.chunks) == 1
        if unit:
            merged = normalized(merged)
        else:
            merged /= np.bincount(prepared.owners, lengths)[:, None]
        # A text of one chunk keeps its vector to the last bit.
        merged[alone] = vectors[np.isin(prepared.owners, np.flatnonzero(alone))]
        return merged


def choose_prompts(given: str | Prompts | None, own: Prompts | None, name: str) -> Prompts:
    """The prompts of a model: those given (also the name of a style), else its own, else none with a `PromptWarning`.

    `name` is the model's, for the warning. Raises `InputError` for an unknown style.
    """
    if isinstance(given, str):
        if given not in STYLES:
            raise InputError(f"unknown prompts {given!r}; expected one of {', '.join(STYLES)}")
        return STYLES[given]
    if (known := given or own) is not None:
        return known
    warnings.warn(
        f"nothing says how {name} wants queries and documents written, so every text stays bare. If its card asks for "
        "prompts, pass prompts='instruct' (Instruct: …/Query: …) or prompts='prefix' (query: /passage: ); "
        "prompts='none' silences this",
        PromptWarning,
        stacklevel=caller(),
    )
    return NONE


def open_tokenizer(checkpoint: Checkpoint, max_tokens: int | None) -> Tokenizer:
    """The tokenizer of a checkpoint; `max_tokens` None is its own limit. Raises as `Preprocessor` does."""
    config = checkpoint.config
    if max_tokens is not None:
        check_max_tokens(config, max_tokens)
    tokenizer = Tokenizer(checkpoint.tokenizer, max_tokens or config.max_tokens, lower_case=config.lower_case)
    if tokenizer.vocabulary > config.vocab_size:
        raise CheckpointError(
            f"{checkpoint.path}: tokenizer.json has {tokenizer.vocabulary:,} tokens, vocab_size of config.json is "
            f"{config.vocab_size:,}; one of them belongs to another model"
        )
    return tokenizer


def check_max_tokens(config: ModelConfig, max_tokens: int) -> None:
    """Raise `InputError` for a limit that the model has no positions for."""
    positions = config.max_positions - config.first_position
    if not 3 <= max_tokens <= positions:
        raise InputError(f"max_tokens must lie between 3 and the model's {positions} positions, got {max_tokens}")


def check_truncation(truncation: str) -> None:
    """Raise `InputError` for a truncation that there is not."""
    if truncation not in TRUNCATIONS:
        raise InputError(f"unknown truncation {truncation!r}; expected one of {', '.join(TRUNCATIONS)}")
