"""A model as a folder of the published layout, with the settings of sentence-transformers."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from me5.checkpoint import Checkpoint
from me5.errors import InputError
from me5.export import export
from me5.files.atomic import write_text
from me5.prompts import from_sentence_transformers


def save(checkpoint: Checkpoint, folder: Path, settings: Mapping[str, Any], max_tokens: int) -> None:
    """Write a checkpoint with `settings` in its config_sentence_transformers.json, in place of an older model.

    Raises `InputError` where the folder holds something else than a model.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "modules.json").is_file():
        raise InputError(f"{folder} holds something else than a model, and would be replaced; choose another folder")
    prompts = from_sentence_transformers(settings["prompts"])
    config = replace(checkpoint.config, max_tokens=max_tokens)
    export(replace(checkpoint, prompts=prompts, config=config), folder, overwrite=True)
    path = folder / "config_sentence_transformers.json"
    content = {**json.loads(path.read_text("utf-8")), **settings}
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
