"""Give channel groups new widths, the weights carried over: `chanc.rewrite` as a pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from onnx_ir.passes import PassResult

from chanc.analysis import analyze_model
from chanc.ir.normalize import normalize
from chanc.passes.base import Pass
from chanc.rewriter import rewrite
from chanc.rewriter.importance import Importance

TRACE = "chanc.trace"
"""The key of `Model.meta` under which the `Trace` of the resize is."""


@dataclass(frozen=True)
class ResizeWidths(Pass):
    """Resize by a plan or a scale; the options are those of `chanc.rewrite`.

    Raises PlanError, IllegalMove and VerifyError as `chanc.rewrite` does; the model is not usable after an error.
    """

    plan: Mapping[str, Any] | None = None
    scale: float | None = None
    importance: str | Importance = "l2"
    transfer: str = "grow"
    round_to: int = 1
    min_width: int = 1
    seed: int = 0

    def call(self, model: ir.Model) -> PassResult:
        """Resize in place; `model.meta["chanc.trace"]` says what changed."""
        changed = normalize(model)
        before = _tensors(model)
        result = rewrite(
            analyze_model(model),
            self.plan,
            scale=self.scale,
            importance=self.importance,
            transfer=self.transfer,
            round_to=self.round_to,
            min_width=self.min_width,
            seed=self.seed,
        )
        model.meta[TRACE] = result.trace
        return PassResult(model, changed or _tensors(model) != before)


def _tensors(model: ir.Model) -> dict[str, ir.TensorProtocol | None]:
    """The initializers' tensors: no width changes, and no weight is drawn anew, without one of them being another."""
    return {name: value.const_value for name, value in model.graph.initializers.items()}
