"""QuantizeLinear-10..25, DequantizeLinear-10..25, DynamicQuantizeLinear-11, by their formulas in floating point.

Integers that the file holds, those of MatMulNBits packed, become what they stand for: a constant. Scales and zero
points are buffers.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import table


def _check(ctx: Emitter, node: Node, dtype: str) -> None:
    if node.i("block_size"):
        raise node.refuse("block-wise scales")
    if dtype not in ("int8", "uint8", "int16", "uint16", "int32"):
        raise node.refuse(f"quantisation with {dtype}")


@emits("QuantizeLinear", since=10)
@emits("QuantizeLinear", domain="com.microsoft")
def quantize(ctx: Emitter, node: Node) -> None:
    """y = saturate(round(x / scale) + zero), half to even."""
    dtype = ctx.dtype(node.input(2)) if node.has(2) else "uint8"
    if node.i("output_dtype"):
        dtype = ctx.dtype_name(node, node.i("output_dtype"))
    _check(ctx, node, dtype)
    args = [ctx(node.inputs[0]), table(ctx, node.inputs[1]), ctx(node.input(2)), str(node.i("axis", 1))]
    ctx.write(node, f"{ctx.helper('quantize')}({', '.join([*args, f'torch.{dtype}'])})")


@emits("DequantizeLinear", since=10)
@emits("DequantizeLinear", domain="com.microsoft")
def dequantize(ctx: Emitter, node: Node) -> None:
    """y = (x - zero) * scale."""
    if (values := _stood_for(ctx, node)) is not None:
        ctx.set_const(node.outputs[0], values)
        return
    _check(ctx, node, ctx.dtype(node.inputs[0]))
    if (before := _quantised(ctx, node)) is not None:
        limits = np.iinfo(ctx.dtype(node.inputs[0]))
        args = [ctx(before), table(ctx, node.inputs[1]), ctx(node.input(2)), str(node.i("axis", 1))]
        args += [str(limits.min), str(limits.max)]
        ctx.write(node, f"{ctx.helper('fake_quantize')}({', '.join(args)})")
        return
    args = [ctx(node.inputs[0]), table(ctx, node.inputs[1]), ctx(node.input(2)), str(node.i("axis", 1))]
    ctx.write(node, f"{ctx.helper('dequantize')}({', '.join(args)})")


def _quantised(ctx: Emitter, node: Node) -> ir.Value | None:
    """What a QuantizeLinear before the node quantised by the same scale and zero point; None where there is none."""
    maker = node.inputs[0].producer() if node.inputs[0] is not None else None
    if maker is None or maker.op_type != "QuantizeLinear":
        return None
    made = Node(maker, node.version)
    same = all(_alike(ctx, made.input(index), node.input(index)) for index in (1, 2))
    return made.input(0) if same and made.i("axis", 1) == node.i("axis", 1) and not made.i("block_size") else None


def _alike(ctx: Emitter, one: ir.Value | None, two: ir.Value | None) -> bool:
    a, b = ctx.const(one), ctx.const(two)
    return one is two or (a is not None and b is not None and np.array_equal(a, b))


def _stood_for(ctx: Emitter, node: Node) -> np.ndarray | None:
    """What constant integers stand for, by a scale for all, one a position of `axis` or one a block along it."""
    x, scale, zero = (ctx.const(node.input(index)) for index in range(3))
    if x is None or scale is None or (zero is None and node.has(2)):
        return None
    axis, block, dtype = node.i("axis", 1), node.i("block_size"), np.promote_types(scale.dtype, np.float32)
    values = x.astype(dtype)
    if zero is not None:
        values = values - _along(zero.astype(dtype), values, axis, block)
    result: np.ndarray = (values * _along(scale.astype(dtype), values, axis, block)).astype(scale.dtype)
    return result


def _along(vector: np.ndarray, x: np.ndarray, axis: int, block: int) -> np.ndarray:
    """Scales or zero points in a shape that fits the values of x."""
    if block:
        return np.repeat(vector, block, axis).take(np.arange(x.shape[axis]), axis)
    return vector.reshape([-1 if vector.size > 1 and place == axis % x.ndim else 1 for place in range(x.ndim)])


@emits("DynamicQuantizeLinear", since=11)
def dynamic_quantize(ctx: Emitter, node: Node) -> None:
    """uint8 values, their scale and zero point, from the range of x."""
    ctx.write_many(node, f"{ctx.helper('dynamic_quantize')}({ctx(node.inputs[0])})")


@emits("MatMulNBits", domain="com.microsoft")
def matmul_n_bits(ctx: Emitter, node: Node) -> None:
    """X [..., K] by the matrix [N, K] that is packed in blocks of K, [N, blocks, bytes], first value in the low bits.

    The matrix is a buffer: it doesn't train, and isn't written back.
    """
    arrays = [ctx.const(node.input(index)) for index in (1, 2, 3)]
    if arrays[0] is None or arrays[1] is None or (node.has(3) and arrays[2] is None):
        raise node.refuse("its matrix is computed by the network")
    if node.has(4):
        raise node.refuse("rows in another order")
    bits, rows, columns = node.i("bits", 4), node.i("N"), node.i("K")
    if bits not in (2, 4, 8):
        raise node.refuse(f"{bits} bits")
    packed, scales = arrays[0].reshape(rows, -1, node.i("block_size") * bits // 8), arrays[1].reshape(rows, -1, 1)
    zeros = _zeros(arrays[2], bits, rows, scales.shape[1])
    values = (_unpacked(packed, bits).astype(scales.dtype) - zeros) * scales
    weight = ir.Value(name=f"{node.inputs[1].name}_values" if node.inputs[1] is not None else "values")
    weight.dtype = ir.DataType.from_numpy(scales.dtype)
    ctx.set_const(weight, np.ascontiguousarray(values.reshape(rows, -1)[:, :columns]))
    bias = f", {ctx(node.input(5))}" if node.has(5) else ""
    ctx.write(node, f"F.linear({ctx(node.inputs[0])}, {ctx(weight)}{bias})")


def _zeros(given: np.ndarray | None, bits: int, rows: int, blocks: int) -> np.ndarray:
    """The zero point of each block, [N or 1, blocks or 1, 1]: packed as the matrix is, or in floating point."""
    if given is None:
        return np.full((1, 1, 1), 1 << (bits - 1), dtype=np.float32)
    if given.dtype != np.uint8:
        return given.reshape(rows, blocks, 1)
    return _unpacked(given.reshape(rows, -1), bits)[:, :blocks, None].astype(np.float32)


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """The values in bytes, along the last axis."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts: np.ndarray = (packed[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return parts.reshape(*packed.shape[:-1], -1)
