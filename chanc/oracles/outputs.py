"""Two models run on the same random inputs, written so that rounding hides nothing and shows nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from chanc.backends import ort
from chanc.errors import VerifyError
from chanc.ir import load
from chanc.ir.nodes import nodes_of
from chanc.ir.pools import narrow_pools
from chanc.ops import Trait, has
from chanc.oracles.compare import Difference, compare

HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def differences(expected: Any, actual: Any, *, seed: int = 0, batch: int = 2) -> list[Difference]:
    """Run two models of the same interface on the same random inputs and compare their outputs."""
    one, two = (_written_out(_in_single(_before_saturation(_runnable(load(model))))) for model in (expected, actual))
    feeds = ort.fitting_feeds(one, seed=seed, batch=batch)
    names = [value.name or "" for value in one.graph.outputs]
    return compare(ort.run(one, feeds, exact=True), ort.run(two, feeds, exact=True), names)


def runs(model: Any, *, seed: int = 0) -> None:
    """Run a model on random inputs; VerifyError where an output isn't finite."""
    loaded = load(model)
    feeds = ort.fitting_feeds(loaded, seed=seed)
    for value, array in zip(loaded.graph.outputs, ort.run(loaded, feeds), strict=True):
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise VerifyError(f"output '{value.name}' of the rewritten model is not finite")


def _runnable(model: ir.Model) -> ir.Model:
    """Without what onnxruntime can't run though it is valid: pools over four axes."""
    narrow_pools(model.graph)
    return model


def _in_single(model: ir.Model) -> ir.Model:
    """Half precision made single: its rounding, 1e-3, would hide what a wrong group does."""
    values: list[ir.Value] = [*model.graph.inputs, *model.graph.initializers.values()]
    for node in nodes_of(model.graph):
        values += node.outputs
        for name, attribute in node.attributes.items():
            if attribute.type == ir.AttributeType.INT and name in ("to", "dtype") and attribute.value in HALVES:
                node.attributes[name] = ir.AttrInt64(name, ir.DataType.FLOAT)
            elif attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in HALVES:
                node.attributes[name] = ir.AttrTensor(name, _single(attribute.as_tensor()))
    for value in values:
        if value.dtype in HALVES:
            value.type = ir.TensorType(ir.DataType.FLOAT)
        if value.const_value is not None and value.const_value.dtype in HALVES:
            value.const_value = _single(value.const_value)
    return model


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


def _single(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.Tensor(tensor.numpy().astype(np.float32), name=tensor.name)


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
