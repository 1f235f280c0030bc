"""Layouts turned to channels first, as a pass."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import PassResult

from chanc.passes.base import Pass
from chanc.transforms import channels_first


@dataclass(frozen=True)
class ChannelsFirst(Pass):
    """Move Transposes of activations to where they can't be avoided (`chanc.transforms.channels_first`)."""

    reorder: bool = True

    def call(self, model: ir.Model) -> PassResult:
        """Move in place."""
        return PassResult(model, channels_first(model, reorder=self.reorder))
