"""A step of a pruning that cuts edges in place of channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from chanc.analysis import analyze
from chanc.pruning.edges import cut_edges, floors_of, inputs_read
from chanc.pruning.steps import Recovery
from chanc.rewriter import Rewrite


@dataclass(frozen=True)
class EdgeRecovery(Recovery):
    """As `Recovery`; `Step.widths` tells the inputs of each weight. What layers may lose is of the original's."""

    def _cut(self, model: ir.Model, asked: Mapping[str, Any]) -> Rewrite:
        floors = floors_of(analyze(self.original, dims=self.sizes, fold=False))
        return cut_edges(model, self._evidence(model), self.importance, self.sizes, floors=floors, **asked)

    def _widths(self, model: ir.Model, done: Rewrite) -> Mapping[str, tuple[int, int]]:
        return inputs_read(model, done.model, self.sizes)
