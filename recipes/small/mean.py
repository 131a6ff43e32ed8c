"""The mean of trained weights and those of the start, but for the word table, which stays as it was trained.

What training forgot comes back (WiSE-FT: Wortsman et al. 2022): similarity above all. In the word table nothing of the
start is worth having: every language but English has only guesses there.
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
    parser.add_argument("trained", type=Path)
    parser.add_argument("start", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.25, help="the start's (default: %(default)s)")
    arguments = parser.parse_args()
    checkpoint = resolve(arguments.trained)
    mixed, start = load(checkpoint), load(resolve(arguments.start))
    with torch.no_grad():
        for name, weight in mixed.named_parameters():
            if not name.startswith("words"):
                weight.lerp_(start.get_parameter(name), arguments.share)
    save(mixed, arguments.out, tokenizer=checkpoint.tokenizer, prompts=INSTRUCT, overwrite=True)


if __name__ == "__main__":
    main()
