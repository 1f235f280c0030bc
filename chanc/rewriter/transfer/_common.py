"""What transfer methods share: what one is, the registry, and the values at the sources of new positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chanc.errors import PlanError
from chanc.ops import Fill
from chanc.registry import Registry
from chanc.rewriter.edits import AxisEdit

Tensor = NDArray[np.generic]


class Use(NamedTuple):
    """`fill`: what a fresh tensor is filled with, None where nobody trains it; `fan_in`: from its shape."""

    fill: Fill | None = None
    fan_in: Callable[[tuple[int, ...]], int] = prod


KEPT = Use()


def take(tensor: Tensor, edits: Sequence[AxisEdit]) -> Tensor:
    """A new tensor with the source's value at every position."""
    for edit in edits:
        tensor = np.take(tensor, edit.source, axis=edit.axis)
    return tensor


Transfer = Callable[[Tensor, Sequence[AxisEdit], Use, np.random.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class Method:
    """A transfer method: `ordered` where units are kept from the first on, `fresh` where every weight is drawn anew."""

    name: str
    apply: Transfer
    ordered: bool = False
    fresh: bool = False


TRANSFERS: Registry[Method] = Registry("transfer", "chanc.transfers", __package__ or "", error=PlanError)


def register(name: str, *, ordered: bool = False, fresh: bool = False) -> Callable[[Transfer], Transfer]:
    """Decorator: make a function a transfer method, its flags those of `Method`. PlanError where the name is taken."""

    def add(apply: Transfer) -> Transfer:
        TRANSFERS.add(name, Method(name, apply, ordered, fresh), source=apply)
        return apply

    return add
