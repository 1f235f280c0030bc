"""Find the channel groups and leave them in the model's `meta`."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import PassResult

from chanc.passes.base import Pass
from chanc.passes.normalize import normalize

ANALYSIS = "chanc.analysis"
"""The key of `Model.meta` under which the `Analysis` is; it holds as long as the graph isn't changed."""


class FindGroups(Pass):
    """Bring a model into normal form and analyse it: `model.meta["chanc.analysis"]` is an `Analysis` afterwards."""

    def call(self, model: ir.Model) -> PassResult:
        """Analyse; `modified` says whether the normal form changed anything."""
        from chanc.analysis import analyze_model

        before = model.graph.num_nodes()
        normalize(model)
        model.meta[ANALYSIS] = analyze_model(model)
        return PassResult(model, model.graph.num_nodes() != before)
