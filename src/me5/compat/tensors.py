"""torch where it is installed: arrays become tensors, and a device gets a name. Without it arrays stay arrays."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from me5.errors import MissingExtraError


@cache
def torch_or_none() -> Any:
    """The torch module, or None; imported when a tensor is first needed, for it takes seconds."""
    if find_spec("torch") is None:
        return None
    import torch

    return torch


def needed() -> Any:
    """The torch module. Raises `MissingExtraError` where tensors are asked for and it is not installed."""
    torch = torch_or_none()
    if torch is None:
        raise MissingExtraError("tensors need torch, which is not installed: pip install 'me5[gpu]'")
    return torch


def tensor(array: npt.NDArray[Any], device: str = "cpu") -> Any:
    """A tensor where torch is installed, else the array."""
    torch = torch_or_none()
    return array if torch is None else torch.from_numpy(np.ascontiguousarray(array)).to(_place(device))


def array(vectors: Any) -> npt.NDArray[np.float32]:
    """float32 numbers of an array, a tensor on any device, or a list of either."""
    if isinstance(vectors, Sequence) and len(vectors) and hasattr(vectors[0], "detach"):
        vectors = [vector.detach().cpu().float().numpy() for vector in vectors]
    elif hasattr(vectors, "detach"):
        vectors = vectors.detach().cpu().float().numpy()
    return np.asarray(vectors, np.float32)


def device_name(device: Any) -> str:
    """A device as me5 names it. None is a GPU where torch sees one, else the CPU; a number is that of a GPU."""
    if device is None:
        torch = torch_or_none()
        return "cuda" if torch is not None and torch.cuda.is_available() else "cpu"
    return f"cuda:{device}" if isinstance(device, int) else str(device)


def device_of(name: str) -> Any:
    """A device as torch names it, or its name where torch is not installed."""
    torch = torch_or_none()
    return name if torch is None else torch.device(_place(name))


def padded(rows: Sequence[npt.NDArray[np.int64]], fill: int) -> npt.NDArray[np.int64]:
    """Sequences of different lengths as one array (rows, longest)."""
    table = np.full((len(rows), max(map(len, rows), default=0)), fill, np.int64)
    for at, row in enumerate(rows):
        table[at, : len(row)] = row
    return table


def tensors(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """`tensor` of each value."""
    return {name: tensor(value) for name, value in arrays.items()}


def _place(name: str) -> str:
    return "cpu" if name == "torch-cpu" else name
