"""Quantised numbers, and what they stand for."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, var-annotated"
from __future__ import annotations

import torch


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
