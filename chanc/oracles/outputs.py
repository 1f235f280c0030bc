"""Two models run in onnxruntime on the same inputs, written so that rounding hides nothing and shows nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from chanc.backends import ort
from chanc.ir import copy_model, load
from chanc.ir.functions import inline_functions
from chanc.ir.nodes import nodes_of
from chanc.ir.pools import narrow_pools, wide_pools
from chanc.ops import Trait, has
from chanc.oracles.compare import Array, Difference, compare
from chanc.oracles.noise import fixed
from chanc.oracles.precision import HALVES, recast
from chanc.oracles.spent import Spent

Feeds = Mapping[str, Array]


def differences(
    expected: Any, actual: Any, *, seed: int = 0, batch: int = 2, feeds: Feeds | None = None
) -> list[Difference]:
    """Run two models of the same interface on the same inputs, random ones if none are given; compare their outputs."""
    feeds = feeds if feeds is not None else ort.fitting_feeds(runnable(expected), seed=seed, batch=batch)
    return compare(in_single(expected, feeds), in_single(actual, feeds), output_names(expected))


def comparable(model: Any) -> ir.Model:
    """A copy without what hides differences, or makes them: saturation at the end, random numbers."""
    copy = copy_model(model) if isinstance(model, ir.Model) else load(model)
    narrow_pools(copy.graph)
    inline_functions(copy)
    return fixed(_before_saturation(copy))


def runnable(model: Any) -> ir.Model:
    """The model without what onnxruntime can't run though it is valid: pools over four axes; a copy if it has any."""
    loaded = model if isinstance(model, ir.Model) else load(model)
    if any(True for _ in wide_pools(loaded.graph)):
        loaded = copy_model(loaded)
        narrow_pools(loaded.graph)
    return loaded


def output_names(model: Any) -> list[str]:
    """The names of a model's outputs."""
    loaded = model if isinstance(model, ir.Model) else load(model)
    return [value.name or "" for value in loaded.graph.outputs]


@dataclass(frozen=True, slots=True)
class Single:
    """A model made comparable, halves made single, loaded by onnxruntime without optimisation.

    The rounding of halves, 1e-3, would hide what a wrong group does.
    """

    model: ir.Model
    session: Any
    spent: Spent

    @classmethod
    def of(cls, model: Any, spent: Spent) -> Single:
        """The model, loaded. Raises: LoadError, as `ort.session`."""
        with spent.on("sessions"):
            single = _written_out(recast(comparable(model), HALVES, ir.DataType.FLOAT))
            return cls(single, ort.session(single, exact=True), spent)

    def run(self, feeds: Feeds) -> list[Array]:
        """Its outputs. Raises: ModelError, as `ort.run`."""
        with self.spent.on("runs"):
            return ort.run(self.session, as_inputs(self.model, feeds))


def in_single(model: Any, feeds: Feeds, spent: Spent | None = None) -> list[Array]:
    """The outputs of a model as `Single` has them. Raises: ModelError, as `ort.run`."""
    return Single.of(model, spent or Spent()).run(feeds)


def as_inputs(model: ir.Model, feeds: Feeds) -> dict[str, Array]:
    """The feeds in the element types of a model's inputs, which may have been changed."""
    kinds = {value.name: value.dtype for value in model.graph.inputs if value.dtype is not None}
    kinds = {name: kind for name, kind in kinds.items() if kind.is_floating_point()}
    return {name: array.astype(kinds[name].numpy()) if name in kinds else array for name, array in feeds.items()}


def _written_out(model: ir.Model) -> ir.Model:
    """Every Sigmoid as exp(-softplus(-x)).

    That of onnxruntime is good to 6e-8: a gate that is nearly shut, 1e-5, differs by 0.5 % with the number of channels.
    """
    for node in list(nodes_of(model.graph)):
        value, output = node.inputs[0] if node.inputs else None, node.outputs[0]
        if node.op_type != "Sigmoid" or node.domain not in ("", "ai.onnx") or value is None or node.graph is None:
            continue
        steps = [ir.node("Neg", [value])]
        for op in ("Softplus", "Neg", "Exp"):
            steps.append(ir.node(op, [steps[-1].outputs[0]]))
        new = steps[-1].outputs[0]
        new.name, new.type, new.shape = output.name, output.type, output.shape
        for k, step in enumerate(steps[:-1]):
            step.outputs[0].name = f"{output.name}.step{k}"
        node.graph.insert_before(node, steps)
        output.replace_all_uses_with(new, replace_graph_outputs=True)
        node.graph.remove(node, safe=True)
    return model


def _before_saturation(model: ir.Model) -> ir.Model:
    """The model with a final Sigmoid or Softmax taken off: probabilities near 0 would hide any difference."""
    for k, value in enumerate(model.graph.outputs):
        node = value.producer()
        while node is not None and has(node, Trait.VIEW) and node.inputs[0] is not None:
            node = node.inputs[0].producer()
        before = node.inputs[0] if node is not None and has(node, Trait.SATURATING) else None
        if before is not None and not before.is_graph_input() and not before.is_graph_output():
            # The shape may be another where views lay between; onnxruntime only warns where none is declared.
            before.type, before.shape = value.type, None
            model.graph.outputs[k] = before
    return model
