"""Deformed convolutions, regions and boxes."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, var-annotated"
from __future__ import annotations

import math

import torch
import torch.nn.functional as F


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
