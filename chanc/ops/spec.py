"""The spec of an operator: what chanc's rooms need to know of it, as values and pure functions.

How channels pass through an operator is a rule (`chanc.analysis.rules`), how a rewrite is carried out at it another one
(`chanc.rewriter.rules`), and its text in PyTorch a third (`chanc.backends.torch.ops`). All else stands here.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import onnx_ir as ir

Attributes = Mapping[str, ir.Attr]
Number = Any
"""A size: an integer, a float, or a torch tensor; whatever adds and multiplies."""
Size = Sequence[Number]
"""The lengths of a tensor's axes."""
AxesOf = Callable[[Attributes, int], tuple[int, ...]]
"""Axes of a weight, counted from 0, from the node's attributes and the weight's rank; none is ()."""
Fill = float | Literal["he", "normal"]
"""What a fresh weight is filled with: a number, "he" (normal with variance 2 / fan-in, He et al. 2015) or "normal"
(deviation 0.02, as BERT, GPT-2 and ViT draw their tables and tokens)."""


class Trait(enum.Enum):
    """What kind of operator one is; it may be several."""

    CONVOLUTION = "slides a kernel"
    LINEAR = "a product with a matrix"
    ELEMENTWISE = "each output element from the input elements at its place"
    BROADCAST = "elementwise, of several operands that are broadcast against each other"
    CURVED = "f(x / 2) is not f(x) / 2"
    ADDITIVE = "its operands are added or joined: weights that meet in it play one role"
    CHANNELWISE = "channel k of its output, on axis 1, is what channel k of its input has become"
    RANK = "its output has as many axes as the input that has most"
    ACTIVATION = "counted as one operation an element by public counters"
    NORM = "normalises: counted as two operations an element of its output"
    POOL = "counted as one operation an element of its input"
    REDUCTION = "folds axes into one number, or into nothing"
    TOTAL = "a reduction that grows with the number of elements: a sum, no mean"
    SUM = "a reduction in which zeros don't count"
    LIFTING = "f(0) is not 0"
    CUTTER = "takes parts of an axis"
    VIEW = "moves elements, changes none"
    RESHAPE = "a view whose elements stay in their order"
    RECAST = "the same values in another type"
    SATURATING = "its output says little of large inputs: probabilities, gates"
    RANDOM = "draws numbers"
    PARTIAL = "gives no finite number for some: of a root, a logarithm, a power"

    # By identity: an Enum's own runs in Python, and sets of traits are asked of node after node.
    __hash__ = object.__hash__


class Work(NamedTuple):
    """What a node computes for all that its inputs hold: multiply-accumulates of products, and other operations."""

    macs: Number = 0
    other: Number = 0


WorkOf = Callable[[Attributes, Sequence[Size | None], Sequence[Size]], Work]
"""From attributes, sizes of the inputs (None where one is left out) and of the outputs."""


def at(*axes: int) -> AxesOf:
    """Axes that are always the same; negative ones count from the last, and those that a tensor lacks are left out."""
    return lambda attributes, rank: tuple(axis % rank for axis in axes if -rank <= axis < rank)


NOWHERE = at()


@dataclass(frozen=True, slots=True)
class Weight:
    """An input that may hold trained values.

    makes, takes: the axes along which it makes channels, and those along which it reads them; neither: one value a
    channel. kernel: a convolution's: axes from 2 on are spatial, and axis 1 holds the channels of one of `group`
    groups. arithmetic: an operand that may as well be a number, a grid or a mask, which nobody trains. statistic: a
    buffer that training measures (a running mean), no parameter.
    """

    input: int
    init: Fill
    makes: AxesOf = NOWHERE
    takes: AxesOf = NOWHERE
    kernel: bool = False
    arithmetic: bool = False
    statistic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One operator.

    divisors: inputs that must not be zero. work: what it computes; None where no formula is known, so that a count
    names its nodes as uncounted.
    """

    name: str
    domain: str
    since: int
    traits: frozenset[Trait]
    weights: tuple[Weight, ...]
    divisors: tuple[int, ...]
    work: WorkOf | None
