"""Transfer methods: the values of a resized tensor from its old ones. One method a file, which registers it.

A method is a function `(tensor, edits, use, rng) -> tensor`; `use` names the operator and input that read the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chanc.errors import PlanError
from chanc.registry import Registry
from chanc.rewriter.edits import AxisEdit
from chanc.rewriter.transfer._common import Tensor, Use

Transfer = Callable[[Tensor, Sequence[AxisEdit], Use, np.random.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class Method:
    """A transfer method: `ordered` where units are kept from the first on, `fresh` where every weight is drawn anew."""

    name: str
    apply: Transfer
    ordered: bool = False
    fresh: bool = False


TRANSFERS: Registry[Method] = Registry("transfer", "chanc.transfers", __name__, error=PlanError)


def register(name: str, *, ordered: bool = False, fresh: bool = False) -> Callable[[Transfer], Transfer]:
    """Decorator: make a function a transfer method, its flags those of `Method`. PlanError where the name is taken."""

    def add(apply: Transfer) -> Transfer:
        TRANSFERS.add(name, Method(name, apply, ordered, fresh), source=apply)
        return apply

    return add
