"""Who may call, and how much: API keys from a file or a variable, kept as SHA-256 only, each with tokens per minute.

A key file has one key per line; empty lines and those that start with `#` are skipped:

    search:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08:60000     name:sha256[:tokens per minute]
    a-key-as-it-is                                                                    named key-2, after its line

`printf %s "$KEY" | sha256sum` makes such a hash. Keys should be random (`openssl rand -hex 32`): the hash has no salt.
Where neither a file nor a variable is named the service is open, and the caller is known by address; one that is named
and holds no key is refused. /health, /ping, /metrics, /openapi.json and the page's own files never need a key: they
hold no text, and probes and browsers cannot send one.
"""

import hmac
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

from me5.errors import InputError
from me5.service.errors import RateLimited, Unauthorized

_HASHED = re.compile(r"(?P<name>[^:\s]+):(?P<hash>[0-9a-fA-F]{64})(?::(?P<limit>[1-9]\d*))?")
# What was meant as a hash and is none, such as one that lost a digit: as a plain key it would let nobody in.
_NEARLY_HASHED = re.compile(r"[^:\s]+:[0-9a-fA-F]{32,}(?::.*)?")
# Longer ones are refused unseen: hashing a header costs time.
_LONGEST = 1024


@dataclass(frozen=True)
class Key:
    """One key: a name for logs and fair shares, the SHA-256 of its text, and its tokens per minute."""

    name: str
    digest: bytes
    tokens_per_minute: int | None = None


class Allowance:
    """What one key may still use: a bucket that holds a minute's tokens and fills evenly.

    A request's tokens are taken when they are known, before the engine reads them, and never more than there are: so a
    key gets its tokens at once at most, and those of every minute after. What the engine did not read is given back.
    """

    def __init__(self, key: str, tokens_per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = key
        self.most = tokens_per_minute
        self._per_second = tokens_per_minute / 60
        self._level = float(tokens_per_minute)
        self._usual = 1  # what the last request took, or wanted to
        self._clock = clock
        self._seen = clock()

    @property
    def left(self) -> int:
        """The tokens that may be used now."""
        return int(self._filled())

    @property
    def full_in(self) -> float:
        """Seconds until all of them may."""
        return (self.most - self._filled()) / self._per_second

    def admit(self) -> None:
        """Raise `RateLimited` when nothing is left, before anything is read of a request: it may be like the last."""
        if self._filled() < 1:
            self._refuse(self._usual)

    def take(self, tokens: int) -> None:
        """Use tokens. Raises `RateLimited` where fewer are left, `InputError` where there never are as many."""
        if tokens > self.most:
            raise InputError(
                f"the model would read at least {tokens:,} tokens, and the key {self._key!r} may use {self.most:,} per "
                "minute; send fewer texts at a time"
            )
        self._usual = tokens
        if tokens > self._filled():
            self._refuse(tokens)
        self._level -= tokens

    def give_back(self, tokens: int) -> None:
        """Return tokens that were taken and not used."""
        self._level = min(self.most, self._filled() + tokens)

    def _filled(self) -> float:
        now = self._clock()
        self._level = min(self.most, self._level + (now - self._seen) * self._per_second)
        self._seen = now
        return self._level

    def _refuse(self, tokens: int) -> NoReturn:
        raise RateLimited(
            f"the key {self._key!r} has {self.left:,} of its {self.most:,} tokens per minute left, and the request "
            f"needs {tokens:,}; come back later",
            retry_after=(tokens - self._level) / self._per_second,
        )


class Keys:
    """The keys of a service; none means that it is open to all."""

    def __init__(self, keys: tuple[Key, ...] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._allowances = {
            key.name: Allowance(key.name, key.tokens_per_minute, clock)
            for key in keys
            if key.tokens_per_minute is not None
        }

    def __len__(self) -> int:
        return len(self._keys)

    def become(self, others: "Keys") -> None:
        """Take over other keys; a key that stays as it was keeps what it has used."""
        unchanged = {key.name: self._allowances.get(key.name) for key in others._keys if key in self._keys}
        retained = {name: allowance for name, allowance in unchanged.items() if allowance is not None}
        self._keys, self._allowances = others._keys, others._allowances | retained

    def find(self, headers: Mapping[str, str]) -> Key | None:
        """The key that a request carries; None where none is needed. Raises `Unauthorized`.

        It may stand in `Authorization`, behind `Bearer` or alone (llama-index sends it so), or in `x-api-key`.
        """
        if not self._keys:
            return None
        scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
        bearer = rest.strip() if scheme.lower() == "bearer" else scheme if not rest else ""
        presented = bearer or headers.get("x-api-key", "").strip()
        if not presented:
            raise Unauthorized(
                "this service needs an API key: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`"
            )
        key = self._match(presented)
        if key is None:
            raise Unauthorized(
                "the API key is not one of this service's; look for a typing error, or ask for a new one"
            )
        return key

    def allowance(self, key: Key | None) -> Allowance | None:
        """The bucket of a key, where it has one."""
        return self._allowances.get(key.name) if key is not None else None

    def _match(self, presented: str) -> Key | None:
        """Every key is compared, in constant time each: how long it takes does not reveal which one is near."""
        digest = sha256(presented[:_LONGEST].encode("utf-8", "surrogateescape")).digest()
        match = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                match = key
        return match if len(presented) <= _LONGEST else None


def read_keys(file: Path | None, listed: str | None, tokens_per_minute: int | None) -> Keys:
    """The keys of a file and of a comma-separated list; `tokens_per_minute` holds for those that name no number.

    Raises `InputError` for a file that cannot be read, a file or a list that holds no key, or a name that occurs twice.
    """
    keys: list[Key] = []
    if file is not None:
        try:
            lines = file.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the key file {file} cannot be read: {error}") from error
        keys += _keys(lines, tokens_per_minute, f"the key file {file}")
    if listed is not None:
        parts = listed.split(",")
        if any(part.strip().startswith("#") for part in parts):
            raise InputError("a key in the variable ME5_KEYS begins with #: comments are for key files only")
        keys += _keys(parts, tokens_per_minute, "the variable ME5_KEYS", first=len(keys) + 1)
    names = [key.name for key in keys]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"two API keys are named {', '.join(sorted(twice))}; give each a name of its own")
    return Keys(tuple(keys))


def _keys(lines: list[str], tokens_per_minute: int | None, source: str, first: int = 1) -> list[Key]:
    keys = []
    for number, line in enumerate(map(str.strip, lines), first):
        if not line or line.startswith("#"):
            continue
        if hashed := _HASHED.fullmatch(line):
            limit = int(hashed["limit"]) if hashed["limit"] else tokens_per_minute
            keys.append(Key(hashed["name"], bytes.fromhex(hashed["hash"]), limit))
        elif _NEARLY_HASHED.fullmatch(line):
            raise InputError(
                f"entry {number - first + 1} of {source} is not name:sha256[:tokens per minute]: a SHA-256 has 64 "
                "hexadecimal digits, and the tokens are a number of at least 1"
            )
        else:
            keys.append(Key(f"key-{number}", sha256(line.encode()).digest(), tokens_per_minute))
    if not keys:
        raise InputError(f"{source} holds no key, which would leave the service open; leave it out for that")
    return keys
