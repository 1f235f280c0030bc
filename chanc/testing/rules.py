"""The contract that a user's own operator rule keeps. Inherit it, give models with the operator, and pytest checks:

    class TestGate(RuleContract):
        domain, operator = "com.example", "ChannelGate"
        def models(self): return [gate_model()]

A rule is found through the entry point group `chanc.ops`, a module that registers rules when it is imported:

    [project.entry-points."chanc.ops"]
    example = "example_package.rules"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from chanc.analysis import analyze
from chanc.analysis.rules import REGISTRY
from chanc.backends import ort
from chanc.ir import to_proto
from chanc.oracles import TOLERANCE, compare, zeroed
from chanc.rewriter import rewrite

Array = NDArray[np.generic]


class RuleContract:
    """Tests for the rules of one operator: `domain` and `operator` name it, `version` is the opset it is used at."""

    domain = ""
    operator = ""
    version = 1
    tolerance = TOLERANCE

    def models(self) -> Iterable[onnx.ModelProto]:
        """Small models in which the operator stands between layers whose width may change."""
        raise NotImplementedError

    def run(self, model: onnx.ModelProto, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """What a model computes; for an operator that onnxruntime doesn't know, say here how it is run."""
        return ort.run(model, dict(feeds), exact=True)

    def test_a_rule_is_registered(self) -> None:
        """The analysis finds a rule for the operator."""
        assert REGISTRY.find(self.domain, self.operator, self.version) is not None

    def test_models_hold_the_operator(self) -> None:
        """The models are about this operator."""
        for model in self.models():
            assert any((node.domain, node.op_type) == (self.domain, self.operator) for node in model.graph.node)

    def test_the_operator_is_understood(self) -> None:
        """No node of the operator is opaque, and some group that passes through may change."""
        for model in self.models():
            analysis = analyze(model)
            reasons = [why for node, why in analysis.findings.opaque.items() if node.op_type == self.operator]
            assert not reasons, reasons[0]
            assert any(group.resizable for group in analysis.groups)

    def test_shrink(self) -> None:
        """Half of each exact group: the model equals the original with what went zeroed."""
        for model in self.models():
            plan = {g.id: {"scale": 0.5} for g in analyze(model).groups if g.resizable and g.exact}
            result = rewrite(model, plan)
            assert result.changed
            self._compare(model, to_proto(zeroed(model, result.trace)), result.model)

    def test_widen(self) -> None:
        """Each exact group half as wide again, with units cloned: the function stays."""
        for model in self.models():
            groups = [g for g in analyze(model).groups if g.resizable and g.exact and g.scalable]
            result = rewrite(model, {g.id: {"scale": 1.5} for g in groups}, transfer="widen")
            self._compare(model, model, result.model)

    def test_the_model_that_came_in_stays(self) -> None:
        """A rewrite makes a new model."""
        for model in self.models():
            before = model.SerializeToString()
            rewrite(model, scale=0.5)
            assert model.SerializeToString() == before

    def _compare(self, original: onnx.ModelProto, expected: onnx.ModelProto, actual: onnx.ModelProto) -> None:
        feeds = ort.random_feeds(original)
        names = [value.name for value in original.graph.output]
        for found in compare(self.run(expected, feeds), self.run(actual, feeds), names):
            assert found.error <= self.tolerance, f"'{found.output}' differs by {found.error:.2e} of its largest value"
