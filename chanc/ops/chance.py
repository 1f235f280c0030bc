"""Which nodes draw numbers (ONNX Random*, Bernoulli, Multinomial, and Dropout in training mode)."""

from __future__ import annotations

import onnx_ir as ir

from chanc.ops.spec import Trait
from chanc.ops.table import has


def draws(node: ir.Node) -> bool:
    """Whether a node draws numbers, or may: a Dropout whose mode is not known to be evaluation."""
    return has(node, Trait.RANDOM) or drops(node)


def drops(node: ir.Node) -> bool:
    """Whether a node is a Dropout that may be in training mode: its third input is not known to be false."""
    training = node.inputs[2] if node.op_type == "Dropout" and len(node.inputs) > 2 else None
    return training is not None and (training.const_value is None or bool(training.const_value.numpy()))
