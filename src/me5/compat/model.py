"""SentenceTransformer: an `Embedder` under the arguments, the prompt rules and the shapes of sentence-transformers.

What is the same: one string gives one dimension, `encode` adds no prompt unless told, `encode_query` and
`encode_document` add those of their names, vectors are arrays unless tensors are asked for, `truncate_dim` cuts
without a new norm, int8 has a range for each dimension. What differs: the prompts of models whose repository lists none
come from me5's catalogue, vectors have unit length, and there are no torch modules inside.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from logging import INFO, getLogger
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from me5.compat import tensors
from me5.compat.saving import save
from me5.compat.scores import ALL_WITH_ALL, PAIRWISE, similarity_name
from me5.compat.settings import (
    find_model,
    listed_settings,
    max_tokens_of,
    precision_of,
    prompts_of,
    say_once,
    say_what_is_ignored,
)
from me5.compat.tokens import features, features_of_rows, tokenizer_of
from me5.compat.util import quantize_embeddings
from me5.embedder import Embedder
from me5.errors import InputError
from me5.prompts import Prompts
from me5.quantization import Form, check_form
from me5.vectors import normalized

_log = getLogger(__name__)
Output = Literal["sentence_embedding", "token_embeddings"] | None


class _Literal(Prompts):
    """One prompt in front of every text, whatever it is for; texts that carry their own get none, and no warning."""

    def carried_by(self, text: str) -> str | None:
        return super().carried_by(text) if self.both else None


@dataclass
class _Card:
    """What evaluators and miners look for on a model's card."""

    base_model: str

    def set_evaluation_metrics(self, *_: Any, **__: Any) -> None:
        """No card is written."""


class SentenceTransformer:
    """A model, called as sentence-transformers' class of this name is.

    `model_name_or_path` None is the bundled model. `device` None is a GPU where torch sees one. Raises what
    `Embedder.load` does.
    """

    def __init__(
        self,
        model_name_or_path: str | Path | None = None,
        modules: Any = None,
        device: Any = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: Any = None,
        cache_folder: str | None = None,
        trust_remote_code: bool = False,
        revision: str | None = None,
        local_files_only: bool = False,
        token: bool | str | None = None,
        use_auth_token: bool | str | None = None,
        truncate_dim: int | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        config_kwargs: Mapping[str, Any] | None = None,
        model_card_data: Any = None,
        backend: str = "torch",
    ) -> None:
        if modules is not None:
            raise InputError("me5.compat.SentenceTransformer is not made of modules; name a model folder or hub id")
        say_what_is_ignored(
            trust_remote_code=trust_remote_code, config_kwargs=config_kwargs, model_card_data=model_card_data,
            backend=backend != "torch",
        )  # fmt: skip
        download = {
            "cache_dir": cache_folder, "local_files_only": local_files_only,
            "token": use_auth_token if token is None else token,
        }  # fmt: skip
        name = tensors.device_name(device)
        self.embedder = Embedder(
            find_model(model_name_or_path, revision, download), device=name, revision=revision, prompts="none",
            precision=precision_of(model_kwargs, name), max_tokens=max_tokens_of(processor_kwargs or tokenizer_kwargs),
        )  # fmt: skip
        self._device = name
        checkpoint = self.embedder.checkpoint
        listed = listed_settings(checkpoint)
        self.prompts = prompts_of(checkpoint, prompts)
        self.default_prompt_name: str | None = default_prompt_name or listed.get("default_prompt_name")
        if self.default_prompt_name is not None:
            self._prompt(None, self.default_prompt_name)
        self.similarity_fn_name = similarity_fn_name or listed.get("similarity_fn_name")
        self.truncate_dim = truncate_dim
        self.model_card_data = _Card(checkpoint.name)

    def encode(
        self,
        inputs: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: Output = "sentence_embedding",
        precision: Form | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: Any = None,
        chunk_size: int | None = None,
        *,
        sentences: str | Iterable[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Vectors: one of a string, else an array (texts, dim); a tensor with `convert_to_tensor`, a list with neither.

        `prompt`, or that of `prompt_name`, stands in front of every text. `output_value` "token_embeddings" gives the
        states of every token of each text, None all there is of it, in a dictionary.
        """
        self._check_call(batch_size, chunk_size, device, pool, kwargs)
        form: Form = precision or "float32"
        check_form(form)
        given = sentences if inputs is None else inputs
        single = isinstance(given, str)
        texts = _texts(given)
        prefix = self._prompt(prompt, prompt_name)
        dim = self.truncate_dim if truncate_dim is None else truncate_dim
        if output_value not in ("sentence_embedding", "token_embeddings", None):
            raise InputError(
                f"unknown output_value {output_value!r}; expected 'sentence_embedding', 'token_embeddings' or None"
            )
        if output_value != "sentence_embedding":
            found = features(self._with(prefix), texts, self._device)
            if output_value == "token_embeddings":
                found = [one["token_embeddings"] for one in found]
            elif dim is not None:
                found = [{**one, "sentence_embedding": one["sentence_embedding"][:dim]} for one in found]
            return found[0] if single else found
        show = _log.getEffectiveLevel() <= INFO if show_progress_bar is None else show_progress_bar
        vectors = self._with(prefix).encode(texts, show_progress_bar=show)
        if dim is not None and dim < vectors.shape[1]:
            self.embedder.check_dim(dim)
            vectors = np.ascontiguousarray(vectors[:, :dim])
        rows = quantize_embeddings(normalized(vectors) if normalize_embeddings else vectors, form)
        converted = self._converted(rows, convert_to_numpy=convert_to_numpy, convert_to_tensor=convert_to_tensor)
        return converted[0] if single else converted

    def encode_query(
        self,
        inputs: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """`encode` with the prompt named `query` unless another is named."""
        return self.encode(inputs, self._side(("query",), prompt_name, prompt), prompt, *args, **kwargs)

    def encode_document(
        self,
        inputs: str | Iterable[str] | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """`encode` with the prompt named `document`, `passage` or `corpus` unless another is named."""
        name = self._side(("document", "passage", "corpus"), prompt_name, prompt)
        return self.encode(inputs, name, prompt, *args, **kwargs)

    def encode_multi_process(
        self,
        sentences: list[str],
        pool: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """`encode`: one process uses every core, or every GPU."""
        return self.encode(sentences, prompt_name, prompt, pool=pool, **kwargs)

    def start_multi_process_pool(self, target_devices: list[Any] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """A pool in name only: one process uses every core, or with the device `cuda` every GPU."""
        say_once("multi-process pools", "start no processes: this one already uses every core, or every visible GPU")
        return {"input": None, "output": None, "processes": []}

    @staticmethod
    def stop_multi_process_pool(pool: Any) -> None:
        """Nothing is left to be stopped."""

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """The similarity of all vectors to all others (n, m): a tensor where torch is installed."""
        return ALL_WITH_ALL[self.similarity_fn_name](embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """The similarity of the vectors of the same place (n,)."""
        return PAIRWISE[self.similarity_fn_name](embeddings1, embeddings2)

    @property
    def similarity_fn_name(self) -> str:
        """`cosine`, `dot`, `euclidean` or `manhattan`; can be set."""
        return self._similarity

    @similarity_fn_name.setter
    def similarity_fn_name(self, value: Any) -> None:
        self._similarity = similarity_name(value or "cosine")

    @property
    def max_seq_length(self) -> int:
        """The longest sequence that the model reads, in tokens; can be set."""
        return self.embedder.max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        self.embedder.max_seq_length = value

    def get_max_seq_length(self) -> int:
        """`max_seq_length`."""
        return self.max_seq_length

    def get_embedding_dimension(self) -> int:
        """The width of the vectors, cut at `truncate_dim`."""
        return min(self.embedder.dim, self.truncate_dim or self.embedder.dim)

    get_sentence_embedding_dimension = get_embedding_dimension

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Within the block, vectors are cut at another dimension."""
        before, self.truncate_dim = self.truncate_dim, truncate_dim
        try:
            yield
        finally:
            self.truncate_dim = before

    truncate_sentence_embeddings = truncate_embeddings

    def preprocess(self, inputs: list[str], prompt: str | None = None, **_: Any) -> dict[str, Any]:
        """Token ids and attention mask, padded: tensors where torch is installed."""
        return features_of_rows(self.embedder, self._with(prompt or "").prepare(_texts(inputs), "both").sequences)

    def tokenize(self, texts: list[str], **_: Any) -> dict[str, Any]:
        """`preprocess`."""
        return self.preprocess(texts)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer as transformers reads it."""
        return tokenizer_of(self.embedder)

    @property
    def device(self) -> Any:
        """Where the model runs: torch's device where torch is installed."""
        return tensors.device_of(self._device)

    def to(self, device: Any = None, *_: Any, **__: Any) -> Self:
        """Load the model on another device; a dtype has no effect, see `model_kwargs`."""
        name = self._device if device is None or "float" in str(device) else tensors.device_name(device)
        if name != self._device:
            state = {**self.embedder.__getstate__(), "device": name, "precision": "auto"}
            del state["calibration"]  # it is for the precision that was
            self.embedder = Embedder(**state)
            self._device = name
        return self

    def cpu(self) -> Self:
        """The model on the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Self:
        """The model on a GPU."""
        return self.to("cuda" if device is None else device)

    def eval(self) -> Self:
        """The model as it is: it is never in training."""
        return self

    def half(self) -> Self:
        """The model as it is; its precision is chosen when it is loaded."""
        say_once("half()", "has no effect: choose the precision with model_kwargs={'torch_dtype': 'bfloat16'}")
        return self

    bfloat16 = half

    def evaluate(self, evaluator: Callable[..., Any], output_path: str | None = None) -> Any:
        """What an evaluator of sentence-transformers says of the model."""
        if output_path is not None:
            Path(output_path).mkdir(parents=True, exist_ok=True)
        return evaluator(self, output_path)

    def save_pretrained(self, path: str | Path, *_: Any, **__: Any) -> None:
        """Write the model with its prompts as a folder that me5, sentence-transformers and transformers read."""
        save(self.embedder.checkpoint, Path(path), {
            "prompts": self.prompts, "default_prompt_name": self.default_prompt_name,
            "similarity_fn_name": self.similarity_fn_name,
        }, self.max_seq_length)  # fmt: skip

    save = save_pretrained

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "embedder" not in self.__dict__:
            raise AttributeError(name)
        raise AttributeError(
            f"me5.compat.SentenceTransformer has no {name!r}: it is not a torch module. Training is `me5 train`, and "
            "uploading is `hf upload` of a folder that save_pretrained wrote"
        )

    def __repr__(self) -> str:
        return f"SentenceTransformer({self.embedder.checkpoint.name!r}, device={self._device!r}) by {self.embedder!r}"

    def _with(self, prefix: str) -> Embedder:
        return self.embedder.with_prompts(_Literal("prefix", query=prefix, document=prefix, both=prefix))

    def _prompt(self, prompt: str | None, name: str | None) -> str:
        """The text in front of every input. Raises `InputError` for a name that is not among the prompts."""
        if prompt is not None:
            if name is not None:
                _log.warning("encode got a prompt and a prompt_name; the prompt counts")
            return prompt
        name = self.default_prompt_name if name is None else name
        if name is None:
            return ""
        if name not in self.prompts:
            raise InputError(f"there is no prompt named {name!r} in the prompts {list(self.prompts)}")
        return self.prompts[name]

    def _side(self, names: tuple[str, ...], given: str | None, prompt: str | None) -> str | None:
        if given is not None or prompt is not None:
            return given
        return next((name for name in names if name in self.prompts), None)

    def _check_call(
        self, batch_size: int, chunk_size: int | None, device: Any, pool: Any, others: Mapping[str, Any]
    ) -> None:
        """Refuse what is wrong, say what has no effect, and move the model where a device is named."""
        if batch_size <= 0:
            raise InputError(f"batch_size must be a positive number, got {batch_size}")
        if batch_size != 32:
            say_once("batch_size=", "has no effect: batches are formed by tokens, without padding")
        if isinstance(device, list | tuple) or pool is not None or chunk_size is not None:
            self.start_multi_process_pool()
        elif device is not None:
            self.to(device)
        if unknown := set(others) - {"task", "processing_kwargs"}:
            raise InputError(f"encode takes no {', '.join(sorted(unknown))}")

    def _converted(self, rows: npt.NDArray[Any], *, convert_to_numpy: bool, convert_to_tensor: bool) -> Any:
        if convert_to_tensor:
            torch = tensors.needed()
            return tensors.tensor(rows, self._device) if len(rows) else torch.tensor([], device=self.device)
        if convert_to_numpy:
            return rows if len(rows) else np.array([])
        return [tensors.tensor(row) for row in rows]


def _texts(inputs: Any) -> list[str]:
    if inputs is None:
        raise InputError("encode needs texts: a string or a list of strings")
    return [inputs] if isinstance(inputs, str) else list(inputs)
