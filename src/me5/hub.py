"""A hub id -> a local folder with the files that me5 needs; the only place that downloads, and looks into the cache."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from me5 import catalog
from me5.errors import DownloadError, InputError

# Only what the engines read: no pickles, no exported graphs. `*` also matches `/` in these patterns.
NEEDED_FILES = (
    "config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_xlm-roberta_config.json",
    "[0-9]_*/config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-[0-9]*-of-[0-9]*.safetensors",
)


def download(
    model_id: str, revision: str | None = None, *, progress: bool = True, options: Mapping[str, Any] | None = None
) -> Path:
    """The local snapshot of a hub model; taken from the cache where it is there, downloaded where it is not.

    Known models come at the revision that the catalogue pins unless another is asked for. The cache, the mirror
    (`HF_ENDPOINT`), the token and offline mode (`HF_HUB_OFFLINE=1`) are huggingface_hub's own settings, which `options`
    (`cache_dir`, `token`, `local_files_only`) override.
    Raises `DownloadError` with the way out.
    """
    # Imported here: it costs 0.2 s, and a model on disk never needs it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    revision = revision or _pinned(model_id)
    were_disabled = are_progress_bars_disabled()
    if not progress:
        disable_progress_bars()
    try:
        # Asks the hub which files the revision has, and falls back to the cache where the hub cannot be reached: only
        # so is a snapshot that an interrupted download left incomplete noticed.
        patterns = list(NEEDED_FILES)
        return Path(snapshot_download(model_id, revision=revision, allow_patterns=patterns, **(options or {})))
    except HFValidationError as error:
        raise DownloadError(f"{model_id!r} is neither a folder nor a hub id of the form owner/name: {error}") from error
    except LocalEntryNotFoundError as error:
        raise DownloadError(_unreachable(model_id, revision, error)) from error
    except HfHubHTTPError as error:
        raise DownloadError(f"the hub refused {model_id!r} (revision {revision or 'main'}): {_first_line(error)}. "
                            "Check the id and the revision; for a gated or private model log in with `hf auth login`"
                            ) from error  # fmt: skip
    except Exception as error:  # whatever its HTTP client raises, which differs from version to version, comes through
        raise DownloadError(_unreachable(model_id, revision, error)) from error
    finally:
        if not progress and not were_disabled:
            enable_progress_bars()


def cached(model_id: str) -> Path | None:
    """The local snapshot of a known model's pinned revision, or None; the network is not asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        patterns, revision = list(NEEDED_FILES), _pinned(model_id)
        return Path(snapshot_download(model_id, revision=revision, allow_patterns=patterns, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


@dataclass(frozen=True)
class Stored:
    """A model in huggingface_hub's cache: its folder, the bytes that it takes, and how many revisions there are."""

    path: Path
    size: int
    revisions: int


def stored() -> dict[str, Stored]:
    """Every model in the cache by its id, me5's or other programs'; the network is not asked."""
    found = _scanned()
    return {
        repo.repo_id: Stored(Path(repo.repo_path), int(repo.size_on_disk), len(repo.revisions))
        for repo in (() if found is None else found.repos)
        if repo.repo_type == "model"
    }


def remove(model_id: str) -> int:
    """Delete every revision of a model from the cache, and return the bytes that it took.

    Raises `InputError` for one that is not there.
    """
    found = _scanned()
    everything = () if found is None else found.repos
    repos = [repo for repo in everything if repo.repo_type == "model" and repo.repo_id == model_id]
    if found is None or not repos:
        there = ", ".join(sorted(stored())) or "none"
        raise InputError(f"{model_id!r} is not in the local cache; its models are {there}")
    found.delete_revisions(*(revision.commit_hash for repo in repos for revision in repo.revisions)).execute()
    return sum(int(repo.size_on_disk) for repo in repos)


def _scanned() -> Any:
    """What the cache holds; None where nothing was ever downloaded."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return scan_cache_dir()
    except CacheNotFound:
        return None


def _pinned(model_id: str) -> str | None:
    known = catalog.find(model_id)
    return known.revision if known is not None else None


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _unreachable(model_id: str, revision: str | None, error: BaseException) -> str:
    pinned = f" --revision {revision}" if revision else ""
    include = " ".join(f"--include '{name}'" for name in ("*.json", "*/config.json", "*.safetensors"))
    folder = model_id.rpartition("/")[2]
    return (
        f"{model_id!r} is not in the local cache and the hub cannot be reached ({_first_line(error)}).\n"
        "On a machine with access to the hub run\n"
        f"    hf download {model_id}{pinned} {include} --local-dir {folder}\n"
        f"copy the folder here, and pass its path as the model. The bundled model {catalog.BUNDLED} needs no network."
    )
