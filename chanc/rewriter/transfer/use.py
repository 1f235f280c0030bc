"""How a tensor is used: the operator that reads it, and at which input."""

from __future__ import annotations

from typing import NamedTuple


class Use(NamedTuple):
    """Operator type and input index of the first node that reads a tensor; `transposed` where it is Gemm's transB."""

    op: str
    input: int
    transposed: bool = False
