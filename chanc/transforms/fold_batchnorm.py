"""BatchNormalization folded into the layer before it, for deployment.

With a = scale / sqrt(variance + epsilon), for each output channel

    BN(W x + b) = a W x + a (b - mean) + bias,  so  W' = a W,  b' = a (b - mean) + bias

W: [O, I/g, ...] of Conv, [I, O/g, ...] of ConvTranspose, [N, K] or [K, N] of Gemm.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from chanc.boundary import boundary
from chanc.transforms._edit import Array, Editor, content, float64, is_op, only_use, parameter_stem

LAYERS = ("Conv", "ConvTranspose", "Gemm")


@boundary("folding BatchNorm")
def fold_batchnorm(model: ir.Model, *, but: Collection[str] = ()) -> bool:
    """Fold, in place, every BatchNormalization in inference form that alone reads a layer with constant weights.

    but: names of outputs of norms that stay. Says whether there was one. The tensor behind it keeps its name. A weight
    that other nodes read, too, is left to them: the layer gets its own. Everything is computed in float64 and stored in
    the weight's type.
    """
    editor = Editor(model)
    # Norms may share constants: whether one has a reader left is asked once, at the end, and not after each fold.
    loose: dict[ir.Value, None] = {}
    changed = False
    for node in list(model.graph):
        if is_op(node, "BatchNormalization") and node.outputs[0].name not in but:
            changed |= _fold(editor, node, loose)
    for value in loose:
        editor.drop(value)
    return changed


def affine(norm: ir.Node) -> tuple[Array, Array] | None:
    """(a, b) with BN(x) = a x + b, float64 [C]; None where the norm trains or its numbers are not constant."""
    if norm.attributes.get_int("training_mode", 0) or not norm.attributes.get_int("spatial", 1):
        return None
    if any(value.uses() or value.is_graph_output() for value in norm.outputs[1:]):
        return None
    vectors = [float64(value) for value in norm.inputs[1:5]]
    if len(vectors) != 4 or any(vector is None for vector in vectors):
        return None
    scale, bias, mean, variance = (np.asarray(vector) for vector in vectors)
    a = scale / np.sqrt(variance + norm.attributes.get_float("epsilon", 1e-5))
    return a, bias - a * mean


def _fold(editor: Editor, norm: ir.Node, loose: dict[ir.Value, None]) -> bool:
    """Fold a norm, if it can be; `loose` collects what it read."""
    value = norm.inputs[0]
    layer = value.producer() if value is not None else None
    found = affine(norm)
    if layer is None or value is None or found is None or not is_op(layer, *LAYERS) or only_use(value) is not norm:
        return False
    weight, bias = float64(layer.inputs[1]), _bias(layer)
    if weight is None or bias is None or layer.graph is not editor.graph:
        return False
    a, b = found
    product = scaled(layer, weight, a)
    if product is None:
        return False
    dtype = ir.DataType.from_numpy(_stored(layer.inputs[1]).dtype)
    editor.replace(layer, 1, product)
    _set_bias(editor, layer, a * bias + b, dtype)
    output = norm.outputs[0]
    name, kind, shape = output.name, output.type, output.shape
    output.name = None
    output.replace_all_uses_with(value, replace_graph_outputs=True)
    loose.update(dict.fromkeys(editor.detach(norm)))
    value.name, value.type, value.shape = name, kind, shape
    return True


def scaled(layer: ir.Node, weight: Array, a: Array) -> Array | None:
    """The weight with every output channel times its factor; None where there are other than a.size channels."""
    if layer.op_type == "Gemm":
        rows = bool(layer.attributes.get_int("transB", 0))
        if weight.shape[0 if rows else 1] != a.size:
            return None
        return weight * (a[:, None] if rows else a)
    ones = (1,) * (weight.ndim - 2)
    if layer.op_type == "Conv":
        return weight * a.reshape(-1, 1, *ones) if weight.shape[0] == a.size else None
    groups, outputs = layer.attributes.get_int("group", 1), weight.shape[1]
    if groups * outputs != a.size:
        return None
    parts = weight.reshape(groups, -1, *weight.shape[1:]) * a.reshape(groups, 1, outputs, *ones)
    return parts.reshape(weight.shape)


def _bias(layer: ir.Node) -> Array | None:
    """What the layer adds to each output channel, [C] or a number; None where that is not a constant vector."""
    value = layer.inputs[2] if len(layer.inputs) > 2 else None
    if value is None:
        return np.zeros(())
    bias = float64(value)
    if bias is None or bias.size not in (1, bias.shape[-1] if bias.ndim else 1):
        return None
    factor = layer.attributes.get_float("beta", 1.0) if layer.op_type == "Gemm" else 1.0
    return bias.reshape(-1) * factor


def _set_bias(editor: Editor, layer: ir.Node, bias: Array, dtype: ir.DataType) -> None:
    layer.attributes.pop("beta", None)
    if len(layer.inputs) > 2 and layer.inputs[2] is not None:
        editor.replace(layer, 2, bias)
        return
    if len(layer.inputs) < 3:
        layer.resize_inputs(3)
    layer.replace_input_with(2, editor.initializer(f"{parameter_stem(layer)}.bias", bias, dtype))


def _stored(value: ir.Value | None) -> Array:
    array = content(value)
    assert array is not None
    return array
