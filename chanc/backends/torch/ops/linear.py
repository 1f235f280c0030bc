"""Gemm, MatMul, Einsum and their fused forms (ONNX Gemm-13, MatMul-13, Einsum-12; onnxruntime's own)."""

from __future__ import annotations

import onnx_ir as ir

from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import dtype_kwarg, fused_activation, literal
from chanc.backends.torch.program import Binding


@emits("Gemm")
def gemm(ctx: Emitter, node: Node) -> None:
    """Y = alpha A' B' + beta C with A: [M, K], B: [K, N]; nn.Linear where B and C are weights and nothing is scaled."""
    a, b, c = node.inputs[0], node.inputs[1], node.input(2)
    alpha, beta, flip = node.f("alpha", 1.0), node.f("beta", 1.0), node.i("transB")
    x = f"{ctx(a)}.t()" if node.i("transA") else ctx(a)
    weight, bias = ctx.const(b), ctx.const(c)
    outs = None if weight is None else weight.shape[0 if flip else 1]
    fits = c is None or (bias is not None and bias.shape in ((outs,), (1, outs)))
    if weight is not None and fits and alpha == 1.0 and beta == 1.0 and ctx.is_weight(b):
        tensors = {"weight": ctx.bind(node, 1, transpose=not flip)}
        if c is not None:
            tensors["bias"] = ctx.bind(node, 2, shape=(outs,))
        linear = _linear(ctx, node, tensors, weight.shape if flip else weight.shape[::-1])
        ctx.write(node, f"{linear}({x})")
        ctx.count_outputs(linear, 1, node.outputs[0])
        return
    text = f"{x} @ {ctx(b)}{'.t()' if flip else ''}"
    text = text if alpha == 1.0 else f"{literal(alpha)} * ({text})"
    if c is not None:
        text += f" + {ctx.operand(c, a)}" if beta == 1.0 else f" + {literal(beta)} * {ctx.operand(c, a)}"
    ctx.write(node, text, compound=True)


@emits("FusedGemm", domain="com.microsoft")
def fused_gemm(ctx: Emitter, node: Node) -> None:
    """onnxruntime's activation(Gemm(A, B, C))."""
    gemm(ctx, node)
    names = ("activation_alpha", "activation_beta")
    fused_activation(ctx, node, [node.f(name) for name in names if node.given(name)])


def _linear(ctx: Emitter, node: Node, tensors: dict[str, tuple[ir.Value, Binding]], shape: tuple[int, ...]) -> str:
    args = [str(shape[1]), str(shape[0]), *([] if "bias" in tensors else ["bias=False"]), *dtype_kwarg(ctx, node, 1)]
    by_channel = ctx.rank(node.inputs[0]) == 2 and not node.i("transA")
    return ctx.module(node, "nn.Linear", args, tensors, kind="linear", widths={0: node.inputs[0]} if by_channel else {})


@emits("MatMul")
def matmul(ctx: Emitter, node: Node) -> None:
    """A: [..., M, K] @ B: [..., K, N]; nn.Linear where B is a weight, with the Add of a bias that follows it."""
    a, b = node.inputs[0], node.inputs[1]
    weight = ctx.const(b)
    if weight is None or weight.ndim != 2 or not ctx.is_weight(b) or ctx.const(a) is not None:
        ctx.write(node, f"{ctx(a)} @ {ctx(b)}", compound=True)
        return
    tensors = {"weight": ctx.bind(node, 1, transpose=True)}
    last = node
    follower = _bias_after(ctx, node, weight.shape[1])
    if follower is not None:
        last, index = follower
        tensors["bias"] = ctx.bind(last, index)
        ctx.skip.add(last.raw)
    linear = _linear(ctx, node, tensors, weight.shape[::-1])
    ctx.write(last, f"{linear}({ctx(a)})")
    rank = ctx.rank(a)
    if rank is not None:
        ctx.set_shape(last.outputs[0], [None] * (rank - 1) + [weight.shape[1]])


@emits("FusedMatMul", "TransposeMatMul", domain="com.microsoft")
def fused_matmul(ctx: Emitter, node: Node) -> None:
    """onnxruntime's alpha A' B', the last two axes turned where transA, transB say so; nn.Linear for a weight B."""
    if node.i("transBatchA") or node.i("transBatchB"):
        raise node.refuse("its batch axes are turned")
    a, b = node.inputs[0], node.inputs[1]
    weight, alpha, flip = ctx.const(b), node.f("alpha", 1.0), node.i("transB")
    x = f"{ctx(a)}.mT" if node.i("transA") and ctx.need_rank(node) > 1 else ctx(a)
    if weight is not None and weight.ndim == 2 and ctx.is_weight(b) and ctx.const(a) is None:
        tensors = {"weight": ctx.bind(node, 1, transpose=not flip)}
        text = f"{_linear(ctx, node, tensors, weight.shape if flip else weight.shape[::-1])}({x})"
    else:
        text = f"{x} @ {ctx(b)}{'.mT' if flip and ctx.need_rank(node, 1) > 1 else ''}"
        text = text if alpha == 1.0 else f"({text})"
    ctx.write(node, text if alpha == 1.0 else f"{literal(alpha)} * {text}", compound=True)


def _bias_after(ctx: Emitter, node: Node, width: int) -> tuple[Node, int] | None:
    """The Add that is the only use of the product and adds a constant [width], with the constant's input index."""
    out = node.outputs[0]
    uses = tuple(out.uses())
    if len(uses) != 1 or out.is_graph_output() or uses[0].node.op_type != "Add" or uses[0].node.domain:
        return None
    index = 1 - uses[0].idx
    value = uses[0].node.inputs[index]
    array = ctx.const(value)
    if value is None or array is None or array.shape != (width,) or not ctx.is_weight(value):
        return None
    return Node(uses[0].node, node.version), index


@emits("Einsum")
def einsum(ctx: Emitter, node: Node) -> None:
    """torch.einsum has the same equation language; the equation is rebuilt from its legal characters."""
    equation = "".join(char for char in node.s("equation") if char.isascii() and (char.isalpha() or char in ",.->"))
    ctx.write(node, f"torch.einsum({', '.join([repr(equation), *[ctx(value) for value in node.inputs]])})")


@emits("Det")
def det(ctx: Emitter, node: Node) -> None:
    """Det-11: the determinant of the last two axes."""
    ctx.write(node, f"torch.linalg.det({ctx(node.inputs[0])})")
