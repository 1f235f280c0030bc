"""Random operators fixed, so that two models can be compared: what they draw is no property of the model.

Each output becomes one number at every place, the same at any width. For noise that is added it is no centre of its
distribution: at zero, a factor that is wrong would not be seen.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.ir.names import Names, value_names
from chanc.ir.nodes import nodes_of
from chanc.ops.chance import draws, drops


def fixed(model: ir.Model) -> ir.Model:
    """Every random operator made a fill of its output's shape, every Dropout idle; the model itself, changed."""
    chancy = [node for node in nodes_of(model.graph) if draws(node)]
    names = Names(value_names(model.graph)) if chancy else Names(())
    for node in chancy:
        if drops(node):
            node.replace_input_with(2, None)
        else:
            _fill(node, names)
    return model


def _fill(node: ir.Node, names: Names) -> None:
    steps = _shape(node)
    value = ir.Tensor(np.array([_number(node)]).astype(_kind(node).numpy()))
    steps.append(ir.node("ConstantOfShape", [steps[-1].outputs[0]], attributes={"value": value}))
    output, new = node.outputs[0], steps[-1].outputs[0]
    for step in steps:
        step.outputs[0].name = names.fresh(f"{output.name}.fixed")
    new.name, new.type, new.shape = output.name, ir.TensorType(value.dtype), output.shape
    assert node.graph is not None
    node.graph.insert_before(node, steps)
    output.replace_all_uses_with(new, replace_graph_outputs=True)
    node.graph.remove(node, safe=True)


def _number(node: ir.Node) -> float:
    """One deviation off the mean, three quarters of a range; a coin that falls on 1, the first of several classes."""
    given = {name: node.attributes.get_float(name, default) for name, default in _PARAMETERS.items()}
    if node.op_type.startswith("RandomNormal"):
        return given["mean"] + given["scale"]
    if node.op_type.startswith("RandomUniform"):
        return given["low"] + 0.75 * (given["high"] - given["low"])
    return float(node.op_type == "Bernoulli")


_PARAMETERS = {"mean": 0.0, "scale": 1.0, "low": 0.0, "high": 1.0}


def _kind(node: ir.Node) -> ir.DataType:
    if "dtype" in node.attributes:
        return ir.DataType(node.attributes["dtype"].as_int())
    if node.op_type == "Multinomial":
        return ir.DataType.INT32
    source = node.inputs[0] if node.inputs else None
    return (source.dtype if source is not None else None) or ir.DataType.FLOAT


def _shape(node: ir.Node) -> list[ir.Node]:
    """Nodes of which the last computes the shape of the output."""
    if "shape" in node.attributes:
        return [_integers(node.attributes["shape"].as_ints())]
    whole = ir.node("Shape", [node.inputs[0]])
    if node.op_type != "Multinomial":
        return [whole]
    first, count = _integers([0]), _integers([node.attributes.get_int("sample_size", 1)])
    batch = ir.node("Gather", [whole.outputs[0], first.outputs[0]])
    both = ir.node("Concat", [batch.outputs[0], count.outputs[0]], attributes={"axis": 0})
    return [whole, first, count, batch, both]


def _integers(numbers: object) -> ir.Node:
    return ir.node("Constant", [], attributes={"value": ir.Tensor(np.array(numbers, dtype=np.int64))})
