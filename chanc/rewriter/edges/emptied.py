"""A consumer that keeps nothing makes its bias everywhere: a constant, given to what reads it, and the node goes.

That is legal where whatever reads the constant has its shape from another operand (a residual, the other operation of a
cell's node); nodes on the way there that treat each channel alone are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.analysis import Analysis
from chanc.ir.initializers import add_constant
from chanc.ir.names import Names
from chanc.ir.nodes import bodies
from chanc.ops import Trait, has
from chanc.ops.chance import draws
from chanc.rewriter.edges.cuts import sweep
from chanc.rewriter.edges.lines import line_of

Array = NDArray[np.generic]
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that make their bias of zeros."""


def take_out_empty(analysis: Analysis, node: ir.Node, names: Names) -> None:
    """Let a consumer go of whose weight nothing is kept, in place, unless it must stay."""
    try:
        readers = list(_followed(analysis, node.outputs[0], _bias(analysis, node)))
    except _Stays:
        return
    graph = analysis.model.graph
    for user, index, array in readers:
        value = user.inputs[index]
        assert value is not None
        user.replace_input_with(index, add_constant(graph, names.fresh(f"{value.name}.constant"), array, value.dtype))
        sweep(graph, [value.producer()])


class _Stays(Exception):
    """Something reads the constant as it is."""


def _bias(analysis: Analysis, node: ir.Node) -> Array:
    """What a convolution or product of zeros makes: of its output's rank, 1 along all axes without channels."""
    found, layout = line_of(analysis, node.outputs[0]), analysis.findings.layouts.get(node.outputs[0])
    weight = next(
        (value.const_value for value in node.inputs if value is not None and value.const_value is not None), None
    )
    if found is None or layout is None or weight is None or node.op_type not in PRODUCTS or node.domain:
        raise _Stays
    shape = [found[1].size if axis == found[0] else 1 for axis in range(layout.rank)]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None:
        return np.zeros(shape, dtype=weight.numpy().dtype)
    array = bias.const_value.numpy() if bias.const_value is not None else None
    if array is None or array.size != found[1].size or bias in analysis.findings.fed:
        raise _Stays
    beta = node.attributes.get("beta")
    return (array if beta is None else (array * beta.as_float()).astype(array.dtype)).reshape(shape)


def _followed(analysis: Analysis, value: ir.Value, array: Array) -> Iterator[tuple[ir.Node, int, Array]]:
    """Where a constant that stands for a value is read, node and input, and what it is there; _Stays where it can't."""
    graph = analysis.model.graph
    constants = {value: array}
    for node in graph:
        mine = {k: constants[v] for k, v in enumerate(node.inputs) if v is not None and v in constants}
        if not mine:
            continue
        pointwise = has(node, Trait.ELEMENTWISE, Trait.BROADCAST) or node.op_type == "BatchNormalization"
        if not pointwise or bodies(node) or draws(node) or len(node.outputs) > 1:
            raise _Stays
        others = [v for k, v in enumerate(node.inputs) if v is not None and k not in mine and v.const_value is None]
        if not others:
            constants[node.outputs[0]] = _computed(node, mine)
        elif any(_shaped(analysis, other, node.outputs[0]) for other in others):
            yield from ((node, k, array) for k, array in mine.items())
        else:
            raise _Stays
    for value in constants:
        if value.is_graph_output() or any(user.graph is not graph for user, _ in value.uses()):
            raise _Stays


def _shaped(analysis: Analysis, value: ir.Value, result: ir.Value) -> bool:
    """Whether a value has the shape of a result by itself."""
    one, two = (analysis.findings.layouts.get(v) for v in (value, result))
    return one is not None and two is not None and one.sizes == two.sizes


def _computed(node: ir.Node, given: Mapping[int, Array]) -> Array:
    """What a node that treats each channel alone makes of constants, by ONNX's reference implementation."""
    from onnx.reference import ReferenceEvaluator

    feeds = {v.name or "": v.const_value.numpy() for v in node.inputs if v is not None and v.const_value is not None}
    feeds |= {value.name or "": given[k] for k, value in enumerate(node.inputs) if value is not None and k in given}
    graph = onnx.GraphProto(name="constant", node=[ir.serde.serialize_node(node)])
    graph.input.extend(onnx.helper.make_value_info(name, onnx.TypeProto()) for name in feeds)
    graph.output.append(onnx.helper.make_value_info(node.outputs[0].name or "", onnx.TypeProto()))
    imports = node.graph.opset_imports if node.graph is not None else {}
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in imports.items()]
    try:
        run = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=opsets)).run
        made = np.asarray(next(iter(run(None, feeds))))
    except Exception as error:  # whatever an operator raises
        raise _Stays from error
    if any(made.shape != array.shape for array in given.values()):
        raise _Stays
    return made
