"""A fixed batch, opened: what a graph makes of each of its samples, made of any number of them.

Followed are the values whose axis 0 goes through the samples, sample by sample, from the inputs on. Each node that
reads one must treat every sample alike and alone; where that isn't known of a node, nothing is changed.

    Reshape(x, [1, 24])   ->   Reshape(x, [-1, 24])
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from chanc.analysis.evaluate import folded
from chanc.analysis.fold_shapes import settled
from chanc.analysis.infer_shapes import infer_shapes
from chanc.ir import copy_model
from chanc.ir.nodes import bodies
from chanc.ir.turns import Turns
from chanc.ops import Trait, has
from chanc.transforms._edit import Editor

OPEN = "batch"
"""What the opened axis is called."""

Rows = dict[ir.Value, int]
"""The followed values, and how long their axis 0 is for one sample."""


def open_batch(model: ir.Model) -> ir.Model | None:
    """A copy of a model in normal form with the first axis of all inputs open, its shape chains folded before.

    None where its inputs have no fixed batch, and where a sample may have a say in what is made of another one.
    """
    batch = Turns.of(model).batch
    if batch is None:
        return None
    opened = copy_model(model)
    settled(opened)
    infer_shapes(opened)
    rows = _followed(opened.graph, batch)
    if rows is None:
        return None
    editor = Editor(opened)
    for node in list(opened.graph):
        if node.op_type == "Reshape" and node.inputs[0] in rows:
            editor.replace(node, 1, np.array([-1, *_sizes(node.outputs[0])[1:]], np.int64))
        elif node.op_type == "Concat" and not rows.keys().isdisjoint(node.inputs):
            _repeat(editor, node, rows)
    for node in opened.graph:
        for value in node.outputs:
            value.shape = None
    for value in opened.graph.inputs:
        if value in rows:
            value.shape = ir.Shape([OPEN, *(value.shape or ())[1:]])
    infer_shapes(opened)
    return opened


def _repeat(editor: Editor, node: ir.Node, rows: Rows) -> None:
    """What a Concat joins to every sample, a token for one, is repeated for as many as there are."""
    leading = next(value for value in node.inputs if value in rows)
    for index, value in enumerate(node.inputs):
        if value is None or value in rows:
            continue
        first = editor.initializer("first", np.array([0]), ir.DataType.INT64)
        rest = editor.initializer("rest", np.array(_sizes(value)[1:]), ir.DataType.INT64)
        shape, count, whole = (ir.Value(name=editor.free(f"{value.name}.{name}"), type=ir.TensorType(ir.DataType.INT64))
                               for name in ("shape", "count", "whole"))  # fmt: skip
        repeated = ir.Value(name=editor.free(f"{value.name}.repeated"), type=value.type)
        editor.graph.insert_before(node, [
            ir.node("Shape", [leading], outputs=[shape]),
            ir.node("Gather", [shape, first], outputs=[count]),
            ir.node("Concat", [count, rest], {"axis": 0}, outputs=[whole]),
            ir.node("Expand", [value, whole], outputs=[repeated]),
        ])  # fmt: skip
        node.replace_input_with(index, repeated)


def _followed(graph: ir.Graph, batch: int) -> Rows | None:
    """All values that go through the samples; None where a node or an output isn't of a sample alone."""
    rows: Rows = {value: 1 for value in graph.inputs if value.name not in graph.initializers}
    if any(_sizes(value)[:1] != [batch] for value in rows):
        return None
    for node in graph:
        if bodies(node):
            return None
        read = [value for value in node.inputs if value in rows]
        if not read:
            continue
        sizes = [_sizes(value) for value in (*read, *node.outputs)]
        if not all(each and each[0] > 0 and each[0] % batch == 0 for each in sizes) or not _alone(node, rows):
            return None
        rows |= {value: _sizes(value)[0] // batch for value in node.outputs}
    return rows if all(rows.get(value) == 1 for value in graph.outputs) else None


def _alone(node: ir.Node, rows: Rows) -> bool:
    """Whether a node makes of each sample what it would make of it alone."""
    name = node.op_type if node.domain in ("", "ai.onnx") else ""
    if name in _OF_SEVERAL:
        return _OF_SEVERAL[name](node, rows)
    if has(node, Trait.BROADCAST):
        return _beside(node, rows)
    if node.inputs[0] not in rows or any(value in rows for value in node.inputs[1:]):
        return False
    if name in _OF_ONE:
        return _OF_ONE[name](node)
    kinds = Trait.ELEMENTWISE, Trait.CHANNELWISE, Trait.CONVOLUTION
    return has(node, *kinds) and _sizes(node.outputs[0])[0] == _sizes(node.inputs[0])[0]


def _beside(node: ir.Node, rows: Rows) -> bool:
    """Operands that go through the samples have all axes; others are the same for every sample."""
    rank = len(_sizes(node.outputs[0]))
    moving = [value for value in node.inputs if value in rows]
    still = [value for value in node.inputs if value is not None and value not in rows]
    return len({rows[value] for value in moving}) == 1 and all(len(_sizes(value)) == rank for value in moving) and all(
        value.shape is not None and (len(value.shape) < rank or value.shape[0] == 1) for value in still
    )


def _concat(node: ir.Node, rows: Rows) -> bool:
    sizes = [_sizes(value) for value in node.inputs]
    whole = all(value in rows or 0 not in own for value, own in zip(node.inputs, sizes, strict=True))
    return whole and len(set(map(len, sizes))) == 1 and _beside(node, rows) and _elsewhere(node, 0)


def _gather(node: ir.Node, rows: Rows) -> bool:
    """Entries of each sample, or of one table for all samples."""
    table, index = (value in rows for value in node.inputs)
    return _elsewhere(node, 0) if table and not index else index and not table and not _elsewhere(node, 0)


def _product(node: ir.Node, rows: Rows) -> bool:
    """MatMul: samples with one matrix, or each with its own."""
    left, right = (len(_sizes(value)) for value in node.inputs)
    with_matrix = left > 1 and right == 2 and node.inputs[1] not in rows
    return node.inputs[0] in rows and (with_matrix or (left == right > 2 and _beside(node, rows)))


_OF_SEVERAL: dict[str, Callable[[ir.Node, Rows], bool]] = {"Concat": _concat, "Gather": _gather, "MatMul": _product}
"""Operators of which any input may go through the samples."""


def _gemm(node: ir.Node) -> bool:
    bias = _sizes(node.inputs[2]) if len(node.inputs) > 2 else []
    return not _integer(node, "transA", 0) and (len(bias) < 2 or bias[0] == 1)


def _norm(node: ir.Node) -> bool:
    return len(node.outputs) == 1 and not _integer(node, "training_mode", 0)


def _pad(node: ir.Node) -> bool:
    pads, some = _integers(node, "pads", 1), len(node.inputs) > 3 and node.inputs[3] is not None
    return pads is not None and not some and not pads[0] and not pads[len(pads) // 2]


def _reshape(node: ir.Node) -> bool:
    shape = node.inputs[1] if len(node.inputs) > 1 else None
    return shape is not None and folded(shape) is not None and 0 not in _sizes(node.outputs[0])


def _resize(node: ir.Node) -> bool:
    by_sizes = len(node.inputs) > 3 and node.inputs[3] is not None
    return not by_sizes and "axes" not in node.attributes and _sizes(node.outputs[0])[0] == _sizes(node.inputs[0])[0]


def _transpose(node: ir.Node) -> bool:
    return "perm" in node.attributes and node.attributes["perm"].as_ints()[0] == 0


def _elsewhere(node: ir.Node, default: int) -> bool:
    """Whether a node works along another axis than the first, or from another one on; `default` where it says none."""
    return _integer(node, "axis", default) % len(_sizes(node.inputs[0])) != 0


def _along(default: int) -> Callable[[ir.Node], bool]:
    return lambda node: _elsewhere(node, default)


def _listed(index: int) -> Callable[[ir.Node], bool]:
    """The same of nodes that list their axes, in an attribute or in an input."""

    def alone(node: ir.Node) -> bool:
        axes = _integers(node, "axes", index)
        rank = max(len(_sizes(value)) for value in (node.inputs[0], node.outputs[0]))
        return bool(axes) and all(axis % rank for axis in axes or ())

    return alone


_OF_ONE: dict[str, Callable[[ir.Node], bool]] = {
    "BatchNormalization": _norm,
    "DepthToSpace": lambda node: True,
    "Flatten": _along(1),
    "Gemm": _gemm,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _listed(3),
    "SpaceToDepth": lambda node: True,
    "Transpose": _transpose,
    **dict.fromkeys(("ArgMax", "ArgMin", "Split"), _along(0)),
    **dict.fromkeys(("Hardmax", "LayerNormalization", "LogSoftmax", "LpNormalization", "RMSNormalization",
                     "SimplifiedLayerNormalization", "Softmax", "TopK"), _along(-1)),
    **dict.fromkeys(("Squeeze", "Unsqueeze", *(f"Reduce{name}" for name in (
        "L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"))), _listed(1)),
}  # fmt: skip
"""Operators of which only the first input may, and that keep samples apart as asked here."""


def _sizes(value: ir.Value | None) -> list[int]:
    """The lengths of a value's axes, 0 for one that isn't known; none where nothing is known."""
    shape = value.shape if value is not None else None
    return [size if isinstance(size, int) else 0 for size in shape or ()]


def _integer(node: ir.Node, name: str, default: int) -> int:
    return node.attributes[name].as_int() if name in node.attributes else default


def _integers(node: ir.Node, name: str, index: int) -> list[int] | None:
    """What an attribute or a constant input lists; None where neither is there."""
    if name in node.attributes:
        return list(node.attributes[name].as_ints())
    value = node.inputs[index] if len(node.inputs) > index else None
    found = folded(value) if value is not None else None
    return [int(one) for one in found.ravel()] if found is not None else None
