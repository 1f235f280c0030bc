"""A fit written into the layer, its bias and its norm."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.ir.initializers import constant_shape
from chanc.transforms._edit import Array, Editor, content, float64, is_op, parameter_stem
from chanc.transforms.fold_batchnorm import affine
from chanc.transforms.recovery.layers import KERNELS, Layer, Place, affine_norm
from chanc.transforms.recovery.ridge import Fit

DEAD = 1e-6
"""Of the largest factor of a tail: channels under it are as good as multiplied by zero, and stay as they are."""


def plain(layer: Layer) -> tuple[Array, Array]:
    """What a layer does to its input up to the end, its tail included: weight [G, U, O/G] and shift [G, 1, O/G]."""
    tail, groups = layer.tail, layer.groups
    each = tail.scale.reshape(groups, 1, -1)
    matrix = np.ones_like(each) if layer.is_norm else _matrix(layer)
    return matrix * each, tail.shift.reshape(groups, 1, -1)


def write(editor: Editor, layer: Layer, fit: Fit) -> None:
    """Give a layer the weights of a fit, and what shifts its channels the shift."""
    move = fit.shift.reshape(-1) - layer.tail.shift
    if layer.is_norm:
        _write_norm(editor, layer, fit.weight.reshape(-1), move)
        return
    each = layer.tail.scale.reshape(layer.groups, 1, -1)
    alive = np.abs(each) > DEAD * np.abs(each).max()
    matrix = np.divide(fit.weight, each, out=_matrix(layer), where=alive)
    editor.replace(layer.node, 1, _tensor(layer, matrix))
    if layer.tail.places:
        place = layer.tail.places[-1]
        _shift(editor, place, np.divide(move, place.after, out=np.zeros_like(move), where=alive.reshape(-1)))


def refresh(editor: Editor, layer: Layer, rows: Array) -> None:
    """Give the BatchNorm behind a layer the statistics of what it reads now; its function stays.

    rows: of the layer's input, [G, R, U].
    """
    norm, bias = layer.tail.norm, float64(layer.node.inputs[2]) if len(layer.node.inputs) > 2 else None
    if norm is None:
        return
    made = rows @ _matrix(layer)
    mean = made.mean(axis=1).reshape(-1) + (0 if bias is None else bias.reshape(-1))
    _set_statistics(editor, norm, mean, made.var(axis=1).reshape(-1))


def _set_statistics(editor: Editor, norm: ir.Node, mean: Array, variance: Array) -> None:
    found = affine(norm)
    assert found is not None
    a, b = found
    scale = a * np.sqrt(variance + norm.attributes.get_float("epsilon", 1e-5))
    for index, vector in enumerate((scale, b + a * mean, mean, variance), start=1):
        editor.replace(norm, index, vector)


def _write_norm(editor: Editor, layer: Layer, factor: Array, move: Array) -> None:
    """y = factor (scale n + shift) + move, where n is what a norm makes before its scale."""
    found = affine_norm(layer.node)
    assert found is not None
    editor.replace(layer.node, 1, found[0] * factor)
    if layer.tail.places:
        editor.replace(layer.node, 2, found[1] * factor + move)


def _shift(editor: Editor, place: Place, move: Array) -> None:
    """Add to a constant that shifts the channels; a layer that has no bias gets one."""
    node, index = place.node, place.input
    old = content(node.inputs[index]) if len(node.inputs) > index else None
    if old is not None:
        grown = old if old.size == move.size else np.broadcast_to(old.reshape(-1), move.shape)
        editor.replace(node, index, grown + move.reshape(grown.shape))
        return
    weight = node.inputs[1]
    assert weight is not None and weight.dtype is not None
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    node.replace_input_with(index, editor.initializer(f"{parameter_stem(node)}.bias", move, weight.dtype))


def _matrix(layer: Layer) -> Array:
    """A layer's weight, float64 [G, taps * channels of a group, O/G]."""
    weight = float64(layer.node.inputs[1])
    assert weight is not None
    if is_op(layer.node, "Conv"):
        parts = weight.reshape(layer.groups, -1, weight.shape[1], int(np.prod(weight.shape[2:])))
        return np.asarray(parts.transpose(0, 3, 2, 1).reshape(layer.groups, -1, parts.shape[1]))
    if is_op(layer.node, "ConvTranspose"):
        return np.asarray(weight.reshape(*weight.shape[:2], -1).transpose(2, 0, 1).reshape(1, -1, weight.shape[1]))
    return np.array(weight.T if _turned(layer.node) else weight)[None]


def _tensor(layer: Layer, matrix: Array) -> Array:
    """The inverse of `_matrix`, in the shape of the weight."""
    weight = layer.node.inputs[1]
    assert weight is not None
    shape = constant_shape(weight)
    if is_op(layer.node, "Conv"):
        parts = matrix.reshape(layer.groups, -1, shape[1], shape[0] // layer.groups)
        return np.asarray(parts.transpose(0, 3, 2, 1).reshape(shape))
    if is_op(layer.node, *KERNELS):
        return np.asarray(matrix.reshape(-1, *shape[:2]).transpose(1, 2, 0).reshape(shape))
    return np.asarray(matrix[0].T if _turned(layer.node) else matrix[0])


def _turned(node: ir.Node) -> bool:
    return bool(node.attributes.get_int("transB", 0))
