"""The spec of an operator: what chanc's rooms need to know of it, as values and pure functions.

How channels pass through an operator is a rule (`chanc.analysis.rules`), how a rewrite is carried out at it another one
(`chanc.rewriter.rules`), and its text in PyTorch a third (`chanc.backends.torch.ops`). All else stands here.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import onnx_ir as ir

Attributes = Mapping[str, ir.Attr]
Number = Any
"""A size: an integer, a float, or a torch tensor; whatever adds and multiplies."""
Size = Sequence[Number]
"""The lengths of a tensor's axes."""
AxisOf = Callable[[Attributes, int], int | None]
"""The axis of a weight, from the node's attributes and the weight's rank; None where there is none."""


class Trait(enum.Enum):
    """What kind of operator one is; it may be several."""

    CONVOLUTION = "slides a kernel"
    LINEAR = "a product with a matrix"
    ELEMENTWISE = "each output element from the input elements at its place; operands are broadcast"
    CURVED = "f(x / 2) is not f(x) / 2"
    ADDITIVE = "its operands are added or joined: weights that meet in it play one role"
    CHANNELWISE = "one channel of its output from one channel of its input"
    ACTIVATION = "counted as one operation an element by public counters"
    NORM = "normalises: counted as two operations an element of its output"
    POOL = "counted as one operation an element of its input"
    REDUCTION = "folds axes away"
    CUTTER = "takes parts of an axis"
    VIEW = "moves elements, changes none"
    SATURATING = "its output says little of large inputs: probabilities, gates"
    RANDOM = "draws numbers"


class Work(NamedTuple):
    """What a node computes for all that its inputs hold: multiply-accumulates of products, and other operations."""

    macs: Number = 0
    other: Number = 0


WorkOf = Callable[[Attributes, Sequence[Size | None], Sequence[Size]], Work]
"""From attributes, sizes of the inputs (None where one is left out) and of the outputs."""


@dataclass(frozen=True, slots=True)
class Weight:
    """An input that may hold trained values.

    makes, takes: the axis along which it makes channels, and the one along which it reads them; both None: one value a
    channel. init: what a fresh one is filled with, or "he": normal with variance 2 / fan-in (He et al. 2015).
    statistic: a buffer that training measures (a running mean), no parameter.
    """

    input: int
    makes: AxisOf | None = None
    takes: AxisOf | None = None
    init: float | str = "he"
    statistic: bool = False


@dataclass(frozen=True, slots=True)
class Spec:
    """One operator. `work` is None where there is nothing to count; divisors are inputs that must not be zero."""

    name: str
    domain: str = ""
    since: int = 1
    traits: frozenset[Trait] = frozenset()
    weights: tuple[Weight, ...] = ()
    divisors: tuple[int, ...] = ()
    work: WorkOf | None = None
