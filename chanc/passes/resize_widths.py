"""Give channel groups new widths, the weights carried over: `chanc.rewrite` as a pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import PassResult

from chanc.backends.ort import seconds
from chanc.ir.normalize import normalize
from chanc.ir.sizes import Sizes
from chanc.passes.base import Pass
from chanc.rewriter import rewrite
from chanc.rewriter.budget import Amount, Clock
from chanc.rewriter.importance import Gathered, Importance
from chanc.rewriter.plan import Plan
from chanc.rewriter.rest import Left

TRACE = "chanc.trace"
"""The key of `Model.meta` under which the `Trace` of the resize is."""


@dataclass(frozen=True)
class ResizeWidths(Pass):
    """Resize by a plan, a scale or budgets; the options are those of `chanc.rewrite`.

    Raises PlanError, IllegalMove and VerifyError as `chanc.rewrite` does; the model is then in normal form and has the
    widths that it had. Where anything changes its `graph` is another object afterwards.
    """

    plan: Plan | None = None
    scale: float | None = None
    max_params: Amount | None = None
    max_macs: Amount | None = None
    max_latency: Amount | None = None
    keep: Sequence[str] = ()
    ratios: Mapping[str, float] | None = None
    heads: bool = True
    importance: str | Importance = "l2"
    transfer: str = "grow"
    round_to: int | None = None
    min_width: int = 1
    seed: int = 0
    dims: Sizes | None = None
    shapes: Mapping[str, Sequence[int]] | None = None
    fold: bool = True
    exact: bool = False
    leave: Left | None = None
    evidence: Gathered | None = None
    clock: Clock | None = seconds

    def call(self, model: ir.Model) -> PassResult:
        """Resize in place; `model.meta["chanc.trace"]` says what changed."""
        changed = normalize(model)
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        done = rewrite(model, **options)
        if _tensors(done.model) != _tensors(model):
            model.graph, changed = done.model.graph, True
            model.metadata_props.clear()  # what an earlier rewrite said of its source isn't true any more
            model.metadata_props.update(done.model.metadata_props)
        model.meta[TRACE] = done.trace
        return PassResult(model, changed)


def _tensors(model: ir.Model) -> dict[str, ir.TensorProtocol | None]:
    """The initializers' tensors: no width changes, and no weight is drawn anew, without one of them being another."""
    return {name: value.const_value for name, value in model.graph.initializers.items()}
