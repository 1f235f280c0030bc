"""GroupNormalization and LayerNormalization from what exporters write in their place.

    Reshape [N, G, -1] -> InstanceNormalization -> Reshape back -> Mul w -> Add b   is   GroupNormalization(G, w, b)
    d = x - mean(x),  w d / sqrt(mean(d^2) + epsilon) + b                           is   LayerNormalization(w, b)

GroupNormalization takes one scale a channel since opset 21, LayerNormalization exists since opset 17. A model of an
older opset stays as it is, and the result says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from chanc.boundary import boundary
from chanc.ops import Trait, channels_made, has
from chanc.transforms._edit import Array, Editor, content, float64, is_op, kernel_of, only_use, opset, parameter_stem
from chanc.transforms._layernorm import layer_norm
from chanc.transforms._norm import Norm, find_tail

GROUP_SINCE = 21
LAYER_SINCE = 17


@dataclass(frozen=True)
class Recovered:
    """`modified`: whether a norm was recovered. `left`: one line a norm that was seen and left, with the reason."""

    modified: bool
    left: tuple[str, ...] = ()


@boundary("recovering GroupNorm")
def recover_groupnorm(model: ir.Model) -> Recovered:
    """Recover both, in place; the tensor behind each norm keeps its name, and the opset is never changed."""
    editor, left, changed = Editor(model), [], False
    for node in list(model.graph):
        found = _group_norm(node) or layer_norm(node)
        if found is None:
            continue
        since = GROUP_SINCE if found.op_type == "GroupNormalization" else LAYER_SINCE
        if opset(model) < since:
            left.append(f"{node.outputs[0].name}: {found.op_type} needs opset {since}, this is {opset(model)}")
        elif found.scale is None or found.bias is None:
            left.append(f"{node.outputs[0].name}: {found.op_type} of an unknown number of channels")
        else:
            _replace(editor, found, found.scale, found.bias)
            changed = True
    return Recovered(changed, tuple(left))


def _replace(editor: Editor, norm: Norm, scale: Array, bias: Array) -> None:
    last, output = norm.nodes[0], norm.output
    stem = _stem(norm)
    kind = norm.x.dtype or output.dtype or ir.DataType.FLOAT
    result = ir.Value(type=output.type, shape=output.shape)
    editor.graph.insert_after(last, made := ir.node(norm.op_type, [norm.x], norm.attributes, outputs=[result],
                                                    name=editor.free(f"{stem}.norm")))  # fmt: skip
    name, output.name = output.name, None
    output.replace_all_uses_with(result, replace_graph_outputs=True)
    result.name = name
    for node in norm.nodes:
        editor.remove(node)
    parameters = [editor.initializer(f"{stem}.{n}", v, kind) for n, v in (("weight", scale), ("bias", bias))]
    made.resize_inputs(3)
    for k, parameter in enumerate(parameters):
        made.replace_input_with(k + 1, parameter)


def _stem(norm: Norm) -> str:
    """The layer's name: that of a weight which has one, else of the tensor."""
    for name, end in zip(norm.names, (".weight", ".bias"), strict=True):
        if name is not None and name.endswith(end):
            return name.removesuffix(end)
    maker = norm.x.producer()
    return f"{parameter_stem(maker)}.norm" if is_op(maker, "Conv") and maker else f"{norm.output.name}.norm"


def _group_norm(node: ir.Node) -> Norm | None:
    if not is_op(node, "InstanceNormalization") or node.inputs[0] is None:
        return None
    before, after = node.inputs[0].producer(), only_use(node.outputs[0])
    if before is None or after is None or not is_op(before, "Reshape") or not is_op(after, "Reshape"):
        return None
    x, inner = before.inputs[0], [float64(value) for value in node.inputs[1:3]]
    if x is None or inner[0] is None or inner[1] is None or only_use(before.outputs[0]) is not node:
        return None
    groups = inner[0].size
    if not _splits(before, x, groups) or not _restores(after, x):
        return None
    tail = find_tail(after.outputs[0])
    channels = _channels(x)
    weight, bias = _per_channel(tail.weight, x, channels, 1.0), _per_channel(tail.bias, x, channels, 0.0)
    attributes = {"num_groups": groups, "epsilon": node.attributes.get_float("epsilon", 1e-5)}
    nodes = (*tail.nodes, after, node, before)
    if weight is None or bias is None or weight.size % groups:
        return Norm("GroupNormalization", x, tail.output, None, None, attributes, tail.names, nodes)
    each = weight.size // groups
    scale, shift = np.repeat(inner[0], each) * weight, np.repeat(inner[1], each) * weight + bias
    return Norm("GroupNormalization", x, tail.output, scale, shift, attributes, tail.names, nodes)


def _splits(reshape: ir.Node, x: ir.Value, groups: int) -> bool:
    """Whether a Reshape makes [N, groups, rest] of [N, C, ...]."""
    shape = content(reshape.inputs[1])
    batch = x.shape[0] if x.shape is not None and len(x.shape) else None
    return shape is not None and shape.size == 3 and shape[1] == groups and shape[0] in (0, batch)


def _restores(reshape: ir.Node, x: ir.Value) -> bool:
    """Whether a Reshape of something with the batch and size of `x` gives the shape of `x`."""
    maker = reshape.inputs[1].producer() if reshape.inputs[1] is not None else None
    if maker is not None and is_op(maker, "Shape"):
        whole = not maker.attributes.get_int("start", 0) and "end" not in maker.attributes
        return whole and maker.inputs[0] is x
    target = content(reshape.inputs[1])
    if target is None or x.shape is None or target.size != len(x.shape):
        return False
    sizes = target.tolist()
    unlike = [k for k, size in enumerate(sizes) if size != x.shape[k] and (k, size) != (0, 0)]
    return not unlike or (len(unlike) == 1 and sizes[unlike[0]] == -1)


def _channels(x: ir.Value) -> tuple[int, int] | None:
    """(rank, channels) of a value [N, C, ...]; from the convolution behind it where no shape was inferred."""
    if x.shape is not None and len(x.shape) > 1 and isinstance(x.shape[1], int):
        return len(x.shape), x.shape[1]
    maker = x.producer()
    if maker is None or not maker.inputs or maker.inputs[0] is None:
        return None
    kernel = kernel_of(maker)
    if kernel is not None:
        weight = content(maker.inputs[1])
        return (weight.ndim, channels_made(kernel, maker.attributes, weight.shape)) if weight is not None else None
    keeps = has(maker, Trait.ELEMENTWISE, Trait.NORM) and not has(maker, Trait.BROADCAST)
    return _channels(maker.inputs[0]) if keeps else None


def _per_channel(value: ir.Value | None, x: ir.Value, known: tuple[int, int] | None, default: float) -> Array | None:
    """A constant that broadcasts over [N, C, ...] as [C]; None where it varies on another axis, or C is not known."""
    if known is None:
        return None
    rank, count = known
    array = float64(value) if value is not None else np.full((), default)
    if array is None or array.ndim > rank:
        return None
    shape = [1] * (rank - array.ndim) + list(array.shape)
    if shape[1] not in (1, count) or any(extent != 1 for k, extent in enumerate(shape) if k != 1):
        return None
    return np.broadcast_to(array.reshape(-1), count)
