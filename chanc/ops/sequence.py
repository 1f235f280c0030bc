"""Sequences and optional values (ONNX SequenceConstruct, SplitToSequence, Optional, ...): no arithmetic."""

from __future__ import annotations

from chanc.ops.spec import Trait
from chanc.ops.table import operator

operator(
    "ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceAt", "SequenceConstruct",
    "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
    traits=(), weights=(), divisors=(),
)  # fmt: skip
operator("SplitToSequence", traits={Trait.CUTTER}, weights=(), divisors=())
