"""Windows, positions, sizes."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, var-annotated"
from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def same_padding(x, kernel, strides, dilations, lower=False):
    """The padding of auto_pad SAME, as F.pad wants it: the last axis first."""
    pads = []
    for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
        small, large = total // 2, total - total // 2
        pads = [large, small, *pads] if lower else [small, large, *pads]
    return pads


def average_pool(x, kernel, strides, pads, dilations, ceil_mode, include_pad):
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


def max_pool_with_indices(x, kernel, strides, pads, dilations, ceil_mode):
    """Max pooling with the positions of the largest entries in the whole tensor."""
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    values, indices = pool(x, kernel, strides, pads, dilations, ceil_mode, True)
    planes = torch.arange(x.size(0) * x.size(1), device=x.device).reshape(*x.shape[:2], *[1] * len(kernel))
    return values, indices + planes * math.prod(x.shape[2:])


def max_unpool(x, indices, kernel, strides, size=None):
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


def strided_slice(x, cuts):
    """Slices of (axis, start, end, step), where a step may be negative."""
    for axis, start, end, step in cuts:
        size = x.size(axis)
        stop = None if step < 0 and end < -size else end
        index = torch.arange(*slice(start, stop, step).indices(size), device=x.device)
        x = x.index_select(axis, index)
    return x


def gather_nd(x, indices, batch_dims):
    """x[b..., indices[b..., :]]: the last axis of the indices is a position."""
    batch = [
        torch.arange(x.size(axis), device=x.device).reshape(-1, *[1] * (indices.dim() - 2 - axis))
        for axis in range(batch_dims)
    ]
    return x[(*batch, *indices.unbind(-1))]


def scatter_nd(x, indices, updates, reduction="none"):
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


def one_hot(indices, depth, values, axis):
    """values[1] where an index is met along the new axis, values[0] elsewhere; negative indices count from the end."""
    indices = indices.long()
    indices = torch.where(indices < 0, indices + depth, indices)
    hit = indices.unsqueeze(-1) == torch.arange(depth, device=indices.device)
    return torch.where(hit, values[1], values[0]).movedim(-1, axis)


def pad_by_index(x, pads, mode):
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


def reshape(x, sizes):
    """Reshape where a 0 copies the input's size."""
    return x.reshape([x.size(axis) if size == 0 else size for axis, size in enumerate(sizes)])


def expand(x, sizes):
    """Broadcasts x and the sizes against each other."""
    return x.expand(torch.broadcast_shapes(x.shape, tuple(sizes)))


def resize(
    x,
    scales=None,
    sizes=None,
    mode="nearest",
    transform="half_pixel",
    nearest="floor",
    cubic=-0.75,
    exclude_outside=False,
):
    """Resizes every axis to its size, or by its scale, one after the other."""
    for axis in range(x.dim()):
        size = math.floor(x.size(axis) * scales[axis] + 1e-9) if sizes is None else int(sizes[axis])
        scale = size / x.size(axis) if scales is None else scales[axis]
        if size != x.size(axis) or scale != 1:
            x = resize_axis(x, axis, size, scale, mode, transform, nearest, cubic, exclude_outside)
    return x


def resize_axis(x, axis, size, scale, mode, transform, nearest, cubic, exclude_outside):
    """Resizes one axis: output position -> input coordinate -> weights of its neighbours."""
    old = x.size(axis)
    i = torch.arange(size, dtype=torch.float64, device=x.device)
    if transform == "align_corners":
        where = i * (old - 1) / (size - 1) if size > 1 else i * 0
    elif transform == "asymmetric":
        where = i / scale
    elif transform == "tf_half_pixel_for_nn":
        where = (i + 0.5) / scale
    elif transform == "half_pixel_symmetric":
        where = old / 2 * (1 - size / (old * scale)) + (i + 0.5) / scale - 0.5
    else:
        where = i * 0 if transform == "pytorch_half_pixel" and size == 1 else (i + 0.5) / scale - 0.5
    if mode == "nearest":
        down, up = torch.ceil(where - 0.5), torch.floor(where + 0.5)
        index = {"round_prefer_floor": down, "round_prefer_ceil": up, "floor": where.floor(), "ceil": where.ceil()}[
            nearest
        ]
        return x.index_select(axis, index.long().clamp(0, old - 1))
    base, taps = where.floor(), (0, 1) if mode == "linear" else (-1, 0, 1, 2)
    weights = []
    for tap in taps:
        d = (where - base - tap).abs()
        near = ((cubic + 2) * d - (cubic + 3)) * d * d + 1
        far = cubic * (((d - 5) * d + 8) * d - 4)
        weights.append((1 - d) if mode == "linear" else torch.where(d <= 1, near, far))
    weight = torch.stack(weights)
    index = torch.stack([base.long() + tap for tap in taps])
    if exclude_outside:
        weight = weight * ((index >= 0) & (index < old))
        weight = weight / weight.sum(0)
    shape = [size if place == axis else 1 for place in range(x.dim())]
    index = index.clamp(0, old - 1)
    return sum(x.index_select(axis, index[k]) * weight[k].to(x.dtype).reshape(shape) for k in range(len(taps)))


def top_k(x, k, axis, largest=True):
    """The k largest (or smallest) entries and their indices; of equal ones the first, which torch.topk leaves open."""
    values, indices = x.sort(dim=axis, descending=largest, stable=True)
    return values.narrow(axis, 0, k), indices.narrow(axis, 0, k)
