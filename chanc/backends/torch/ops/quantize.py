"""QuantizeLinear-10..25, DequantizeLinear-10..25, DynamicQuantizeLinear-11, by their formulas in floating point."""

from __future__ import annotations

from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node


def _check(ctx: Emitter, node: Node, dtype: str) -> None:
    if node.i("block_size"):
        raise node.refuse("block-wise scales")
    if dtype not in ("int8", "uint8", "int16", "uint16", "int32"):
        raise node.refuse(f"quantisation with {dtype}")


@emits("QuantizeLinear", since=10)
def quantize(ctx: Emitter, node: Node) -> None:
    """y = saturate(round(x / scale) + zero), half to even."""
    dtype = ctx.dtype(node.input(2)) if node.has(2) else "uint8"
    if node.i("output_dtype"):
        dtype = ctx.dtype_name(node, node.i("output_dtype"))
    _check(ctx, node, dtype)
    args = [ctx(node.inputs[0]), ctx(node.inputs[1]), ctx(node.input(2)), str(node.i("axis", 1)), f"torch.{dtype}"]
    ctx.write(node, f"{ctx.helper('quantize')}({', '.join(args)})")


@emits("DequantizeLinear", since=10)
def dequantize(ctx: Emitter, node: Node) -> None:
    """y = (x - zero) * scale."""
    _check(ctx, node, ctx.dtype(node.inputs[0]))
    args = [ctx(node.inputs[0]), ctx(node.inputs[1]), ctx(node.input(2)), str(node.i("axis", 1))]
    ctx.write(node, f"{ctx.helper('dequantize')}({', '.join(args)})")


@emits("DynamicQuantizeLinear", since=11)
def dynamic_quantize(ctx: Emitter, node: Node) -> None:
    """uint8 values, their scale and zero point, from the range of x."""
    ctx.write_many(node, f"{ctx.helper('dynamic_quantize')}({ctx(node.inputs[0])})")
