"""Quantised operators (ONNX QLinearConv, ConvInteger, QLinearMatMul, MatMulInteger; onnxruntime's QLinear* and fused
forms): what the float operator does to channels, between scales and zero points that follow the weight.

A weight quantised along with its channels has a scale and a zero point for each channel that it makes, or one for all;
activations have one for all. Weights stay integers: on growing the first copy of a channel keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence

from chanc.analysis.context import Context
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.layout import Field, Layout, Opaque, without
from chanc.analysis.operands import line, pin_taken
from chanc.analysis.quantised import Picked, by_channel, elements, whole_blocks
from chanc.analysis.rules import REGISTRY, rule

MS = "com.microsoft"


def _as(context: Context, name: str, places: Sequence[int], domain: str = "") -> None:
    """Let the rule of the float operator of that name see some of the inputs."""
    found = REGISTRY.find(domain, name, context.opset if not domain else 1 << 20)
    assert found is not None
    found(Picked(context, places))


def _result(context: Context) -> Layout:
    return context.findings.layouts[context.node.outputs[0]]


def _channels_first(context: Context) -> None:
    if context.integer("channels_last", 0):
        raise Opaque("its channels are last")


def _single(context: Context, *indices: int) -> None:
    """Scales and zero points that must be one number for all."""
    for index in indices:
        if elements(context, index) not in (0, 1):
            raise Opaque("each row of an activation has a scale of its own")


@rule("QLinearConv", domain=MS)
@rule("QLinearConv")
def qlinear_conv(context: Context) -> None:
    """QLinearConv: x, its scale and zero point, w, its ones, those of y, B."""
    _channels_first(context)
    _as(context, "Conv", (0, 3, 8))
    by_channel(context, _result(context), 1, (4, 5))


@rule("ConvInteger")
def conv_integer(context: Context) -> None:
    """ConvInteger: x, w, and their zero points."""
    _as(context, "Conv", (0, 1))
    by_channel(context, _result(context), 1, (3,))


@rule("MatMulInteger16", domain=MS)
@rule("MatMulInteger")
def matmul_integer(context: Context) -> None:
    """MatMulInteger: A, B, and their zero points."""
    _matmul(context, (0, 1), rows=(2,), columns=(3,))


@rule("QLinearMatMul")
def qlinear_matmul(context: Context) -> None:
    """QLinearMatMul: a, its scale and zero point, b, its ones, those of y."""
    _matmul(context, (0, 3), rows=(1, 2, 6, 7), columns=(4, 5))


@rule("MatMulIntegerToFloat", domain=MS)
def matmul_integer_to_float(context: Context) -> None:
    """MatMulIntegerToFloat: A, B, their scales, their zero points, a bias."""
    _matmul(context, (0, 1), rows=(2, 4), columns=(3, 5, 6))


@rule("DynamicQuantizeMatMul", domain=MS)
def dynamic_quantize_matmul(context: Context) -> None:
    """DynamicQuantizeMatMul: A of floats, B, its scale and zero point, a bias."""
    _matmul(context, (0, 1), rows=(), columns=(2, 3, 4))


def _matmul(context: Context, factors: tuple[int, int], rows: Sequence[int], columns: Sequence[int]) -> None:
    _single(context, *rows)
    _as(context, "MatMul", factors)
    result = _result(context)
    by_channel(context, result, result.rank - 1, columns)


@rule("QGemm", domain=MS)
def qgemm(context: Context) -> None:
    """QGemm: A, its scale and zero point, B, its ones, C of integers, those of y."""
    _single(context, 1, 2, 7, 8)
    _as(context, "Gemm", (0, 3, 6))
    by_channel(context, _result(context), 1, (4, 5))


@rule("QLinearAdd", "QLinearMul", domain=MS)
def qlinear_arithmetic(context: Context) -> None:
    """A, its scale and zero point, B, its ones, those of C."""
    _as(context, "Add", (0, 3))


@rule("QLinearLeakyRelu", "QLinearSigmoid", domain=MS)
def qlinear_activation(context: Context) -> None:
    """X, its scale and zero point, those of Y."""
    _as(context, "Relu", (0,))


@rule("QLinearSoftmax", domain=MS)
def qlinear_softmax(context: Context) -> None:
    """X, its scale and zero point, those of Y."""
    _as(context, "Softmax", (0,))


@rule("QLinearAveragePool", "QLinearGlobalAveragePool", domain=MS)
def qlinear_pool(context: Context) -> None:
    """X, its scale and zero point, those of Y."""
    _channels_first(context)
    _as(context, context.node.op_type.removeprefix("QLinear"), (0,))


@rule("QLinearConcat", domain=MS)
def qlinear_concat(context: Context) -> None:
    """Scale and zero point of Y, then each X with its ones."""
    _as(context, "Concat", range(2, len(context.inputs), 3))


@rule("QAttention", domain=MS)
def qattention(context: Context) -> None:
    """QAttention: X, W, a bias of floats, their scales, a mask, their zero points, past keys and values.

    Queries, keys and values are as wide as each other: whole heads go.
    """
    context.mode("heads")
    _single(context, 3, 6)
    _as(context, "Attention", (0, 1, 2, 5, 8), MS)
    by_channel(context, context.parameter(1, (0, 1), integers=True), 1, (4, 7))


@rule("MatMulNBits", domain=MS)
def matmul_nbits(context: Context) -> None:
    """MatMulNBits: A [..., K], B [N, blocks of K, bytes], scales, zero points packed by row, group indices, bias [N].

    Rows go one by one. Of K whole blocks go, where each scale has a place of its own and nothing is packed along it.
    """
    data = context.input(0)
    shape = context.initializer(1).shape
    columns, taken, block = (context.integer(name, 0) for name in ("N", "K", "block_size"))
    if len(shape) != 3 or shape[0] != columns or data.size(data.rank - 1) != taken:
        raise Opaque("its weight isn't [N, blocks, bytes]")
    count = shape[1]
    apart = context.initializer(2).shape == (columns, count) and not elements(context, 3) + elements(context, 4)
    free = count > 1 and taken % block == 0 and apart
    weight = context.parameter(1, (0, 1) if free else (0,), integers=True)
    made = line(weight, 0)
    context.mark(weight, 0, "producer")
    for index in (2, 3, 5):
        _rows(context, index, made)
    _blocks(context, data, weight, count) if free else _whole(context, data)
    last = data.rank - 1
    rest = without(data, last)
    context.output(Layout((*data.axes[:-1], (columns,)), (Field(((last, 0),), made), *rest.fields), data.why))


def _rows(context: Context, index: int, made: IntArray) -> None:
    """A constant that has as many values for each row of the weight, on its first axis."""
    if context.value(index) is None:
        return
    if not context.is_parameter(index):
        context.pin(made, "its scales are computed")
        return
    vector = context.parameter(index, (0,), integers=True)
    own = line(vector, 0)
    if own.size % made.size:
        raise Opaque(f"{own.size} scales for {made.size} channels")
    grid = own.reshape(made.size, -1)
    if grid.shape[1] == 1:
        context.same(own, made)
        return
    context.couple(grid, made[:, None])
    context.cut(own, made.size, 0)
    context.beside(made[:, None], grid)


def _whole(context: Context, data: Layout) -> None:
    context.fix(data, data.rank - 1, "its weight is packed along them")


def _blocks(context: Context, data: Layout, weight: Layout, count: int) -> None:
    """Whole blocks of K go; the scales are shared out among copies, which the packed weight can't be."""
    blocks = line(weight, 1)
    scales = context.parameter(2, (1,), integers=True)
    context.same(line(scales, 1), blocks)
    context.mark(scales, 1, "consumer")
    found = context.project(data, data.rank - 1)
    if found is None:
        pin_taken(context, data, blocks)
        return
    whole_blocks(context, found, blocks, count)
