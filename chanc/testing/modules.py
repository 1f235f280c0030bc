"""Modules written by hand, trained as those that are made from graphs."""

from __future__ import annotations

import onnx_ir as ir
from torch import nn

from chanc.backends.torch import Built
from chanc.training.module import Trainable


def by_hand(module: nn.Module, inputs: tuple[str, ...] = ("image",), outputs: tuple[str, ...] = ("main",)) -> Trainable:
    """A module without a graph: there is nothing to write its weights back to."""
    return Trainable(Built(module, "", {}, type(module).__name__), ir.Model(ir.Graph([], [], nodes=[]), ir_version=10),
                     inputs, outputs)  # fmt: skip
