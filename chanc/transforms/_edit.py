"""What passes that change values share: constants read through what exporters wrap them in, replaced, and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.ir.initializers import constant
from chanc.ir.names import Names, value_names
from chanc.ir.nodes import nodes_of
from chanc.ops import Weight, weight_of

Array = NDArray[Any]

_LISTED_BELOW = 4
_SMALL = 1 << 16
_MERGED: dict[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Sqrt": np.sqrt,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
}


def is_op(node: ir.Node | None, *names: str) -> bool:
    """Whether a node is one of these operators of the standard domain."""
    return node is not None and node.domain in ("", "ai.onnx") and node.op_type in names


def kernel_of(node: ir.Node | None) -> Weight | None:
    """The kernel, input 1, of a convolution of the standard domain whose bias is input 2; None for any other node."""
    if node is None or node.domain not in ("", "ai.onnx") or weight_of(node, 2) is None:
        return None
    weight = weight_of(node, 1)
    return weight if weight is not None and weight.kernel else None


def opset(model: ir.Model) -> int:
    """The version of the standard domain."""
    return model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))


def content(value: ir.Value | None) -> Array | None:
    """The content of an initializer, a Constant, or a small expression of those; None for what is no constant."""
    if value is None:
        return None
    if value.const_value is not None:
        return value.const_value.numpy()
    node = value.producer()
    if node is None:
        return None
    if is_op(node, "Identity"):
        return content(node.inputs[0])
    if is_op(node, "Constant"):
        return _literal(node)
    if not is_op(node, *_MERGED, "Unsqueeze", "Reshape"):
        return None
    operands: list[Array] = []
    for entry in node.inputs:
        array = content(entry)
        if array is None or array.size > _SMALL:
            return None
        operands.append(array)
    return _evaluated(node, operands)


def _literal(node: ir.Node) -> Array | None:
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    for name, attribute in node.attributes.items():
        if name == "value":
            return attribute.as_tensor().numpy()
        if name in kinds:
            return np.array(attribute.value, dtype=kinds[name])
    return None


def _evaluated(node: ir.Node, operands: list[Array]) -> Array | None:
    """Arithmetic and Unsqueeze, Reshape of constants: how exporters spell a vector of one number a channel."""
    if is_op(node, *_MERGED):
        kind = operands[0].dtype
        return np.asarray(_MERGED[node.op_type](*(array.astype(np.float64) for array in operands))).astype(kind)
    if is_op(node, "Unsqueeze"):
        axes = node.attributes["axes"].as_ints() if "axes" in node.attributes else operands[1].ravel().tolist()
        return np.expand_dims(operands[0], tuple(int(axis) for axis in axes))
    if is_op(node, "Reshape") and len(operands) == 2 and 0 not in operands[1]:
        return operands[0].reshape(operands[1].ravel().tolist())
    return None


def only_use(value: ir.Value) -> ir.Node | None:
    """The node that alone reads a value, once; None where there are other readers, or it is a graph output."""
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    return next(iter(uses)).node


def is_alone(value: ir.Value) -> bool:
    """Whether a value is an initializer or a Constant that has a single reader."""
    held = value.is_initializer() if value.producer() is None else is_op(value.producer(), "Constant")
    return held and len(value.uses()) == 1 and not value.is_graph_output()


def float64(value: ir.Value | None) -> Array | None:
    """A constant of floating-point numbers as float64."""
    array = content(value)
    if array is None or array.dtype.kind in "iubcO":
        return None
    return array.astype(np.float64)


def parameter_stem(node: ir.Node) -> str:
    """The name of a layer, from that of its weight: `layer1.0.conv1` of `layer1.0.conv1.weight`."""
    weight = node.inputs[1].name if len(node.inputs) > 1 and node.inputs[1] is not None else None
    return (weight or node.outputs[0].name or node.op_type).removesuffix(".weight")


def set_type(node: ir.Node) -> None:
    """The type of a layer's output is that of its weight, where shapes were never inferred."""
    output, weight = node.outputs[0], content(node.inputs[1])
    if output.type is None and weight is not None:
        output.type = ir.TensorType(ir.DataType.from_numpy(weight.dtype))


class Editor:
    """Edits of the main graph: new names are free in the whole model, constants that nobody reads any more go."""

    def __init__(self, model: ir.Model) -> None:
        self.model, self.graph = model, model.graph
        called = {node.name for node in nodes_of(model.graph) if node.name}
        self._names = Names(called | value_names(model.graph), joint="_", first=2)

    def free(self, base: str) -> str:
        """`base`, or `base_2`, `base_3`, ... where it is taken; taken from now on."""
        return self._names.fresh(base)

    def initializer(self, name: str, array: Array, dtype: ir.DataType) -> ir.Value:
        """A new initializer of that content, cast to `dtype`."""
        value = constant(self.free(name), array.astype(dtype.numpy()), dtype)
        self.graph.register_initializer(value)
        # Before IR version 4 every initializer had to be listed as an input, too.
        if self.model.ir_version < _LISTED_BELOW:
            self.graph.inputs.append(value)
        return value

    def replace(self, node: ir.Node, index: int, array: Array) -> None:
        """Give an input that is a constant another content, under its name; what other nodes read stays as it is."""
        value = node.inputs[index]
        assert value is not None
        old = content(value)
        assert old is not None
        dtype = value.dtype or ir.DataType.from_numpy(old.dtype)
        maker = value.producer()
        if not is_alone(value):
            self.set_input(node, index, self.initializer(value.name or "folded", array, dtype))
            return
        twin = constant(value.name or "folded", array.astype(dtype.numpy()), dtype)
        value.shape = twin.shape
        if maker is None:
            value.const_value = twin.const_value
        elif twin.const_value is not None:
            maker.attributes.clear()
            maker.attributes.add(ir.AttrTensor("value", twin.const_value))

    def set_input(self, node: ir.Node, index: int, value: ir.Value | None) -> None:
        """Make a node read another value, or none; the one that it read goes if it was a constant of its own."""
        old = node.inputs[index]
        node.replace_input_with(index, value)
        if old is not None:
            self.drop(old)

    def drop(self, value: ir.Value) -> None:
        """Remove a constant or a Shape that nobody reads any more, and what it was computed from; graph inputs stay."""
        if value.uses() or value.is_graph_output():
            return
        if value.is_initializer():
            if not value.is_graph_input() and self.graph.initializers.get(value.name or "") is value:
                del self.graph.initializers[value.name or ""]
                self._names.release(value.name or "")
            return
        node = value.producer()
        if node is None or node.graph is not self.graph or len(node.outputs) != 1:
            return
        if is_op(node, "Shape") or content(value) is not None:
            self.remove(node)

    def remove(self, node: ir.Node) -> None:
        """Remove a node whose outputs nobody reads, and its own constants."""
        for value in self.detach(node):
            self.drop(value)

    def detach(self, node: ir.Node) -> list[ir.Value]:
        """Remove a node whose outputs nobody reads; returns what it read, to be dropped."""
        read = dict.fromkeys(value for value in node.inputs if value is not None)
        self.graph.remove(node, safe=True)
        return list(read)

    def bypass(self, node: ir.Node, source: ir.Value) -> None:
        """Remove a node; its readers, and a graph output, take `source` instead."""
        output = node.outputs[0]
        if source.type is None:
            source.type = output.type
        if source.shape is None:
            source.shape = output.shape
        output.replace_all_uses_with(source, replace_graph_outputs=True)
        self.remove(node)


def batch_norm(
    editor: Editor, x: ir.Value, stem: str, vectors: tuple[Array, Array, Array, Array], **attributes: float
) -> ir.Node:
    """A BatchNormalization of `x` with its four vectors [C] (scale, bias, mean, variance); not yet in the graph.

    Its parameters are named `<stem>.weight`, `.bias`, `.running_mean`, `.running_var`, and have the type of `x`.
    """
    dtype = x.dtype or ir.DataType.FLOAT
    names = ("weight", "bias", "running_mean", "running_var")
    parameters = [
        editor.initializer(f"{stem}.{name}", vector, dtype) for name, vector in zip(names, vectors, strict=True)
    ]
    output = ir.Value(type=x.type, shape=x.shape)
    return ir.node(
        "BatchNormalization", [x, *parameters], attributes, outputs=[output], name=editor.free(f"{stem}.norm")
    )
