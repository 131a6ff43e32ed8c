"""The encoder in torch, for training and for GPUs: sequences end to end, no padding, attention within each.

    sequences ─ encoder (attention) ─ hidden states ─ pooling ─ unit vectors
    checkpoint folder ─ folder ─ encoder, and back

Needs the extra `gpu`.
"""

import importlib.util

from me5.errors import MissingExtraError

if importlib.util.find_spec("torch") is None:
    raise MissingExtraError("the encoder for GPUs and training needs torch: pip install 'me5[gpu]'")
