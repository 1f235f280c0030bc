"""Activations and other elementwise functions of one tensor (ONNX opset 7 to 26)."""

from __future__ import annotations

import math

from chanc.backends.torch.emitter import Emitter, Handler, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import literal

# operator -> text; {x} is the input
UNARY = {
    "Relu": "F.relu({x})", "Sigmoid": "torch.sigmoid({x})", "Tanh": "torch.tanh({x})", "Softplus": "F.softplus({x})",
    "Softsign": "F.softsign({x})", "HardSwish": "F.hardswish({x})", "Mish": "F.mish({x})", "Erf": "torch.erf({x})",
    "Exp": "torch.exp({x})", "Log": "torch.log({x})", "Sqrt": "torch.sqrt({x})", "Abs": "torch.abs({x})",
    "Reciprocal": "torch.reciprocal({x})", "Floor": "torch.floor({x})", "Ceil": "torch.ceil({x})",
    "Round": "torch.round({x})", "Sign": "torch.sign({x})", "Sin": "torch.sin({x})", "Cos": "torch.cos({x})",
    "Tan": "torch.tan({x})", "Asin": "torch.asin({x})", "Acos": "torch.acos({x})", "Atan": "torch.atan({x})",
    "Sinh": "torch.sinh({x})", "Cosh": "torch.cosh({x})", "Asinh": "torch.asinh({x})", "Acosh": "torch.acosh({x})",
    "Atanh": "torch.atanh({x})", "IsNaN": "torch.isnan({x})", "Not": "torch.logical_not({x})",
    "BitwiseNot": "torch.bitwise_not({x})", "GlobalMaxPool": "torch.amax({x}, {spatial}, keepdim=True)",
    "GlobalAveragePool": "torch.mean({x}, {spatial}, keepdim=True)",
}  # fmt: skip


def _unary(template: str) -> Handler:
    def handler(ctx: Emitter, node: Node) -> None:
        spatial = str(tuple(range(2, ctx.need_rank(node)))) if "{spatial}" in template else ""
        ctx.write(node, template.replace("{spatial}", spatial).replace("{x}", ctx(node.inputs[0])))

    return handler


for _op, _template in UNARY.items():
    emits(_op)(_unary(_template))


@emits("Neg")
def neg(ctx: Emitter, node: Node) -> None:
    """Neg-13."""
    ctx.write(node, f"-{ctx(node.inputs[0])}", compound=True)


@emits("IsInf")
def is_inf(ctx: Emitter, node: Node) -> None:
    """IsInf-10 with detect_positive and detect_negative."""
    x, up, down = ctx(node.inputs[0]), node.i("detect_positive", 1), node.i("detect_negative", 1)
    names = {(1, 1): f"torch.isinf({x})", (1, 0): f"torch.isposinf({x})", (0, 1): f"torch.isneginf({x})"}
    ctx.write(node, names.get((up, down), f"torch.zeros_like({x}, dtype=torch.bool)"))


@emits("LeakyRelu")
def leaky_relu(ctx: Emitter, node: Node) -> None:
    """LeakyRelu-6: alpha x below zero, alpha = 0.01 by default."""
    ctx.write(node, f"F.leaky_relu({ctx(node.inputs[0])}, {literal(node.f('alpha', 0.01))})")


@emits("Elu")
def elu(ctx: Emitter, node: Node) -> None:
    """Elu-6: alpha (exp(x) - 1) below zero."""
    ctx.write(node, f"F.elu({ctx(node.inputs[0])}, {literal(node.f('alpha', 1.0))})")


@emits("Celu")
def celu(ctx: Emitter, node: Node) -> None:
    """Celu-12: max(0, x) + min(0, alpha (exp(x / alpha) - 1))."""
    ctx.write(node, f"F.celu({ctx(node.inputs[0])}, {literal(node.f('alpha', 1.0))})")


@emits("Selu")
def selu(ctx: Emitter, node: Node) -> None:
    """Selu-6: gamma (alpha exp(x) - alpha) below zero, gamma x above; torch's F.selu where both are the usual ones."""
    alpha, gamma = node.f("alpha", 1.6732632), node.f("gamma", 1.050701)
    x = ctx(node.inputs[0])
    usual = math.isclose(alpha, 1.6732632, rel_tol=1e-6) and math.isclose(gamma, 1.050701, rel_tol=1e-6)
    if usual:
        ctx.write(node, f"F.selu({x})")
    else:
        ctx.write(node, f"{literal(gamma)} * F.elu({x}, {literal(alpha)})", compound=True)


@emits("ThresholdedRelu")
def thresholded_relu(ctx: Emitter, node: Node) -> None:
    """ThresholdedRelu-10: x where x > alpha, else 0."""
    ctx.write(node, f"F.threshold({ctx(node.inputs[0])}, {literal(node.f('alpha', 1.0))}, 0.0)")


@emits("HardSigmoid")
def hard_sigmoid(ctx: Emitter, node: Node) -> None:
    """HardSigmoid-6: clip(alpha x + beta, 0, 1); torch's own has alpha = 1/6, beta = 1/2."""
    x, alpha, beta = ctx(node.inputs[0]), node.f("alpha", 0.2), node.f("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        ctx.write(node, f"F.hardsigmoid({x})")
    else:
        ctx.write(node, f"torch.clamp({literal(alpha)} * {x} + {literal(beta)}, 0.0, 1.0)")


@emits("Shrink")
def shrink(ctx: Emitter, node: Node) -> None:
    """Shrink-9: x + bias below -lambd, x - bias above lambd, else 0."""
    x, bias, lambd = ctx(node.inputs[0]), node.f("bias", 0.0), literal(node.f("lambd", 0.5))
    if bias == 0.0:
        ctx.write(node, f"F.hardshrink({x}, {lambd})")
    else:
        zero = f"torch.zeros_like({x})"
        low = f"torch.where({x} < -{lambd}, {x} + {literal(bias)}, {zero})"
        ctx.write(node, f"torch.where({x} > {lambd}, {x} - {literal(bias)}, {low})")


@emits("Swish", since=24)
def swish(ctx: Emitter, node: Node) -> None:
    """Swish-24: x sigmoid(alpha x)."""
    x, alpha = ctx(node.inputs[0]), node.f("alpha", 1.0)
    if alpha == 1.0:
        ctx.write(node, f"F.silu({x})")
    else:
        ctx.write(node, f"{x} * torch.sigmoid({literal(alpha)} * {x})", compound=True)


@emits("Gelu", since=20)
@emits("Gelu", domain="com.microsoft")
def gelu(ctx: Emitter, node: Node) -> None:
    """Gelu-20: x Phi(x), or its tanh approximation."""
    how = ', approximate="tanh"' if node.s("approximate", "none") == "tanh" else ""
    ctx.write(node, f"F.gelu({ctx(node.inputs[0])}{how})")


@emits("BiasGelu", domain="com.microsoft")
def bias_gelu(ctx: Emitter, node: Node) -> None:
    """onnxruntime's gelu(x + bias), bias: [C] of the last axis."""
    ctx.write(node, f"F.gelu({ctx(node.inputs[0])} + {ctx(node.inputs[1])})")


@emits("FastGelu", domain="com.microsoft")
def fast_gelu(ctx: Emitter, node: Node) -> None:
    """onnxruntime's gelu(x + bias) by the tanh approximation; the bias [C] may be left out."""
    x = f"{ctx(node.inputs[0])} + {ctx(node.input(1))}" if node.has(1) else ctx(node.inputs[0])
    ctx.write(node, f'F.gelu({x}, approximate="tanh")')


@emits("QuickGelu", domain="com.microsoft")
def quick_gelu(ctx: Emitter, node: Node) -> None:
    """onnxruntime's x sigmoid(alpha x), alpha = 1.702 by default."""
    x, alpha = ctx(node.inputs[0]), node.f("alpha", 1.702)
    ctx.write(node, f"{x} * torch.sigmoid({literal(alpha)} * {x})", compound=True)


@emits("PRelu")
def prelu(ctx: Emitter, node: Node) -> None:
    """PRelu-7..16: slope x below zero; nn.PReLU where the slope has one entry a channel, [C, 1, 1] or [1]."""
    x, slope = node.inputs[0], ctx.const(node.input(1))
    rank = ctx.need_rank(node)
    width = (ctx.shape(x) or (None, None))[1] if rank > 1 else None
    shared = slope is not None and slope.size == 1
    per_channel = slope is not None and _is_channel(slope.shape, width, rank)
    if slope is None or not (shared or per_channel):
        ctx.write(node, f"torch.where({ctx(x)} < 0, {ctx(node.inputs[1])} * {ctx(x)}, {ctx(x)})")
        return
    args = [] if shared else [str(slope.size)]
    tensors = {"weight": ctx.bind(node, 1, shape=(slope.size,))}
    module = ctx.module(node, "nn.PReLU", args, tensors, kind="prelu", widths={} if shared else {0: x})
    ctx.write(node, f"{module}({ctx(x)})")


def _is_channel(shape: tuple[int, ...], width: int | None, rank: int) -> bool:
    full = (1,) * (rank - len(shape)) + tuple(shape)
    return (
        len(shape) <= rank
        and rank > 1
        and full[1] == width
        and all(size == 1 for axis, size in enumerate(full) if axis != 1)
    )


@emits("Clip")
def clip_6(ctx: Emitter, node: Node) -> None:
    """Clip-6: the limits are attributes."""
    low = literal(node.f("min")) if node.given("min") else None
    high = literal(node.f("max")) if node.given("max") else None
    _clip(ctx, node, low, high)


@emits("Clip", since=11)
def clip(ctx: Emitter, node: Node) -> None:
    """Clip-11..13: the limits are optional inputs; F.relu6 for (0, 6)."""
    low, high = (
        None if value is None else ctx.operand(value, node.inputs[0]) for value in (node.input(1), node.input(2))
    )
    _clip(ctx, node, low, high)


def _clip(ctx: Emitter, node: Node, low: str | None, high: str | None) -> None:
    x = ctx(node.inputs[0])
    if (low, high) in (("0.0", "6.0"), ("0", "6")):
        ctx.write(node, f"F.relu6({x})")
    elif low is None and high is None:
        ctx.alias(node.outputs[0], node.inputs[0])  # type: ignore[arg-type]
    elif "\0" in f"{low}{high}":  # a limit that is a tensor: torch.clamp wants both of one kind
        text = x if low is None else f"torch.maximum({x}, torch.as_tensor({low}, dtype={x}.dtype))"
        ctx.write(node, text if high is None else f"torch.minimum({text}, torch.as_tensor({high}, dtype={x}.dtype))")
    else:
        limits = [*([] if low is None else [f"min={low}"]), *([] if high is None else [f"max={high}"])]
        ctx.write(node, f"torch.clamp({', '.join([x, *limits])})")


def _softmax(function: str) -> tuple[Handler, Handler]:
    def old(ctx: Emitter, node: Node) -> None:
        rank = ctx.need_rank(node)
        axis = node.i("axis", 1) % rank
        x = ctx(node.inputs[0])
        if axis == rank - 1:
            ctx.write(node, f"{function}({x}, {'-1' if rank != 2 else '1'})")
        else:
            ctx.write(node, f"{function}({x}.flatten({axis}), -1).reshape({x}.shape)")

    def new(ctx: Emitter, node: Node) -> None:
        ctx.write(node, f"{function}({ctx(node.inputs[0])}, {node.i('axis', -1)})")

    return old, new


# Before opset 13 a softmax runs over all axes from `axis` (default 1) on, as one; since 13 over one axis (default -1).
for _op, _function in (("Softmax", "torch.softmax"), ("LogSoftmax", "torch.log_softmax")):
    _old, _new = _softmax(_function)
    emits(_op)(_old)
    emits(_op, since=13)(_new)


@emits("Hardmax")
def hardmax(ctx: Emitter, node: Node) -> None:
    """Hardmax-1..13: one at the first largest entry, else zero; before opset 13 over all axes from `axis` on."""
    rank, x = ctx.need_rank(node), ctx(node.inputs[0])
    if node.version < 13 and node.i("axis", 1) % rank != rank - 1:
        raise node.refuse("Hardmax over several axes")
    axis = node.i("axis", 1 if node.version < 13 else -1)
    ctx.write(node, f"torch.zeros_like({x}).scatter_({axis}, {x}.argmax({axis}, keepdim=True), 1)")


@emits("Cast")
def cast(ctx: Emitter, node: Node) -> None:
    """Cast-6..25 to a dtype that torch has."""
    _cast(ctx, node, ctx.dtype_name(node, node.i("to")))


@emits("CastLike", since=15)
def cast_like(ctx: Emitter, node: Node) -> None:
    """CastLike-15: to the dtype of the second input."""
    _cast(ctx, node, ctx.dtype(node.inputs[1]))


def _cast(ctx: Emitter, node: Node, dtype: str) -> None:
    value = node.inputs[0]
    host = ctx.host(value)
    if ctx.symbolic(value) and host is not None:
        if dtype.startswith("int"):
            ctx.set_host(node.outputs[0], host)
            return
        if "float" in dtype:
            ctx.set_host(node.outputs[0], host)
            return
    if dtype == ctx.dtype(value) and ctx.const(value) is None and value is not None and value.dtype is not None:
        ctx.alias(node.outputs[0], value)
        return
    ctx.write(node, f"{ctx(value)}.to(torch.{dtype})")
