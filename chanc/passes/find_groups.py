"""Find the channel groups and leave them in the model's `meta`."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import PassResult

from chanc.analysis.analyze import grouped
from chanc.analysis.fold_shapes import settled
from chanc.ir.normalize import normalize
from chanc.passes.base import ANALYSIS, Pass


class FindGroups(Pass):
    """Bring a model into normal form, fold its shapes and analyse it.

    `model.meta["chanc.analysis"]` is an `Analysis` afterwards.
    """

    def call(self, model: ir.Model) -> PassResult:
        """Analyse; `modified` says whether the normal form or the folding changed anything."""
        changed = normalize(model)
        findings, folded = settled(model)
        model.meta[ANALYSIS] = grouped(model, findings)
        return PassResult(model, changed or folded)
