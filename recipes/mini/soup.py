"""The weighted mean of the weights of checkpoints of one shape that started alike.

What fine-tuning forgot comes back, similarity above all, at a small cost in what it taught (WiSE-FT: Wortsman et al.
2022).
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
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", nargs="+", help="FOLDER=SHARE, shares that make 1")
    arguments = parser.parse_args()
    parts = [(Path(folder), float(share)) for folder, _, share in (part.rpartition("=") for part in arguments.folders)]
    if abs(sum(share for _, share in parts) - 1) > 1e-6:
        parser.error(f"the shares make {sum(share for _, share in parts)}, not 1")
    checkpoint = resolve(parts[0][0])
    mixed = load(checkpoint)
    others = [(load(resolve(folder)), share) for folder, share in parts[1:]]
    with torch.no_grad():
        for name, weight in mixed.named_parameters():
            weight.mul_(parts[0][1])
            for other, share in others:
                weight.add_(other.get_parameter(name), alpha=share)
    save(mixed, arguments.out, tokenizer=checkpoint.tokenizer, prompts=INSTRUCT, overwrite=True)


if __name__ == "__main__":
    main()
