"""Ways to damage a model's graph, in place; one that finds nothing to change leaves it as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from chanc.testing.fuzz.data import any_float
from chanc.testing.fuzz.fields import change_field, messages_in
from chanc.testing.fuzz.values import FLOATS, INTEGERS, TEXTS, Rng, pick

Mutation = Callable[[onnx.ModelProto, Rng], None]


def rewire(model: onnx.ModelProto, rng: Rng) -> None:
    """Let a node read another value of the graph: one made later, a weight, its own output, or nothing."""
    node = _node(model, rng)
    if node is not None and node.input:
        names = [name for other in model.graph.node for name in other.output]
        names += [tensor.name for tensor in model.graph.initializer] + [value.name for value in model.graph.input]
        node.input[int(rng.integers(len(node.input)))] = pick(rng, [*names, "", "nowhere", *node.output])


def rename_output(model: onnx.ModelProto, rng: Rng) -> None:
    """Give the result of a node the name of another value, or none."""
    node, other = _node(model, rng), _node(model, rng)
    if node is not None and other is not None and node.output:
        node.output[int(rng.integers(len(node.output)))] = pick(rng, [*other.input, *other.output, ""])


def reorder(model: onnx.ModelProto, rng: Rng) -> None:
    """Shuffle the nodes, or drop or repeat one."""
    nodes = list(model.graph.node)
    at, kind = int(rng.integers(max(len(nodes), 1))), int(rng.integers(3))
    if kind == 0:
        nodes = [nodes[k] for k in rng.permutation(len(nodes))]
    elif kind == 1:
        del nodes[at : at + 1]
    else:
        nodes += nodes[at : at + 1]
    kept = [node.SerializeToString() for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(onnx.NodeProto.FromString(data) for data in kept)


def swap_operator(model: onnx.ModelProto, rng: Rng) -> None:
    """Make a node another operator, often with its attributes and inputs as they were."""
    node = _node(model, rng)
    if node is not None:
        node.op_type = pick(rng, _operators())
        if rng.random() < 0.3:
            del node.attribute[:]
        if rng.random() < 0.3:
            other = _node(model, rng)
            node.attribute.extend(list(other.attribute) if other is not None else [])
        if rng.random() < 0.1:
            node.domain = pick(rng, ("com.microsoft", "ai.onnx.ml", "local", "ai.onnx"))


def change_arity(model: onnx.ModelProto, rng: Rng) -> None:
    """Take an input or output of a node away, or add one."""
    node = _node(model, rng)
    if node is not None:
        names = pick(rng, (node.input, node.output))
        if names and rng.random() < 0.6:
            del names[int(rng.integers(len(names)))]
        else:
            names.append(pick(rng, [*node.input, "more", ""]))


def change_attribute(model: onnx.ModelProto, rng: Rng) -> None:
    """Give an attribute of a node's operator another value, of its type or of any."""
    node = _node(model, rng)
    if node is None:
        return
    known = onnx.defs.get_schema(node.op_type).attributes if onnx.defs.has(node.op_type) else {}
    name = pick(rng, [*known, *(attribute.name for attribute in node.attribute), "axis", "axes"])
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    made = helper.make_attribute(name, _content(rng, name, kept))
    del node.attribute[:]
    node.attribute.extend([*kept, made])


def _content(rng: Rng, name: str, others: Sequence[AttributeProto]) -> Any:
    """A value of an attribute: small integers most often, alone or in a list."""
    small = [int(n) for n in rng.integers(-3, 9, int(rng.integers(1, 6)))]
    kind = int(rng.integers(10))
    if kind <= 3:
        return small[0] if kind <= 2 or name[-1:] != "s" else small
    if kind <= 6:
        return small
    texts = ["SAME_UPPER", "reflect", "wrap", "ij,jk->ik", "...a->a...", "bilinear", "LRC", *TEXTS[:5]]
    array = rng.standard_normal(small[:1] * 0 + [abs(n) for n in small[:3]]).astype(np.float32)
    return pick(rng, [pick(rng, INTEGERS), pick(rng, FLOATS), pick(rng, texts), numpy_helper.from_array(array)])


def resize_weight(model: onnx.ModelProto, rng: Rng) -> None:
    """Give an initializer another shape, rank or element type, its data as many as that takes; or take it away."""
    tensors = model.graph.initializer
    if not tensors:
        return
    at, kind = int(rng.integers(len(tensors))), int(rng.integers(6))
    if kind == 0:
        del tensors[at]
        return
    name, shape = tensors[at].name, [n for n in tensors[at].dims if 0 <= n < 1000]
    if kind == 1 and shape:
        shape[int(rng.integers(len(shape)))] = int(rng.integers(0, 9))
    elif kind == 2:
        shape = shape[1:]
    elif kind == 3:
        shape = [1, *shape]
    elif kind == 4:
        shape = shape[::-1]
    dtype = pick(rng, (np.float16, np.float64, np.int64, np.int32, np.int8, np.bool_)) if kind == 5 else np.float32
    if np.prod(shape, dtype=float) < 1e5:
        tensors[at].CopyFrom(numpy_helper.from_array(rng.standard_normal(shape).astype(dtype), name))


def change_integers(model: onnx.ModelProto, rng: Rng) -> None:
    """Change a number of a constant that says a shape, axes, indices or sizes, or how many it has."""
    found = [tensor for tensor in model.graph.initializer
             if tensor.data_type == TensorProto.INT64 and tensor.data_location != TensorProto.EXTERNAL]  # fmt: skip
    if found:
        tensor = pick(rng, found)
        try:
            array = numpy_helper.to_array(tensor).copy()
        except (ValueError, TypeError):
            return
        if array.size and rng.random() < 0.7:
            array.reshape(-1)[int(rng.integers(array.size))] = pick(rng, [*INTEGERS, *range(-3, 6)])
        else:
            array = np.append(array.reshape(-1), pick(rng, range(-2, 5)))[int(rng.integers(2)) :]
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def reshape_input(model: onnx.ModelProto, rng: Rng) -> None:
    """Declare another shape or type of a graph input, of another rank often, or none at all."""
    if not model.graph.input:
        return
    value = pick(rng, list(model.graph.input))
    kind = int(rng.integers(5))
    if kind == 0:
        value.type.tensor_type.ClearField("shape")
    elif kind == 1:
        sizes = [pick(rng, (None, "n", "m", 0, 1, 3, 8, -1, 1 << 40)) for _ in range(int(rng.integers(0, 6)))]
        value.type.CopyFrom(helper.make_tensor_type_proto(value.type.tensor_type.elem_type or 1, sizes))
    elif kind == 2:
        value.type.tensor_type.elem_type = int(rng.integers(0, 24))
    elif kind == 3:
        value.type.CopyFrom(helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, None)))
    elif value.type.tensor_type.shape.dim:
        dim = pick(rng, list(value.type.tensor_type.shape.dim))
        dim.dim_value = pick(rng, (1, 2, 5, 7, 0, -1, 1 << 33))


def change_opset(model: onnx.ModelProto, rng: Rng) -> None:
    """Another version of the operators, or none."""
    kind = int(rng.integers(6))
    if kind == 0:
        del model.opset_import[:]
    elif model.opset_import:
        entry = pick(rng, list(model.opset_import))
        entry.version = int(rng.integers(7, 27)) if kind > 1 else pick(rng, INTEGERS)


def _outer(model: onnx.ModelProto) -> str:
    return next((value.name for value in model.graph.input), "on")


def lengthen(model: onnx.ModelProto, rng: Rng) -> None:
    """A chain of many nodes behind an output, each reading the one before: graphs may be deep without bodies, too."""
    if model.graph.output:
        name = model.graph.output[0].name
        op = pick(rng, ("Relu", "Identity", "Neg", "Add", "Shape"))
        for k in range(pick(rng, (50, 1500))):
            inputs = [name, name] if op == "Add" else [name]
            model.graph.node.append(helper.make_node(op, inputs, [f"chain{k}"]))
            name = f"chain{k}"
        model.graph.output.append(any_float(name))


def call_in_circles(model: onnx.ModelProto, rng: Rng) -> None:
    """A function that calls itself, or two that call each other twice: 2^n nodes where it goes on."""
    count = pick(rng, (1, 2, 3, 5, 9, 24, 40, 2000))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    for k in range(count):
        callee = f"f{k + 1}" if k + 1 < count else pick(rng, ("f0", "missing"))
        nodes = [helper.make_node(callee, ["a"], ["b"], domain="local")]
        nodes.append(helper.make_node(callee, ["b"], ["c"], domain="local"))
        if k + 1 == count and rng.random() < 0.8:
            nodes = [helper.make_node("Relu", ["a"], ["c"])]
        model.functions.append(helper.make_function("local", f"f{k}", ["a"], ["c"], nodes, opsets))
    model.graph.node.append(helper.make_node("f0", [_outer(model)], ["circled"], domain="local"))
    model.graph.output.append(any_float("circled"))
    if "local" not in [entry.domain for entry in model.opset_import]:
        model.opset_import.append(opsets[1])


def point_outside(model: onnx.ModelProto, rng: Rng) -> None:
    """Let a weight lie in a file: the right one at a wrong place, a missing one, a device, one outside the folder."""
    if model.graph.initializer:
        tensor = pick(rng, list(model.graph.initializer))
        tensor.data_location = TensorProto.EXTERNAL
        if rng.random() < 0.7:
            tensor.ClearField("raw_data")
        place = {"location": pick(rng, ("weights.bin", "none", "/dev/zero", "../m", "", ".")),
                 "offset": str(pick(rng, INTEGERS)), "length": str(pick(rng, INTEGERS))}  # fmt: skip
        del tensor.external_data[:]
        for key, value in place.items():
            if rng.random() < 0.8:
                tensor.external_data.add(key=key, value=value)


def _node(model: onnx.ModelProto, rng: Rng) -> onnx.NodeProto | None:
    """A node of the graph, of a body, or of a function."""
    nodes = [message for message in messages_in(model) if isinstance(message, onnx.NodeProto)]
    return pick(rng, nodes) if nodes else None


def _operators() -> Sequence[str]:
    return sorted({schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain})


MUTATIONS: Sequence[tuple[Mutation, int]] = (
    (change_field, 10),
    (rewire, 4),
    (rename_output, 2),
    (reorder, 2),
    (swap_operator, 4),
    (change_arity, 3),
    (change_attribute, 6),
    (resize_weight, 5),
    (change_integers, 4),
    (reshape_input, 4),
    (change_opset, 1),
    (lengthen, 1),
    (call_in_circles, 1),
    (point_outside, 1),
)
"""The mutations of messages, and how often each is taken."""
