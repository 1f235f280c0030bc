"""Sequences and optional values (ONNX SequenceConstruct, SplitToSequence, Optional, ...): no arithmetic."""

from __future__ import annotations

from chanc.ops.spec import Trait
from chanc.ops.table import operator
from chanc.ops.work import free

operator(
    "ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceAt", "SequenceConstruct",
    "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
    traits=(), weights=(), divisors=(), work=free,
)  # fmt: skip
operator("SplitToSequence", traits={Trait.CUTTER}, weights=(), divisors=(), work=free)
