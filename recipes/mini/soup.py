"""Weights between those of two checkpoints of one shape: what fine-tuning learned, less of what it forgot.

Similarity outside of what was trained on comes back, at a small cost in it (Wortsman et al. 2022, WiSE-FT).
"""

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
    parser.add_argument("before", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.75, help="of the tuned weights")
    arguments = parser.parse_args()
    checkpoint = resolve(arguments.tuned)
    encoder, before = load(checkpoint), load(resolve(arguments.before))
    with torch.no_grad():
        for weight, other in zip(encoder.parameters(), before.parameters(), strict=True):
            weight.lerp_(other, 1 - arguments.share)
    save(encoder, arguments.out, tokenizer=checkpoint.tokenizer, prompts=INSTRUCT, overwrite=True)


if __name__ == "__main__":
    main()
