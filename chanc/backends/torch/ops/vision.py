"""DeformConv-19/22, RoiAlign-10..22, NonMaxSuppression-10/11: what PyTorch has in torchvision only, by the prelude."""

from __future__ import annotations

from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import literal


@emits("DeformConv", since=19)
def deform_conv(ctx: Emitter, node: Node) -> None:
    """X: [N, C, H, W], W: [O, C / group, kh, kw], offsets, B: [O], a mask. Pads at the end follow from the offsets."""
    if ctx.need_rank(node) != 4:
        raise node.refuse("a deformable convolution over other than two axes")
    operands = [ctx(node.input(index)) for index in (0, 1, 2, 3, 4)]
    strides, dilations = node.ints("strides", [1, 1]), node.ints("dilations", [1, 1])
    pads = (node.ints("pads") or [0] * 4)[:2]
    groups = [node.i("group", 1), node.i("offset_group", 1)]
    args = [*operands, *(str(entry) for entry in (strides, pads, dilations, *groups))]
    ctx.write(node, f"{ctx.helper('deform_conv')}({', '.join(args)})")


@emits("RoiAlign", since=10)
def roi_align_10(ctx: Emitter, node: Node) -> None:
    """RoiAlign-10: corners of pixels, regions of at least one pixel."""
    _roi_align(ctx, node, half=False)


@emits("RoiAlign", since=16)
def roi_align(ctx: Emitter, node: Node) -> None:
    """RoiAlign-16: half a pixel is taken off by default."""
    _roi_align(ctx, node, half=node.s("coordinate_transformation_mode", "half_pixel") == "half_pixel")


def _roi_align(ctx: Emitter, node: Node, *, half: bool) -> None:
    """The largest as onnxruntime takes it: of weighted pixels, not of samples."""
    operands = [ctx(node.inputs[index]) for index in range(3)]
    sizes = [node.i("output_height", 1), node.i("output_width", 1), node.i("sampling_ratio")]
    args = [*operands, *map(str, sizes), literal(node.f("spatial_scale", 1.0)), str(half)]
    args += [] if node.s("mode", "avg") == "avg" else ["largest=True"]
    ctx.write(node, f"{ctx.helper('roi_align')}({', '.join(args)})")


@emits("NonMaxSuppression", since=10)
def non_max_suppression(ctx: Emitter, node: Node) -> None:
    """boxes: [N, B, 4], scores: [N, C, B]; limits as inputs. Result: [K, 3], rows of image, class and box."""
    most, overlap = _number(ctx, node, 2, "0"), _number(ctx, node, 3, "0.0")
    args = [*(ctx(node.inputs[index]) for index in (0, 1)), most, overlap, _number(ctx, node, 4, "None")]
    args.append(str(bool(node.i("center_point_box"))))
    ctx.write(node, f"{ctx.helper('non_max_suppression')}({', '.join(args)})")


def _number(ctx: Emitter, node: Node, index: int, default: str) -> str:
    value = node.input(index)
    if value is None:
        return default
    array = ctx.frozen(value)
    return f"{ctx(value)}.item()" if array is None else literal(array.reshape(-1)[0])
