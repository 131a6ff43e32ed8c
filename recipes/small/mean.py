"""The mean of tuned weights and those of the start (WiSE-FT: Wortsman et al. 2022): what tuning forgot comes back."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from me5.checkpoint import resolve
from me5.model.folder import load, save
from me5.prompts import INSTRUCT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tuned", type=Path)
    parser.add_argument("start", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, required=True, help="the start's")
    arguments = parser.parse_args()
    checkpoint = resolve(arguments.start)
    mixed, tuned = load(checkpoint), load(resolve(arguments.tuned))
    with torch.no_grad():
        for name, weight in mixed.named_parameters():
            weight.lerp_(tuned.get_parameter(name), 1 - arguments.share)
    save(mixed, arguments.out, tokenizer=checkpoint.tokenizer, prompts=INSTRUCT, overwrite=True)


if __name__ == "__main__":
    main()
