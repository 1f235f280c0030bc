"""Find the channel groups and leave them in the model's `meta`."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import PassResult

from chanc.analysis import analyze_model
from chanc.ir.normalize import normalize
from chanc.passes.base import ANALYSIS, Pass


class FindGroups(Pass):
    """Bring a model into normal form and analyse it: `model.meta["chanc.analysis"]` is an `Analysis` afterwards."""

    def call(self, model: ir.Model) -> PassResult:
        """Analyse; `modified` says whether the normal form changed anything."""
        changed = normalize(model)
        model.meta[ANALYSIS] = analyze_model(model)
        return PassResult(model, changed)
