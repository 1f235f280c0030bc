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
from chanc.rewriter.edits import AxisEdit, Part

Tensor = NDArray[np.generic]


class Use(NamedTuple):
    """How a tensor is used.

    fill: what a fresh one is filled with, None where nobody trains it. fan_in: from its shape. zero: what a stored 0
    is, broadcast to the old tensor: the zero point of a quantised one.
    """

    fill: Fill | None = None
    fan_in: Callable[[tuple[int, ...]], int] = prod
    zero: Tensor | None = None


KEPT = Use()


def take(tensor: Tensor, edits: Sequence[AxisEdit]) -> Tensor:
    """A new tensor with the source's value at every position."""
    for edit in edits:
        tensor = np.take(tensor, edit.source, axis=edit.axis)
    return tensor


def clear_later(taken: Tensor, edits: Sequence[AxisEdit], parts: Callable[[Part], bool], zero: Tensor | None) -> Tensor:
    """What was taken, with nothing left in consumers of second and later copies, for the parts that are chosen.

    Changes `taken`; `zero` is that of `Use`.
    """
    nothing = take(zero, edits) if zero is not None else None
    for edit in edits:
        for part in edit.parts if edit.role == "consumer" else ():
            if parts(part) and part.later.size:
                place = (slice(None),) * edit.axis + (part.later,)
                taken[place] = 0 if nothing is None else nothing[place]
    return taken


Transfer = Callable[[Tensor, Sequence[AxisEdit], Use, np.random.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class Method:
    """A transfer method.

    ordered: units are kept from the first on. fresh: every weight is drawn anew. shares: consumers' weights are shared
    out among copies so that the function stays; groups of which that isn't true are left alone.
    """

    name: str
    apply: Transfer
    ordered: bool = False
    fresh: bool = False
    shares: bool = False


TRANSFERS: Registry[Method] = Registry("transfer", "chanc.transfers", __package__ or "", error=PlanError)


def register(
    name: str, *, ordered: bool = False, fresh: bool = False, shares: bool = False
) -> Callable[[Transfer], Transfer]:
    """Decorator: make a function a transfer method, its flags those of `Method`. PlanError where the name is taken."""

    def add(apply: Transfer) -> Transfer:
        TRANSFERS.add(name, Method(name, apply, ordered, fresh, shares), source=apply)
        return apply

    return add
