"""Quantised operators: ConvInteger-10, MatMulInteger-10, QLinearConv-10, QLinearMatMul-10/21, onnxruntime's QLinear*.

Products of integers less their zero points are summed in float64, where they are exact, and scaled as onnxruntime does:

    y = saturate(round(sum (a - za) (b - zb) * (sa sb / sy)) + zy)

The other operators compute in floating point between dequantisation and quantisation. Nothing here is a parameter.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from chanc.backends.torch.emitter import REGISTRY, Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import flat_pads, kwarg, literal, options_of, paddings, same_or_tuple, table
from chanc.backends.torch.program import Statement

MS = "com.microsoft"


def _less(ctx: Emitter, node: Node, index: int, zero: int, spread: str = "") -> str:
    """An operand less its zero point, in float64; `spread` brings a vector of zero points along the right axis."""
    text = f"{ctx(node.inputs[index])}.double()"
    if not node.has(zero):
        return text
    return f"({text} - {ctx(node.input(zero))}{spread if ctx.rank(node.input(zero)) == 1 else ''})"


def _scaled(ctx: Emitter, node: Node, sums: str, scale: str, to: int, zero: int) -> None:
    """Write the sums under the scale of the result, in the type of its zero point."""
    dtype = ctx.dtype(node.input(zero)) if node.has(zero) else ctx.dtype(node.inputs[0])
    args = [sums, f"{scale} / {table(ctx, node.input(to))}", ctx(node.input(zero)), f"torch.{dtype}"]
    ctx.write(node, f"{ctx.helper('requantize')}({', '.join(args)})")


def _scales(ctx: Emitter, node: Node, *indices: int, spread: str = "") -> str:
    """The product of two scales, the second of which may be a vector."""
    one, two = (table(ctx, node.input(index)) for index in indices)
    return f"{one} * {two}{spread if ctx.rank(node.input(indices[1])) == 1 else ''}"


def _product(ctx: Emitter, node: Node, a: tuple[int, int], b: tuple[int, int]) -> str:
    """A @ B of an operand's index and its zero point's, each."""
    return f"{_less(ctx, node, *a, spread='.unsqueeze(-1)')} @ {_less(ctx, node, *b)}"


def _convolution(ctx: Emitter, node: Node, x: tuple[int, int], w: tuple[int, int], bias: int) -> tuple[str, str]:
    """The sums of a convolution, and what brings a vector along their channels."""
    if node.i("channels_last"):
        raise node.refuse("its channels are last")
    spatial, kernel, strides, dilations = options_of(ctx, node, w[0])
    pads = paddings(ctx, node, spatial, kernel, strides, dilations)
    padded = pads if isinstance(pads, str) else str(flat_pads(*pads))
    left = _less(ctx, node, *x)
    left = left if padded == str([0] * 2 * spatial) else f"F.pad({left}, {padded})"
    spread = f".reshape(-1{', 1' * spatial})"
    options = [
        *([f"{ctx(node.input(bias))}.double()"] if node.has(bias) else []),
        *kwarg("stride", same_or_tuple(strides), "1"),
        *kwarg("dilation", same_or_tuple(dilations), "1"),
        *kwarg("groups", str(node.i("group", 1)), "1"),
    ]
    right = _less(ctx, node, *w, spread=f".reshape(-1{', 1' * (spatial + 1)})")
    return f"F.conv{spatial}d({', '.join([left, right, *options])})", spread


@emits("ConvInteger")
def conv_integer(ctx: Emitter, node: Node) -> None:
    """int32 sums; x, w, and their zero points."""
    ctx.write(node, f"{_convolution(ctx, node, (0, 2), (1, 3), 9)[0]}.int()")


@emits("QLinearConv", since=10)
@emits("QLinearConv", domain=MS)
def qlinear_conv(ctx: Emitter, node: Node) -> None:
    """x, its scale and zero point, w, its ones (a vector: one a channel), those of y, B [O] of int32."""
    sums, spread = _convolution(ctx, node, (0, 2), (3, 5), 8)
    _scaled(ctx, node, sums, _scales(ctx, node, 1, 4, spread=spread), 6, 7)


@emits("MatMulInteger")
@emits("MatMulInteger16", domain=MS)
def matmul_integer(ctx: Emitter, node: Node) -> None:
    """int32 sums; A [..., M, K], B [..., K, N], and their zero points."""
    ctx.write(node, f"({_product(ctx, node, (0, 2), (1, 3))}).int()")


@emits("QLinearMatMul", since=10)
def qlinear_matmul(ctx: Emitter, node: Node) -> None:
    """a, its scale and zero point, b, its ones, those of y."""
    _scaled(ctx, node, _product(ctx, node, (0, 2), (3, 5)), _scales(ctx, node, 1, 4), 6, 7)


@emits("QGemm", domain=MS)
def qgemm(ctx: Emitter, node: Node) -> None:
    """A, its scale and zero point, B, its ones, C of int32, those of Y; a result of floats where Y has none."""
    a, b = (_less(ctx, node, index, index + 2) for index in (0, 3))
    if node.i("transB"):
        b = f"{_less(ctx, node, 3, 5, spread='.unsqueeze(-1)')}.t()"
    sums = f"{a}.t() @ {b}" if node.i("transA") else f"{a} @ {b}"
    sums = f"{sums} + {ctx(node.input(6))}" if node.has(6) else sums
    alpha = node.f("alpha", 1.0)
    scale = f"{'' if alpha == 1 else literal(alpha) + ' * '}{_scales(ctx, node, 1, 4)}"
    if node.has(7):
        _scaled(ctx, node, sums, scale, 7, 8)
    else:
        _floats(ctx, node, sums, scale)


def _floats(ctx: Emitter, node: Node, sums: str, scale: str, bias: int = -1) -> None:
    dtype = ctx.dtype(node.outputs[0])
    more = f" + {ctx(node.input(bias))}" if bias > 0 and node.has(bias) else ""
    ctx.write(node, f"({sums}).to(torch.{dtype}) * ({scale}){more}", compound=True)


@emits("MatMulIntegerToFloat", domain=MS)
def matmul_integer_to_float(ctx: Emitter, node: Node) -> None:
    """A, B, their scales, their zero points, a bias of floats."""
    _floats(ctx, node, _product(ctx, node, (0, 4), (1, 5)), _scales(ctx, node, 2, 3), 6)


@emits("DynamicQuantizeMatMul", domain=MS)
def dynamic_quantize_matmul(ctx: Emitter, node: Node) -> None:
    """A of floats, which is quantised to its range, B, its scale and zero point, a bias of floats."""
    a, scale, zero = (ctx.new_value(None, name) for name in ("a", "scale", "zero"))
    ctx.unpack([a, scale, zero], f"{ctx.helper('dynamic_quantize')}({ctx(node.inputs[0])})")
    sums = f"(\0v{a}\0.double() - \0v{zero}\0) @ {_less(ctx, node, 1, 3)}"
    _floats(ctx, node, sums, f"\0v{scale}\0 * {table(ctx, node.input(2))}", 4)


def _dequantized(ctx: Emitter, node: Node, index: int, scale: int, zero: int) -> ir.Value:
    """An operand as floats: a value that isn't in the graph."""
    given = node.inputs[index]
    value = ir.Value(name=f"{given.name if given is not None else ''}_floats", type=ir.TensorType(ir.DataType.FLOAT))
    shape = ctx.shape(given)
    value.shape = ir.Shape(shape) if shape is not None else None
    args = [ctx(given), table(ctx, node.input(scale)), ctx(node.input(zero)), "0"]
    text = f"{ctx.helper('dequantize')}({', '.join(args)})"
    ctx.statements.append(Statement([ctx.new_value(value)], text))
    return value


def _as(ctx: Emitter, node: Node, op: str, places: Sequence[tuple[int, int, int]], to: tuple[int, int]) -> None:
    """Write the float operator of that name between dequantised operands and the quantised result.

    places: an operand, its scale and its zero point, each; to: those of the result.
    """
    if node.i("channels_last"):
        raise node.refuse("its channels are last")
    version = node.i("opset") or ctx.opsets.get("", 1)
    rule = REGISTRY.find("", op, version)
    assert rule is not None
    attributes = [given for name, given in node.raw.attributes.items() if name not in ("channels_last", "opset")]
    plain = ir.Node("", op, [_dequantized(ctx, node, *place) for place in places], attributes)
    rule(ctx, Node(plain, version))
    args = [ctx(plain.outputs[0]), table(ctx, node.input(to[0])), ctx(node.input(to[1])), "0"]
    dtype = ctx.dtype(node.inputs[places[0][0]])
    ctx.write(node, f"{ctx.helper('quantize')}({', '.join([*args, f'torch.{dtype}'])})")


@emits("QLinearAdd", "QLinearMul", domain=MS)
def qlinear_arithmetic(ctx: Emitter, node: Node) -> None:
    """A, its scale and zero point, B, its ones, those of C."""
    _as(ctx, node, node.op.removeprefix("QLinear"), [(0, 1, 2), (3, 4, 5)], (6, 7))


@emits("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax", domain=MS)
@emits("QLinearAveragePool", "QLinearGlobalAveragePool", domain=MS)
def qlinear_function(ctx: Emitter, node: Node) -> None:
    """X, its scale and zero point, those of Y."""
    _as(ctx, node, node.op.removeprefix("QLinear"), [(0, 1, 2)], (3, 4))


@emits("QLinearConcat", domain=MS)
def qlinear_concat(ctx: Emitter, node: Node) -> None:
    """Scale and zero point of Y, then each X with its ones."""
    _as(ctx, node, "Concat", [(place, place + 1, place + 2) for place in range(2, len(node.inputs), 3)], (0, 1))
