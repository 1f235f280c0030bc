"""Transfer methods: the values of a resized tensor from its old ones. One method a file.

A method is a function `(tensor, edits, use, rng) -> tensor`; `use` names the operator and input that read the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chanc.rewriter.edits import AxisEdit
from chanc.rewriter.transfer import init, reflect, select, svd, widen
from chanc.rewriter.transfer._common import Tensor, Use

Transfer = Callable[[Tensor, Sequence[AxisEdit], Use, np.random.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class Method:
    """A transfer method: `ordered` where units are kept from the first on, `fresh` where every weight is drawn anew."""

    name: str
    apply: Transfer
    ordered: bool = False
    fresh: bool = False


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("select", select.select),
        Method("svd", svd.svd, ordered=True),
        Method("reflect", reflect.reflect, ordered=True),
        Method("widen", widen.widen),
        Method("init", init.init, fresh=True),
    )
}
