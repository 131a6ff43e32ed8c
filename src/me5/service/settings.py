"""Every option of the service, once: name, type, default and help. Flags, variables and the documentation follow.

A field `max_items` is the flag `--max-items` and the variable `ME5_MAX_ITEMS`. A secret has a variable only, for what
stands in a command line can be read by every user of the machine.
"""

import dataclasses
import ipaddress
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from me5.engine import Precision
from me5.errors import InputError
from me5.tokenizer import Truncation

Group = Literal["Model", "Address", "Access", "Limits", "Behaviour", "Watching"]

# The default of an option that `ServiceSettings` derives from others where it is not given.
_DERIVED: Any = None
# Tokens that the model reads for a request, unless fewer may wait at all.
_REQUEST_TOKENS = 300_000
# Bodies of the largest size that may be in memory at a time; and which share of the connections an address may have.
_BODIES, _ADDRESSES = 16, 4


@dataclass(frozen=True)
class Help:
    """An option's help. `shown` is what a default of None or nothing means.

    `derived`: where it is not given, `ServiceSettings` makes it of other options.
    """

    group: Group
    help: str
    shown: str = ""
    least: float | None = None
    secret: bool = False
    derived: bool = False


@dataclass(frozen=True)
class ServiceSettings:
    """The options of one service. Raises `InputError` for a value that cannot be used."""

    model: Annotated[
        str | None,
        Help(
            "Model", "A folder, a hub id such as intfloat/multilingual-e5-large-instruct, or me5-small.",
            shown="the bundled me5-small",
        ),
    ] = None  # fmt: skip
    revision: Annotated[
        str | None, Help("Model", "The hub's revision: a commit, tag or branch.", shown="the pinned one, else main")
    ] = None
    device: Annotated[
        str, Help("Model", "cpu, cuda (every visible GPU), or cuda:N; GPUs need the extra gpu.", shown="cpu")
    ] = "cpu"
    precision: Annotated[
        Precision,
        Help("Model", "What the engine computes in; auto is bf16 where the device has it, else f32 (CPU) or f16."),
    ] = "auto"
    threads: Annotated[int | None, Help("Model", "CPU threads of the engine.", shown="every core", least=1)] = None
    prompts: Annotated[
        Literal["instruct", "prefix", "none"] | None,
        Help("Model", "Override the style of prompts.", shown="what the model is known for"),
    ] = None
    max_tokens: Annotated[
        int | None, Help("Model", "Read at most this many tokens per text.", shown="the model's limit", least=3)
    ] = None
    truncation: Annotated[
        Truncation,
        Help("Model", "Longer texts: truncate the end or the start, read in chunks, or refuse; requests may choose."),
    ] = "end"  # fmt: skip
    reranker: Annotated[
        str | None,
        Help(
            "Model", "A cross-encoder for /rerank, /v1/rerank and /v2/rerank, a folder or a hub id such as "
            "BAAI/bge-reranker-v2-m3; it has a worker of its own.", shown="none",
        ),
    ] = None  # fmt: skip
    reranker_revision: Annotated[
        str | None, Help("Model", "The hub's revision of the reranker.", shown="the pinned one, else main")
    ] = None
    served_name: Annotated[
        tuple[str, ...],
        Help("Model", "Names that requests may use, by commas; replies have the first.", shown="the model's own"),
    ] = ()
    strict_model: Annotated[bool, Help("Model", "Refuse requests for a model of another name (404).")] = True
    allow_dimensions: Annotated[
        bool,
        Help("Model", "Let requests shorten vectors to dimensions that the model was not trained for; costs quality."),
    ] = False

    host: Annotated[str, Help("Address", "The address to listen on; 0.0.0.0 is every IPv4 one.")] = "127.0.0.1"
    port: Annotated[int, Help("Address", "The port; 0 takes a free one.", shown="8080", least=0)] = 8080
    tls_cert: Annotated[Path | None, Help("Address", "Certificate chain for HTTPS, PEM.", shown="plain HTTP")] = None
    tls_key: Annotated[Path | None, Help("Address", "Private key of the certificate, PEM.", shown="plain HTTP")] = None
    cors_origins: Annotated[
        tuple[str, ...], Help("Address", "Web pages of these origins may call, by commas; * is any.", shown="none")
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...],
        Help(
            "Address", "Names under which a service on loopback without keys may be called, by commas; * is any.",
            shown="localhost, names without a dot, loopback addresses",
        ),
    ] = ()  # fmt: skip
    trusted_proxies: Annotated[
        tuple[str, ...],
        Help("Address", "Believe X-Forwarded-For of these addresses or networks, by commas.", shown="none"),
    ] = ()

    keys_file: Annotated[
        Path | None, Help("Access", "A file of API keys; requests then need one of them.", shown="no key needed")
    ] = None
    keys: Annotated[
        str | None, Help("Access", "API keys, by commas, instead of or beside a file.", "no key needed", secret=True)
    ] = field(default=None, repr=False)
    key_tokens_per_minute: Annotated[
        int | None,
        Help("Access", "Tokens that each key may use, where its line names no number.", shown="no limit", least=1),
    ] = None

    max_items: Annotated[int, Help("Limits", "Texts in a request.", least=1)] = 2048
    max_request_tokens: Annotated[
        int,
        Help(
            "Limits", "Tokens that the model reads for a request.",
            shown=f"{_REQUEST_TOKENS:,}, or --max-queue-tokens if that is less", least=1, derived=True,
        ),
    ] = _DERIVED  # fmt: skip
    max_body_bytes: Annotated[int, Help("Limits", "Bytes of a request's body.", least=1)] = 16 * 2**20
    max_receiving_bytes: Annotated[
        int,
        Help(
            "Limits", "Bytes of the bodies of all requests in memory, half of them for one caller; more: 429.",
            shown=f"{_BODIES} × --max-body-bytes", least=1, derived=True,
        ),
    ] = _DERIVED  # fmt: skip
    max_connections: Annotated[
        int, Help("Limits", "Requests at a time; more are answered 503, and idle connections make room.", least=1)
    ] = 1000
    max_address_connections: Annotated[
        int,
        Help(
            "Limits", "The same for one address, or an IPv6 network of 64 bits; trusted proxies have no such limit.",
            shown="a quarter of --max-connections", least=1, derived=True,
        ),
    ] = _DERIVED  # fmt: skip
    max_queue_tokens: Annotated[
        int, Help("Limits", "Tokens that may wait for the engine; more are answered 429 with Retry-After.", least=1)
    ] = 2_000_000
    max_batch_tokens: Annotated[
        int | None,
        Help(
            "Limits", "Cells of a batch; fewer answer a query sooner under bulk work, at some cost of throughput.",
            shown="where the engine runs best", least=1,
        ),
    ] = None  # fmt: skip

    request_timeout: Annotated[
        float, Help("Behaviour", "Seconds from arrival after which a request is given up (504).", least=0.001)
    ] = 600.0
    receive_timeout: Annotated[
        float, Help("Behaviour", "Seconds that a client may take to send a request.", least=0.001)
    ] = 30.0
    keep_alive: Annotated[float, Help("Behaviour", "Seconds that an idle connection is kept.", least=0)] = 75.0
    drain: Annotated[
        float, Help("Behaviour", "Seconds that running requests get to finish when the service shuts down.", least=0)
    ] = 30.0
    page: Annotated[bool, Help("Behaviour", "Serve the page to try the model, at /.")] = True
    search: Annotated[
        str | None,
        Help("Behaviour", "A store that `me5 index` made with this model, to be searched at /search.", shown="none"),
    ] = None
    search_timeout: Annotated[
        float, Help("Behaviour", "Seconds that a search of the store may take (504).", least=0.001)
    ] = 10.0

    log_format: Annotated[
        Literal["auto", "json", "text"],
        Help("Watching", "Log lines for machines or for people; auto is text on a terminal, else json."),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Help("Watching", "The least level that is logged.")
    ] = "info"
    metrics: Annotated[bool, Help("Watching", "Serve Prometheus metrics at /metrics.")] = True
    otlp_endpoint: Annotated[
        str | None,
        Help("Watching", "Send spans to this OTLP/HTTP collector, such as http://localhost:4318.", shown="none"),
    ] = None

    def __post_init__(self) -> None:
        for option in OPTIONS:
            option.check(getattr(self, option.name))
        self._derive("max_request_tokens", min(_REQUEST_TOKENS, self.max_queue_tokens))
        self._derive("max_receiving_bytes", _BODIES * self.max_body_bytes)
        self._derive("max_address_connections", max(1, self.max_connections // _ADDRESSES))
        if self.port > 65535:
            raise InputError(f"--port must be at most 65535, got {self.port}")
        if (self.tls_cert is None) != (self.tls_key is None):
            given, missing = ("--tls-cert", "--tls-key") if self.tls_cert else ("--tls-key", "--tls-cert")
            raise InputError(f"{given} without {missing}: HTTPS needs the certificate and its private key")
        if self.max_request_tokens > self.max_queue_tokens:
            raise InputError(
                f"--max-request-tokens {self.max_request_tokens:,} is more than may wait at all: lower it, or raise "
                f"--max-queue-tokens, now {self.max_queue_tokens:,}"
            )
        if self.max_receiving_bytes < 2 * self.max_body_bytes:
            raise InputError(
                f"--max-receiving-bytes {self.max_receiving_bytes:,} must be at least twice --max-body-bytes, now "
                f"{self.max_body_bytes:,}: one caller may use half of it"
            )
        _ = self.proxies

    def _derive(self, name: str, value: int) -> None:
        if getattr(self, name) is None:
            object.__setattr__(self, name, value)

    @property
    def proxies(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The networks of `trusted_proxies`."""
        try:
            return tuple(ipaddress.ip_network(network, strict=False) for network in self.trusted_proxies)
        except ValueError as error:
            raise InputError(
                f"--trusted-proxies takes addresses and networks such as 10.0.0.0/8, by commas: {error}"
            ) from error


@dataclass(frozen=True)
class Option:
    """One field of `ServiceSettings` as users meet it.

    `kind` is str, int, float, bool, Path, tuple (of str) or a Literal; `optional`: None is a value too.
    """

    name: str
    kind: Any
    optional: bool
    default: Any
    about: Help

    @property
    def flag(self) -> str:
        """Such as `--max-items`, and for a switch `--page/--no-page`; empty for a secret."""
        if self.about.secret:
            return ""
        words = self.name.replace("_", "-")
        return f"--{words}/--no-{words}" if self.kind is bool else f"--{words}"

    @property
    def variable(self) -> str:
        """Such as `ME5_MAX_ITEMS`."""
        return f"ME5_{self.name.upper()}"

    def check(self, value: Any) -> None:
        """Raise `InputError` for a value below the least, or none of the choices."""
        if value is None and self.optional:
            return
        label = self.flag.partition("/")[0] or self.variable
        if get_origin(self.kind) is Literal and value not in get_args(self.kind):
            raise InputError(f"{label} must be one of {', '.join(get_args(self.kind))}, got {value!r}")
        if self.about.least is not None and not value >= self.about.least:
            raise InputError(f"{label} must be at least {self.about.least:g}, got {value!r}")


def _options() -> tuple[Option, ...]:
    hints = get_type_hints(ServiceSettings, include_extras=True)
    options = []
    for one in dataclasses.fields(ServiceSettings):
        kind, about = get_args(hints[one.name])
        nullable = get_origin(kind) in (Union, types.UnionType)
        optional = nullable or about.derived
        if nullable:
            (kind,) = (part for part in get_args(kind) if part is not type(None))
        options.append(
            Option(one.name, get_origin(kind) if get_origin(kind) is tuple else kind, optional, one.default, about)
        )
    return tuple(options)


OPTIONS = _options()
