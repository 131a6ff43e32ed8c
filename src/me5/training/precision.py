"""What matrix products are computed in: bfloat16 where the hardware has it, else float32."""

from collections.abc import Mapping
from typing import Literal

import torch

from me5.training.recipe import Precision

_NATIVE = ("avx512_bf16", "amx_bf16", "bf16")  # x86, x86 with tiles, ARM


def resolve(precision: Precision, device: torch.device) -> Literal["bf16", "f32"]:
    """What `precision` stands for on a device. Where a CPU has no bfloat16, torch emulates it slowly."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "f32"
    found: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch before 2.11 does not say
    return "bf16" if any(found.get(name) for name in _NATIVE) else "f32"


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which the network computes."""
    return torch.autocast(device.type, torch.bfloat16, enabled=resolve(precision, device) == "bf16")
