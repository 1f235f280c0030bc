"""Functions that PyTorch lacks. The emitter copies the source of those that a network needs into its `model.py`.

Each one stands alone: it uses only torch, F, math, and its own arguments.
"""

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


def loop(step, count, going, states, taken):
    """ONNX's Loop: up to `count` turns of `step`, while it says so; the last states, and what it made in each turn."""
    turn, parts = 0, []
    while going and (count is None or turn < count):
        going, *found = step(torch.tensor(turn), torch.tensor(True), *states, *taken)
        states, turn = found[: len(states)], turn + 1
        parts.append(found[len(states) :])
    return (*states, *(torch.stack(part) for part in zip(*parts, strict=True)))


def scan(step, states, inputs, outputs, taken):
    """ONNX's Scan: a turn of `step` for each slice of the inputs; the last states, and what it made in each turn.

    inputs: (tensor, axis, whether backwards), outputs: (axis, whether backwards) each.
    """
    slices, parts = [x.unbind(axis)[:: -1 if back else 1] for x, axis, back in inputs], []
    for now in zip(*slices, strict=True):
        found = step(*states, *now, *taken)
        found = list(found) if isinstance(found, tuple) else [found]
        states = found[: len(states)]
        parts.append(found[len(states) :])
    made = zip(zip(*parts, strict=True), outputs, strict=True)
    return (*states, *(torch.stack(part[:: -1 if back else 1], axis) for part, (axis, back) in made))


def lstm(x, w, r, b, h, c, reverse, peepholes=None, clip=math.inf, coupled=False):
    """One direction of an LSTM with the gates in ONNX's order: input, output, forget, cell.

    What enters a gate lies in -clip..clip; of coupled gates the cell forgets what the input takes in.
    """
    steps = []
    pi, po, pf = (0, 0, 0) if peepholes is None else peepholes.chunk(3)
    for now in x.flip(0) if reverse else x:
        gates = now @ w.t() + h @ r.t() + b
        i, o, f, g = gates.chunk(4, -1)
        i = torch.sigmoid((i + pi * c).clamp(-clip, clip))
        f = 1 - i if coupled else torch.sigmoid((f + pf * c).clamp(-clip, clip))
        c = f * c + i * torch.tanh(g.clamp(-clip, clip))
        h = torch.sigmoid((o + po * c).clamp(-clip, clip)) * torch.tanh(c)
        steps.append(h)
    y = torch.stack(steps)
    return y.flip(0) if reverse else y, h, c


def gru(x, w, r, wb, rb, h, reverse, reset_after, clip=math.inf):
    """One direction of a GRU with the gates in ONNX's order: update, reset, hidden."""
    steps, size = [], h.size(-1)
    for now in x.flip(0) if reverse else x:
        inputs = now @ w.t() + wb
        hidden = h @ r[: 2 * size].t() + rb[: 2 * size]
        z, s = torch.sigmoid((inputs[..., : 2 * size] + hidden).clamp(-clip, clip)).chunk(2, -1)
        n = (h if reset_after else s * h) @ r[2 * size :].t() + rb[2 * size :]
        n = inputs[..., 2 * size :] + (s * n if reset_after else n)
        h = (1 - z) * torch.tanh(n.clamp(-clip, clip)) + z * h
        steps.append(h)
    y = torch.stack(steps)
    return y.flip(0) if reverse else y, h


def attention(q, k, v, mask, past_k, past_v, heads, kv_heads, causal, scale, softcap):
    """Attention on [N, heads, S, D] or [N, S, heads * D]; returns the result and the joined keys and values."""
    packed = q.dim() == 3
    if packed:
        q = q.unflatten(-1, (heads, -1)).transpose(1, 2)
        k, v = (part.unflatten(-1, (kv_heads, -1)).transpose(1, 2) for part in (k, v))
    past = 0 if past_k is None else past_k.size(2)
    k, v = (k, v) if past_k is None else (torch.cat([past_k, k], 2), torch.cat([past_v, v], 2))
    repeat = q.size(1) // k.size(1)
    scores = q @ k.repeat_interleave(repeat, 1).transpose(-1, -2) * (q.size(-1) ** -0.5 if scale is None else scale)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if causal:
        ahead = torch.ones(q.size(2), k.size(2), dtype=torch.bool, device=q.device).triu(1 + past)
        scores = scores.masked_fill(ahead, -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    y = torch.softmax(scores, -1) @ v.repeat_interleave(repeat, 1)
    return y.transpose(1, 2).flatten(2) if packed else y, k, v


def new_positions(q, past, lengths, total):
    """[N, L]: which positions the queries have of each sample, of which so many less one are there with them."""
    now = torch.arange(q.size(1), device=q.device)
    first = past is None or q.size(1) == total
    return now.expand(q.size(0), -1) if first else (lengths + 1 - q.size(1)).unsqueeze(1) + now


def cached_attention(q, k, v, bias, past_k, past_v, where, total, heads, groups, scale, softcap, window):
    """Causal attention of [N, L, heads * D] to [N, L, groups * D] and to what is cached; the result, and both caches.

    where: [N, L], the positions of now; caches: [N, groups, positions, D]. window: how far back one looks, -1 for all.
    """
    q = q.unflatten(-1, (heads, -1)).transpose(1, 2)
    size, both = max(total, 0 if past_k is None else past_k.size(2)), []
    for now, past in ((k, past_k), (v, past_v)):
        now = now.unflatten(-1, (groups, -1)).transpose(1, 2)
        cache = now.new_zeros(*now.shape[:2], size, now.size(3))
        cache = cache if past is None else torch.cat([past, cache[:, :, past.size(2) :]], 2)
        known = torch.arange(size, device=q.device) <= where[:, -1:]
        cache = cache * known[:, None, :, None]
        both.append(cache.scatter(2, where[:, None, :, None].expand_as(now), now))
    k, v = (cache[:, :, :total].repeat_interleave(heads // groups, 1) for cache in both)
    scores = q @ k.transpose(2, 3) * (q.size(3) ** -0.5 if scale is None else scale)
    scores = softcap * torch.tanh(scores / softcap) if softcap else scores
    scores = scores if bias is None else scores + bias
    back = where[:, None, :, None] - torch.arange(total, device=q.device)
    hidden = (back < 0) | (back >= window) if window > 0 else back < 0
    y = torch.softmax(scores.masked_fill(hidden, -math.inf), -1) @ v
    return y.transpose(1, 2).flatten(2), *both


def deform_conv(x, w, offset, bias, mask, strides, pads, dilations, group, offset_group):
    """A convolution whose taps are moved by offsets, between pixels too, where zeros lie around the image.

    offset: [N, groups * taps * 2, H, W], row and column of each tap; mask: [N, groups * taps, H, W], its factor.
    """
    (n, c, high, wide), (kh, kw), (oh, ow) = x.shape, w.shape[2:], offset.shape[2:]
    taps = torch.arange(kh * kw, device=x.device).reshape(-1, 1, 1)
    moved = offset.reshape(n, offset_group, kh * kw, 2, oh, ow).unbind(3)
    rows = torch.arange(oh, device=x.device).reshape(-1, 1) * strides[0] - pads[0]
    columns = torch.arange(ow, device=x.device) * strides[1] - pads[1]
    rows = moved[0] + (taps // kw * dilations[0] + rows)
    columns = moved[1] + (taps % kw * dilations[1] + columns)
    flat = x.reshape(n, offset_group, c // offset_group, high * wide)
    total = x.new_zeros(())
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        i, j = rows.floor() + down, columns.floor() + right
        weight = (1 - (rows - i).abs()) * (1 - (columns - j).abs())
        weight = weight * ((i >= 0) & (i < high) & (j >= 0) & (j < wide))
        weight = weight if mask is None else weight * mask.reshape(weight.shape)
        index = i.long().clamp(0, high - 1) * wide + j.long().clamp(0, wide - 1)
        index = index.flatten(2).unsqueeze(2).expand(-1, -1, c // offset_group, -1)
        total = total + flat.gather(3, index) * weight.flatten(2).unsqueeze(2)
    total = total.reshape(n, group, c // group * kh * kw, oh * ow)
    y = w.reshape(group, w.size(0) // group, -1) @ total
    y = y.reshape(n, -1, oh, ow)
    return y if bias is None else y + bias.reshape(-1, 1, 1)


def roi_align(x, regions, images, height, width, ratio, scale, half, largest=False):
    """Resizes regions (x1, y1, x2, y2) of the images by the mean of `ratio` samples a cell and axis.

    ratio 0: as many as a cell has pixels. A sample lies between pixels: its weights fall off linearly over one pixel.
    largest: it is the largest of its four weighted pixels instead, and a cell the largest of its samples.
    """
    cells = [x.new_zeros(0, x.size(1), height, width)]
    for corners, image in zip((regions * scale - (0.5 if half else 0.0)).tolist(), images.tolist(), strict=True):
        sample, counts, grid = x[image], [], []
        for axis, count in ((1, height), (0, width)):
            start, length = corners[axis], corners[axis + 2] - corners[axis]
            length = length if half else max(length, 1.0)
            found = ratio or math.ceil(length / count)
            each = max(found, 1)
            where = start + (torch.arange(count * each, device=x.device) + 0.5) * (length / count / each)
            size = x.size(3 - axis)
            inside = ((where >= -1) & (where <= size)).unsqueeze(1)
            distance = where.clamp(0, size - 1).unsqueeze(1) - torch.arange(size, device=x.device)
            weights = ((1 - distance.abs()).clamp(min=0) * (inside if found > 0 else 0)).to(x.dtype)
            grid.append(weights)
            counts.append(each)
        if largest:
            (a, rows), (b, columns) = (F.pad(weights, (0, 1)).topk(2) for weights in grid)
            sample = F.pad(sample, (0, 1, 0, 1))[:, rows][..., columns] * a[..., None, None] * b
            cells.append(F.max_pool2d(sample.amax((2, 4)), counts).unsqueeze(0))
        else:
            cells.append(F.avg_pool2d(grid[0] @ sample @ grid[1].t(), counts).unsqueeze(0))
    return torch.cat(cells)


def non_max_suppression(boxes, scores, most, overlap, least, centred):
    """Rows (image, class, box): of each image and class at most `most` boxes, the best first, without overlapping ones.

    boxes: [N, B, 4], two opposite corners, or centre, width and height if centred; scores: [N, C, B].
    """
    a, b = boxes.split(2, -1)
    low, high = (a - b / 2, a + b / 2) if centred else (torch.minimum(a, b), torch.maximum(a, b))
    rows = []
    for image in range(scores.size(0)):
        area = (high[image] - low[image]).prod(-1)
        for kind in range(scores.size(1)):
            found = scores[image, kind]
            left = found.sort(descending=True, stable=True).indices
            left = left if least is None else left[found[left] > least]
            for _ in range(most):
                if not len(left):
                    break
                best, left = left[0], left[1:]
                rows.append([image, kind, int(best)])
                top = torch.maximum(low[image, best], low[image, left])
                bottom = torch.minimum(high[image, best], high[image, left])
                common = (bottom - top).clamp(min=0).prod(-1)
                left = left[~(common > overlap * (area[best] + area[left] - common))]
    return torch.tensor(rows, dtype=torch.int64, device=boxes.device).reshape(-1, 3)


def rotary_embedding(x, cos, sin, heads, part, interleaved):
    """Turns pairs of features by angles; x: [N, H, L, D] or [N, L, H * D], cos and sin: [N or 1, L, part / 2].

    The first `part` features (0: all) make pairs: neighbours if interleaved, else one of each half.
    """
    packed = x.dim() == 3
    if packed:
        x = x.unflatten(-1, (heads, -1)).transpose(1, 2)
    turned, rest = (x, None) if part in (0, x.size(-1)) else (x[..., :part], x[..., part:])
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    a, b = (turned[..., 0::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    pair = (a * cos - b * sin, b * cos + a * sin)
    y = torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)
    y = y if rest is None else torch.cat([y, rest], -1)
    return y.transpose(1, 2).flatten(2) if packed else y


def quantize(x, scale, zero, axis, dtype):
    """round(x / scale) + zero, saturated to the dtype's range; scale and zero run along `axis` where they are lists."""
    shape = [-1 if scale.numel() > 1 and place == axis % x.dim() else 1 for place in range(x.dim())]
    limits = torch.iinfo(dtype)
    y = torch.round(x / scale.reshape(shape))
    return (y if zero is None else y + zero.reshape(shape)).clamp(limits.min, limits.max).to(dtype)


def requantize(x, scale, zero, dtype):
    """round(x * scale) + zero, saturated to the dtype's range: sums of integers under the scale of a result."""
    limits = torch.iinfo(dtype)
    y = torch.round(x.to(scale.dtype) * scale)
    return (y if zero is None else y + zero).clamp(limits.min, limits.max).to(dtype)


def dequantize(x, scale, zero, axis):
    """(x - zero) * scale; scale and zero run along `axis` where they are lists."""
    shape = [-1 if scale.numel() > 1 and place == axis % x.dim() else 1 for place in range(x.dim())]
    y = x.to(scale.dtype)
    return (y if zero is None else y - zero.reshape(shape).to(scale.dtype)) * scale.reshape(shape)


def fake_quantize(x, scale, zero, axis, low, high):
    """What the quantised values stand for. The gradient goes straight through, but where a value is saturated."""
    shape = [-1 if scale.numel() > 1 and place == axis % x.dim() else 1 for place in range(x.dim())]
    scale, zero = scale.reshape(shape), 0 if zero is None else zero.reshape(shape).to(x.dtype)
    steps = torch.round(x.detach() / scale) + zero
    straight = (x - x.detach()).masked_fill((steps < low) | (steps > high), 0)
    return (steps.clamp(low, high) - zero) * scale + straight


def dynamic_quantize(x):
    """uint8 quantisation to the range of x with zero in it: values, scale, zero point."""
    low, high = x.min().clamp(max=0), x.max().clamp(min=0)
    scale = (high - low) / 255
    zero = torch.round((-low / scale).clamp(0, 255))
    return (torch.round(x / scale) + zero).clamp(0, 255).to(torch.uint8), scale, zero.to(torch.uint8)


def top_k(x, k, axis, largest=True):
    """The k largest (or smallest) entries and their indices; of equal ones the first, which torch.topk leaves open."""
    values, indices = x.sort(dim=axis, descending=largest, stable=True)
    return values.narrow(axis, 0, k), indices.narrow(axis, 0, k)


def reverse_sequence(x, lengths, time_axis, batch_axis):
    """Reverses the first lengths[b] entries of each sequence."""
    x = x.movedim((batch_axis, time_axis), (0, 1))
    i = torch.arange(x.size(1), device=x.device).unsqueeze(0)
    n = lengths.reshape(-1, 1)
    index = torch.where(i < n, n - 1 - i, i)
    return x[torch.arange(x.size(0), device=x.device).unsqueeze(1), index].movedim((0, 1), (batch_axis, time_axis))
