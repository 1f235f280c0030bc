"""What several families need: how numbers, tuples and paddings are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chanc.backends.torch.names import float32, number

if TYPE_CHECKING:
    import onnx_ir as ir

    from chanc.backends.torch.emitter import Emitter
    from chanc.backends.torch.node import Node


def same_or_tuple(values: Sequence[int]) -> str:
    """`3` for (3, 3), `(3, 5)` otherwise."""
    return str(values[0]) if len(set(values)) == 1 else str(tuple(int(value) for value in values))


def kwarg(name: str, text: str, default: str) -> list[str]:
    """[`name=text`], or nothing where it is torch's default."""
    return [] if text == default else [f"{name}={text}"]


def dtype_kwarg(ctx: Emitter, node: Node, index: int) -> list[str]:
    """`dtype=torch.float16` where an input is not float32."""
    dtype = ctx.dtype(node.input(index))
    return [] if dtype == "float32" else [f"dtype=torch.{dtype}"]


def flat_pads(begin: Sequence[int], end: Sequence[int]) -> list[int]:
    """ONNX begins and ends, outermost axis first, as F.pad's list, innermost axis first."""
    return [pad for pair in zip(reversed(begin), reversed(end), strict=True) for pad in pair]


def options_of(ctx: Emitter, node: Node, weight: int = 1) -> tuple[int, list[int], list[int], list[int]]:
    """Spatial axes, kernel, strides and dilations of a convolution whose kernel is input `weight`."""
    kernel = node.ints("kernel_shape")
    if not kernel:
        shape = ctx.shape(node.input(weight))
        if shape is None or None in shape:
            raise node.refuse("the kernel's shape is not known")
        kernel = [int(dim or 0) for dim in shape[2:]]
    spatial = len(kernel)
    if spatial not in (1, 2, 3):
        raise node.refuse(f"a convolution over {spatial} axes has no PyTorch form")
    return spatial, kernel, node.ints("strides") or [1] * spatial, node.ints("dilations") or [1] * spatial


def paddings(
    ctx: Emitter, node: Node, spatial: int, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]] | str:
    """Begin and end padding of each spatial axis; for SAME on unknown sizes the text of F.pad's list.

    Follows auto_pad of ONNX Conv-22: SAME_UPPER puts the odd one at the end, SAME_LOWER at the beginning.
    """
    auto = node.s("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        pads = node.ints("pads") or [0] * (2 * spatial)
        return pads[:spatial], pads[spatial:]
    if auto == "VALID":
        return [0] * spatial, [0] * spatial
    value = node.input(0)
    shape = ctx.shape(value)
    sizes = [None] * spatial if shape is None else list(shape[2:])
    begin, end = [], []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        span = dilation * (k - 1) + 1
        if stride == 1:
            total = span - 1
        elif size is None:
            helper = ctx.helper("same_padding")
            lower = ", lower=True" if auto == "SAME_LOWER" else ""
            return f"{helper}({ctx(value)}, {tuple(kernel)}, {tuple(strides)}, {tuple(dilations)}{lower})"
        else:
            total = max((-(-size // stride) - 1) * stride + span - size, 0)
        small, large = total // 2, total - total // 2
        begin.append(large if auto == "SAME_LOWER" else small)
        end.append(small if auto == "SAME_LOWER" else large)
    return begin, end


FUSED = {
    "Relu": "F.relu({x})", "Sigmoid": "torch.sigmoid({x})", "Tanh": "torch.tanh({x})",
    "LeakyRelu": "F.leaky_relu({x}, {0})", "HardSigmoid": "torch.clamp({0} * {x} + {1}, 0.0, 1.0)",
    "Clip": "torch.clamp({x}, {0}, {1})",
}  # fmt: skip


def fused_activation(ctx: Emitter, node: Node, parameters: Sequence[float]) -> None:
    """The function that onnxruntime fused into a node (its attribute `activation`), over what the node wrote."""
    name = node.s("activation")
    if not name:
        return
    text = FUSED.get(name)
    if text is None or any(f"{{{place}}}" in text for place in range(len(parameters), 2)):
        raise node.refuse(f"the activation {name[:40]!r} with {len(parameters)} parameters")
    numbers = [literal(float32(value)) for value in parameters]
    ctx.extend(node, text.format(*numbers, x=ctx(node.outputs[0])))


def table(ctx: Emitter, value: ir.Value | None) -> str:
    """Angles or a window that the file holds: a buffer, whatever its name, since it doesn't train."""
    array = ctx.const(value)
    if array is not None and value is not None:
        ctx.set_const(value, array)
    return ctx(value)


def literal(value: object) -> str:
    """A number's literal."""
    return number(value)
