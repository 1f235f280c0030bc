"""Sequences of tensors that are only taken apart again: SplitToSequence -> SequenceAt, SequenceConstruct -> Concat.

Exporters write `x.split(sizes)` and `torch.stack(list)` so where they don't optimise. With constant indices and sizes
they are Split and Concat (ONNX SplitToSequence-11, SequenceAt-11, ConcatFromSequence-11).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from chanc.ir.initializers import add_constant
from chanc.ir.names import Names, value_names


def unroll_sequences(graph: ir.Graph) -> bool:
    """Replace, in place, every sequence whose parts are known; says whether there was one."""
    made = list(unrollable(graph))
    if not made:
        return False
    names = Names(value_names(graph))
    for node in made:
        if node.op_type == "SplitToSequence":
            _split(graph, names, node)
        else:
            _gathered(graph, names, node, _parts(node))
    return True


def unrollable(graph: ir.Graph) -> Iterator[ir.Node]:
    """The nodes that make a sequence whose parts are known, and which is only taken apart again."""
    for node in graph:
        if node.domain not in ("", "ai.onnx") or node.op_type not in ("SplitToSequence", "SequenceConstruct"):
            continue
        count = len(_sizes(node)) if node.op_type == "SplitToSequence" else len(_parts(node))
        if count and _readable(node.outputs[0], count):
            yield node


def _parts(node: ir.Node) -> list[ir.Value]:
    """What a SequenceConstruct joins."""
    return [value for value in node.inputs if value is not None]


def _split(graph: ir.Graph, names: Names, node: ir.Node) -> None:
    data = node.inputs[0]
    assert data is not None
    sizes = _sizes(node)
    axis = _attribute(node, "axis", 0)
    parts = _made(graph, names, node, "Split", [data], {"axis": axis}, len(sizes))
    if graph.opset_imports.get("", 1) >= 13:
        split = parts[0].producer()
        assert split is not None
        split.resize_inputs(2)
        name = names.fresh(f"{node.outputs[0].name}.sizes")
        split.replace_input_with(1, add_constant(graph, name, np.array(sizes)))
    elif (made := parts[0].producer()) is not None:
        made.attributes["split"] = ir.AttrInt64s("split", sizes)
    if (len(node.inputs) < 2 or node.inputs[1] is None) and not _attribute(node, "keepdims", 1):
        parts = [_with_axes(graph, names, node, "Squeeze", part, axis) for part in parts]
    _gathered(graph, names, node, parts)


def _sizes(node: ir.Node) -> list[int]:
    """How long each part is; empty where that isn't known."""
    data, given = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    if data is None:
        return []
    each: int = 1
    if given is not None:
        if given.const_value is None:
            return []
        known = given.const_value.numpy()
        if known.ndim > 1 or known.dtype.kind not in "iu":
            return []
        if known.ndim:
            return [int(n) for n in known]
        each = int(known)
    axis = _attribute(node, "axis", 0)
    whole = data.shape[axis] if data.shape is not None else None
    if not isinstance(whole, int) or each < 1:
        return []
    return [each] * (whole // each) + ([whole % each] if whole % each else [])


def _readable(sequence: ir.Value, count: int) -> bool:
    """Whether all that read a sequence take one part of it, or join them."""
    if sequence.is_graph_output():
        return False
    for user, _ in sequence.uses():
        index = user.inputs[1] if len(user.inputs) > 1 else None
        known = index.const_value if user.op_type == "SequenceAt" and index is not None else None
        if known is not None and -count <= int(known.numpy().ravel()[0]) < count:
            continue
        if user.op_type != "ConcatFromSequence":
            return False
    return True


def _gathered(graph: ir.Graph, names: Names, node: ir.Node, parts: list[ir.Value]) -> None:
    """Give the readers of a node's sequence the parts themselves."""
    for user, _ in list(node.outputs[0].uses()):
        old = user.outputs[0]
        if user.op_type == "SequenceAt":
            index = user.inputs[1]
            assert index is not None and index.const_value is not None
            (new,) = _made(graph, names, user, "Identity", [parts[int(index.const_value.numpy().ravel()[0])]], {}, 1)
        else:
            axis, joined = _attribute(user, "axis", 0), parts
            if _attribute(user, "new_axis", 0):
                joined = [_with_axes(graph, names, user, "Unsqueeze", part, axis) for part in parts]
            (new,) = _made(graph, names, user, "Concat", joined, {"axis": axis}, 1)
        name, new.type, new.shape = old.name, old.type, old.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        graph.remove(user, safe=True)
        new.name = name
    graph.remove(node, safe=True)


def _with_axes(
    graph: ir.Graph, names: Names, before: ir.Node, op: str, value: ir.Value, axis: int
) -> ir.Value:
    """Squeeze or Unsqueeze of one axis, in the form of the opset."""
    if graph.opset_imports.get("", 1) < 13:
        (made,) = _made(graph, names, before, op, [value], {}, 1)
        node = made.producer()
        assert node is not None
        node.attributes["axes"] = ir.AttrInt64s("axes", [axis])
        return made
    axes = add_constant(graph, names.fresh(f"{value.name}.axes"), np.array([axis], dtype=np.int64))
    return _made(graph, names, before, op, [value, axes], {}, 1)[0]


def _made(
    graph: ir.Graph,
    names: Names,
    before: ir.Node,
    op: str,
    inputs: list[ir.Value],
    attributes: dict[str, int],
    count: int,
) -> list[ir.Value]:
    node = ir.node(op, inputs, attributes, num_outputs=count)
    graph.insert_before(before, node)
    for output in node.outputs:
        output.name = names.fresh(f"{before.outputs[0].name}.{op.lower()}")
    return list(node.outputs)


def _attribute(node: ir.Node, name: str, default: int) -> int:
    found = node.attributes.get(name)
    return default if found is None else found.as_int()
