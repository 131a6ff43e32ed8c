"""Vectors kept on disk by (model, prompt, text), so that nothing is embedded twice, also after a run was killed.

One SQLite file per model: its journal is what makes a vector either there or not, whenever the process ends.
"""

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from me5.errors import InputError
from me5.evaluation.encoders.base import Encoder, Float32, Prompt
from me5.progress import Advance
from me5.prompts import Side

# Texts that are looked up together, and embedded before they are written: what a kill can cost.
_STEP = 2048
_KEYS_PER_QUERY = 500


class CachedEncoder:
    """Any encoder, with vectors taken from `folder` where they are there. See `Encoder`.

    Several processes may share a folder. Raises `InputError` where it cannot be used.
    """

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        self.name = encoder.name
        self.encoder = encoder
        short = re.sub(r"[^A-Za-z0-9.-]+", "_", encoder.name).strip("_")
        self.path = folder / f"{short}-{encoder.fingerprint[:12]}.sqlite"
        with _explained(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=NORMAL")
            self._file.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")

    @property
    def fingerprint(self) -> str:
        """See `Encoder.fingerprint`."""
        return self.encoder.fingerprint

    def prompt(self, side: Side, task: str) -> Prompt:
        """See `Encoder.prompt`."""
        return self.encoder.prompt(side, task)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def embed(self, texts: Sequence[str], prompt: Prompt, advance: Advance | None = None) -> Float32:
        """See `Encoder.embed`. A text that stands there several times is embedded once."""
        vectors: Float32 | None = None
        for start in range(0, len(texts), _STEP):
            block = self._block(texts[start : start + _STEP], prompt, advance)
            if vectors is None:
                vectors = np.empty((len(texts), block.shape[1]), np.float32)
            if block.shape[1] != vectors.shape[1]:
                raise InputError(
                    f"{self.path} holds vectors of {block.shape[1]} dimensions where the model gives "
                    f"{vectors.shape[1]}; delete it"
                )
            vectors[start : start + len(block)] = block
        return np.empty((0, 0), np.float32) if vectors is None else vectors

    def _block(self, texts: Sequence[str], prompt: Prompt, advance: Advance | None) -> Float32:
        keys = [_key(prompt.text, text) for text in texts]
        with _explained(self.path):
            found = self._find(set(keys))
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if advance is not None:
            advance(len(texts) - len(new), 0)
        if new:
            made = self.encoder.embed(list(new.values()), prompt, advance)
            rows = [(key, vector.tobytes()) for key, vector in zip(new, made.astype("<f4"), strict=True)]
            with _explained(self.path):
                self._keep(rows)
            found.update(rows)
        if len({len(vector) for vector in found.values()}) > 1:
            raise InputError(f"{self.path} holds vectors of mixed dimensions; delete it")
        return np.frombuffer(b"".join(found[key] for key in keys), "<f4").astype(np.float32).reshape(len(keys), -1)

    def _find(self, keys: set[bytes]) -> dict[bytes, bytes]:
        wanted = list(keys)
        found: dict[bytes, bytes] = {}
        for start in range(0, len(wanted), _KEYS_PER_QUERY):
            some = wanted[start : start + _KEYS_PER_QUERY]
            marks = ",".join("?" * len(some))
            found.update(self._file.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", some).fetchall())
        return found

    def _keep(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        self._file.execute("BEGIN IMMEDIATE")
        try:
            self._file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        except BaseException:
            self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")


def _key(prompt: str, text: str) -> bytes:
    """Prompt and text apart, for a long text may be read in chunks with the prompt before each."""
    said = prompt.encode("utf-8", "surrogatepass")
    read = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(len(said).to_bytes(4, "little") + said + read, digest_size=16).digest()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise InputError(
            f"the vector cache {path} cannot be used: {error}; name another --cache, or delete it"
        ) from error
