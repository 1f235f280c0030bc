"""Arrays of ONNX to tensors of PyTorch and back, bfloat16 and float8 included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    import torch

# NumPy has no such dtypes of its own: bits are handed over as integers of the same width.
_BITS = {
    "bfloat16": np.int16, "float8_e4m3fn": np.int8, "float8_e5m2": np.int8, "float8_e4m3fnuz": np.int8,
    "float8_e5m2fnuz": np.int8,
}  # fmt: skip


def to_torch(array: np.ndarray) -> torch.Tensor:
    """A tensor with its own memory."""
    import torch

    name = array.dtype.name
    if name in ("int4", "uint4", "int2", "uint2"):
        array = array.astype(np.int8 if name.startswith("int") else np.uint8)
    if name in _BITS:
        bits = np.array(array, order="C").view(_BITS[name])
        return torch.from_numpy(bits).view(getattr(torch, name)).clone()
    return torch.from_numpy(np.array(array, order="C"))


def to_numpy(tensor: torch.Tensor, dtype: np.dtype) -> np.ndarray:
    """The tensor's values on the CPU, as `dtype`."""
    import torch

    tensor = tensor.detach().to("cpu")
    name = str(tensor.dtype).removeprefix("torch.")
    if name in _BITS:
        bits = tensor.contiguous().view(torch.int16 if name == "bfloat16" else torch.int8).numpy()
        return np.asarray(bits.view(getattr(ml_dtypes, name)).astype(dtype))
    return np.asarray(tensor.numpy().astype(dtype))
