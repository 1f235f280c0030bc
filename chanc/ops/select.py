"""Taking and putting parts (ONNX Gather, Slice, Split, Concat, Scatter*, ...).

A Gather's data may be a table of trained vectors, one of Concat's operands a trained token.
"""

from __future__ import annotations

from chanc.ops.spec import Attributes, Trait, Weight
from chanc.ops.table import operator
from chanc.ops.work import free


def _entries(attributes: Attributes, rank: int) -> tuple[int, ...]:
    """The axis of a table along which Gather looks an entry up."""
    given = attributes.get("axis")
    return ((given.as_int() if given is not None else 0) % rank,) if rank else ()


def _channels(attributes: Attributes, rank: int) -> tuple[int, ...]:
    """The other axes of the table: an entry is a vector of channels."""
    return tuple(axis for axis in range(rank) if axis not in _entries(attributes, rank))


TABLE = Weight(0, init="normal", makes=_channels, arithmetic=True)
TOKENS = tuple(Weight(index, init="normal", arithmetic=True) for index in (0, 1))

operator("Gather", traits={Trait.CUTTER}, weights=(TABLE,), divisors=(), work=free)
operator("Slice", "Split", traits={Trait.CUTTER, Trait.RANK}, weights=(), divisors=(), work=free)
operator("Cut", domain="chanc", traits={Trait.RANK}, weights=(), divisors=(), work=free)
operator("Concat", traits={Trait.ADDITIVE, Trait.RANK}, weights=TOKENS, divisors=(), work=free)
operator("GatherElements", "GatherND", traits=(), weights=(), divisors=(), work=free)
operator("Scatter", "ScatterElements", "ScatterND", "TensorScatter", traits=(), weights=(), divisors=(), work=free)
