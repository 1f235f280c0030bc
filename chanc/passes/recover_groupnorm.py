"""GroupNormalization and LayerNormalization recovered, as a pass."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import PassResult

from chanc.passes.base import Pass
from chanc.transforms import recover_groupnorm


@dataclass
class RecoverResult(PassResult):
    """`left`: one line a norm that was seen and left as it is, with the reason."""

    left: tuple[str, ...] = ()


class RecoverGroupNorm(Pass):
    """Recover both norms (`chanc.transforms.recover_groupnorm`)."""

    def call(self, model: ir.Model) -> RecoverResult:
        """Recover in place."""
        found = recover_groupnorm(model)
        return RecoverResult(model, found.modified, found.left)
