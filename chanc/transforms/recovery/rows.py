"""Rows of a regression: some positions of what a layer makes, and all that it reads to make them.

A convolution makes position p from x[p s - pad + u d] over its taps u (stride s, dilation d); a transposed one from
x[(p + pad - u d) / s], where that is a whole number. A product makes a row from a row.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.ir.initializers import constant_shape
from chanc.transforms._edit import Array, is_op
from chanc.transforms.recovery.layers import KERNELS, Layer

Positions = NDArray[np.int64]


def sample(shape: tuple[int, ...], axis: int, count: int, rng: np.random.Generator) -> Positions:
    """At most `count` positions of a tensor, counted over all its axes but the channels'; ascending."""
    total = prod(shape) // max(shape[axis], 1)
    if count >= total:
        return np.arange(total)
    return np.sort(rng.choice(total, count, replace=False, shuffle=False))


def at(tensor: Array, axis: int, positions: Positions) -> Array:
    """The channels at positions: [P, C]."""
    moved = np.moveaxis(tensor, axis, -1)
    found: Array = moved[np.unravel_index(positions, moved.shape[:-1])]
    return found


def read(layer: Layer, x: Array, positions: Positions, shape: tuple[int, ...]) -> Array:
    """What a layer reads for positions of its output of that shape: [groups, P, unknowns], taps before channels."""
    if not is_op(layer.node, *KERNELS):
        rows = at(x, layer.axis, positions)
        return rows.T[:, :, None] if layer.is_norm else rows[None]
    patches = _patches(layer.node, x, positions, shape)
    count, taps, channels = patches.shape
    parts = patches.reshape(count, taps, layer.groups, channels // layer.groups)
    return parts.transpose(2, 0, 1, 3).reshape(layer.groups, count, -1)


def _patches(node: ir.Node, x: Array, positions: Positions, shape: tuple[int, ...]) -> Array:
    """[P, taps, C] of x [N, C, ...]; zeros where a tap lies outside."""
    assert node.inputs[1] is not None
    space = shape[2:]
    kernel = constant_shape(node.inputs[1])[2:]
    image, *places = np.unravel_index(positions, (shape[0], *space))
    index: list[NDArray[np.int64]] = [image.reshape(-1, *[1] * len(kernel))]
    inside = np.ones((positions.size, *[1] * len(kernel)), dtype=bool)
    for k, along in enumerate(places):
        source, valid = _sources(node, k, along, kernel[k], x.shape[2 + k], space[k])
        spread = (-1, *[1] * k, kernel[k], *[1] * (len(kernel) - k - 1))
        index.append(source.reshape(spread))
        inside = inside & valid.reshape(spread)
    place: tuple[Any, ...] = (index[0], slice(None), *index[1:])
    found: Array = x[place]
    if not inside.all():
        found[~inside] = 0
    return found.reshape(positions.size, -1, x.shape[1])


def _sources(
    node: ir.Node, axis: int, place: Positions, kernel: int, size: int, made: int
) -> tuple[Positions, NDArray[np.bool_]]:
    """Where the taps of positions on a spatial axis lie, and whether they are inside: [P, kernel] both."""
    stride, dilation = (_attribute(node, name, axis, 1) for name in ("strides", "dilations"))
    taps = np.arange(kernel) * dilation
    if is_op(node, "ConvTranspose"):
        source = place[:, None] + _attribute(node, "pads", axis, 0) - taps
        whole = source % stride == 0
        source = source // stride
    else:
        source = place[:, None] * stride + taps - _padding(node, axis, (made - 1) * stride + taps[-1] + 1 - size)
        whole = np.ones(source.shape, dtype=bool)
    return np.clip(source, 0, size - 1), whole & (source >= 0) & (source < size)


def _padding(node: ir.Node, axis: int, missing: int) -> int:
    """Zeros before an axis, of which `missing` are needed in all."""
    kind = node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"
    if kind in ("SAME_UPPER", "SAME_LOWER"):
        missing = max(missing, 0)
        return missing // 2 if kind == "SAME_UPPER" else missing - missing // 2
    return _attribute(node, "pads", axis, 0) if kind == "NOTSET" else 0


def _attribute(node: ir.Node, name: str, axis: int, default: int) -> int:
    return node.attributes[name].as_ints()[axis] if name in node.attributes else default
