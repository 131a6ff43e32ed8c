"""The trained network as the folder that me5 ships: float16."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from me5.checkpoint import resolve
from me5.model.folder import load, save
from me5.prompts import INSTRUCT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    trained = resolve(arguments.model)
    save(
        load(trained), arguments.folder, tokenizer=trained.tokenizer, prompts=INSTRUCT, dtype="float16", overwrite=True
    )
    # Stored in float16 and meant for float32: transformers computes in the type that is named here.
    config = json.loads((arguments.folder / "config.json").read_text("utf-8"))
    config["torch_dtype"] = "float32"
    (arguments.folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in arguments.folder.rglob("*") if path.is_file())
    print(f"{arguments.folder}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
