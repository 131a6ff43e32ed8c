"""The first layers of a model as a checkpoint folder, for a small reranker to start at: MODEL COUNT FOLDER."""

import argparse
from dataclasses import replace
from pathlib import Path

from torch import nn

from me5.checkpoint import resolve
from me5.model.folder import load, save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("count", type=int)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    checkpoint = resolve(arguments.model)
    encoder = load(checkpoint)
    if not 1 <= arguments.count <= len(encoder.layers):
        parser.error(f"{checkpoint.name} has {len(encoder.layers)} layers, got {arguments.count}")
    encoder.layers = nn.ModuleList(list(encoder.layers)[: arguments.count])
    encoder.config = replace(encoder.config, layers=arguments.count)
    save(encoder, arguments.folder, tokenizer=checkpoint.tokenizer, prompts=checkpoint.prompts)


if __name__ == "__main__":
    main()
