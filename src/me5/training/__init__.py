"""Examples -> a checkpoint folder: the recipe of E5, from one core to many GPUs, resumable bit-exactly at any step.

    recipe ─ datasets ─ tokens ─ sampler ─ batches ─ encoder ─ loss ─ optimizer ─ state ─ checkpoint folder

Needs the extra `train`.
"""

import importlib.util

from me5.errors import MissingExtraError

for _package in ("torch", "pydantic", "tensorboard"):
    if importlib.util.find_spec(_package) is None:
        raise MissingExtraError(f"training needs {_package}: pip install 'me5[train]'")
