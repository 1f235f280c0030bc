"""Functions that PyTorch lacks. The emitter copies the source of those that a network needs into its `model.py`.

Each one stands alone: it uses only torch, F, math, and its own arguments.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def same_padding(x, kernel, strides, dilations, lower=False):  # type: ignore[no-untyped-def]
    """The padding of auto_pad SAME, as F.pad wants it: the last axis first."""
    pads = []
    for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
        small, large = total // 2, total - total // 2
        pads = [large, small, *pads] if lower else [small, large, *pads]
    return pads


def average_pool(x, kernel, strides, pads, dilations, ceil_mode, include_pad):  # type: ignore[no-untyped-def]
    """The mean of each window, with uneven padding (F.pad's list) and dilation; padding counts if include_pad."""
    spatial = len(kernel)
    conv = (F.conv1d, F.conv2d, F.conv3d)[spatial - 1]
    inside = torch.ones_like(x[:1, :1])
    counted = F.pad(inside, pads, value=1.0 if include_pad else 0.0)
    x = F.pad(x, pads)
    if ceil_mode:
        extra: list[int] = []
        for axis in range(spatial):
            size, span = x.size(axis + 2), dilations[axis] * (kernel[axis] - 1) + 1
            count = math.ceil((size - span) / strides[axis])
            if count * strides[axis] >= size - pads[2 * (spatial - 1 - axis) + 1]:
                count -= 1
            extra = [0, max(count * strides[axis] + span - size, 0), *extra]
        x, counted = F.pad(x, extra), F.pad(counted, extra)
    window = torch.ones(1, 1, *kernel, dtype=x.dtype, device=x.device)
    total = conv(x.flatten(0, 1).unsqueeze(1), window, stride=strides, dilation=dilations)
    counted = conv(counted, window, stride=strides, dilation=dilations)
    return total.reshape(*x.shape[:2], *total.shape[2:]) / counted


def max_pool_with_indices(x, kernel, strides, pads, dilations, ceil_mode):  # type: ignore[no-untyped-def]
    """Max pooling with the positions of the largest entries in the whole tensor."""
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    values, indices = pool(x, kernel, strides, pads, dilations, ceil_mode, True)
    planes = torch.arange(x.size(0) * x.size(1), device=x.device).reshape(*x.shape[:2], *[1] * len(kernel))
    return values, indices + planes * math.prod(x.shape[2:])


def max_unpool(x, indices, kernel, strides, size=None):  # type: ignore[no-untyped-def]
    """Puts pooled values back at their positions in a tensor of zeros."""
    if size is None:
        spatial = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], strides, kernel, strict=True)]
        size = (*x.shape[:2], *spatial)
    strided = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], strides, kernel, strict=True)]
    flat = torch.zeros(x.size(0) * x.size(1) * math.prod(strided), dtype=x.dtype, device=x.device)
    flat = flat.scatter(0, indices.flatten(), x.flatten()).reshape(*x.shape[:2], *strided)
    result = torch.zeros(size, dtype=x.dtype, device=x.device)
    result[tuple(slice(n) for n in flat.shape)] = flat
    return result


def even_response_norm(x, size, alpha, beta, k):  # type: ignore[no-untyped-def]
    """Local response normalisation over an even number of channels, the odd one above."""
    squares = F.pad(x.square().flatten(2), [0, 0, (size - 1) // 2, size // 2])
    total = squares.unfold(1, size, 1).sum(-1).reshape(x.shape)
    return x / (k + alpha / size * total) ** beta


def strided_slice(x, cuts):  # type: ignore[no-untyped-def]
    """Slices of (axis, start, end, step), where a step may be negative."""
    for axis, start, end, step in cuts:
        size = x.size(axis)
        stop = None if step < 0 and end < -size else end
        index = torch.arange(*slice(start, stop, step).indices(size), device=x.device)
        x = x.index_select(axis, index)
    return x


def gather_nd(x, indices, batch_dims):  # type: ignore[no-untyped-def]
    """x[b..., indices[b..., :]]: the last axis of the indices is a position."""
    batch = [
        torch.arange(x.size(axis), device=x.device).reshape(-1, *[1] * (indices.dim() - 2 - axis))
        for axis in range(batch_dims)
    ]
    return x[(*batch, *indices.unbind(-1))]


def scatter_nd(x, indices, updates, reduction="none"):  # type: ignore[no-untyped-def]
    """A copy of x with the updates written (or reduced) at the positions in the last axis of the indices."""
    depth = indices.size(-1)
    strides = [math.prod(x.shape[axis + 1 : depth]) for axis in range(depth)]
    flat = sum(torch.where(i < 0, i + n, i) * s for i, n, s in zip(indices.unbind(-1), x.shape, strides, strict=False))
    rows = x.reshape(math.prod(x.shape[:depth]), -1)
    values = updates.reshape(-1, rows.size(1))
    if reduction == "none":
        return rows.index_copy(0, flat.flatten(), values).reshape(x.shape)
    where = flat.reshape(-1, 1).expand_as(values)
    return rows.scatter_reduce(0, where, values, reduction).reshape(x.shape)


def one_hot(indices, depth, values, axis):  # type: ignore[no-untyped-def]
    """values[1] where an index is met along the new axis, values[0] elsewhere; negative indices count from the end."""
    indices = indices.long()
    indices = torch.where(indices < 0, indices + depth, indices)
    hit = indices.unsqueeze(-1) == torch.arange(depth, device=indices.device)
    return torch.where(hit, values[1], values[0]).movedim(-1, axis)


def pad_by_index(x, pads, mode):  # type: ignore[no-untyped-def]
    """Reflect, edge or wrap padding of any axis; pads as F.pad's list."""
    for place in range(len(pads) // 2):
        axis, size = x.dim() - 1 - place, x.size(x.dim() - 1 - place)
        index = torch.arange(-pads[2 * place], size + pads[2 * place + 1], device=x.device)
        if mode == "edge":
            index = index.clamp(0, size - 1)
        elif mode == "wrap":
            index = index % size
        else:
            index = (index + size - 1) % max(2 * size - 2, 1) - (size - 1)
            index = index.abs()
        x = x.index_select(axis, index)
    return x


def reshape(x, sizes):  # type: ignore[no-untyped-def]
    """Reshape where a 0 copies the input's size."""
    return x.reshape([x.size(axis) if size == 0 else size for axis, size in enumerate(sizes)])


def expand(x, sizes):  # type: ignore[no-untyped-def]
    """Broadcasts x and the sizes against each other."""
    return x.expand(torch.broadcast_shapes(x.shape, tuple(sizes)))  # type: ignore[no-untyped-call]
