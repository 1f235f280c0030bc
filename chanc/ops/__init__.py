"""What an operator is, described once: one frozen spec an operator, facts only. Every table elsewhere is a query.

An operator of one's own is registered as chanc's are:

    operator("Gate", domain="com.example", traits={Trait.ELEMENTWISE}, weights=(Weight(1, init=0.0),), divisors=(),
             work=free)
"""

from __future__ import annotations

from chanc.ops.spec import Attributes, AxesOf, Fill, Number, Size, Spec, Trait, Weight, Work, WorkOf, at
from chanc.ops.table import Kind, find, has, kind_of, operator, spec_of, specs, with_trait
from chanc.ops.weights import Reader, channels_made, channels_taken, fan_in, groups, reader, weight_of
from chanc.ops.work import free

__all__ = [
    "Attributes", "AxesOf", "Fill", "Kind", "Number", "Reader", "Size", "Spec", "Trait", "Weight", "Work", "WorkOf",
    "at", "channels_made", "channels_taken", "fan_in", "find", "free", "groups", "has", "kind_of", "operator", "reader",
    "spec_of", "specs", "weight_of", "with_trait",
]  # fmt: skip
