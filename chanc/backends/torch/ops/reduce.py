"""Reductions, ArgMax/ArgMin, TopK, CumSum (ONNX Reduce*-1..18, ArgMax-13, TopK-11, CumSum-14)."""

from __future__ import annotations

from chanc.backends.torch.emitter import Emitter, Handler, emits
from chanc.backends.torch.node import Node

# operator -> text; {x} input, {d} dims, {k} keepdim
REDUCTIONS = {
    "ReduceMean": "{x}.mean({d}, keepdim={k})", "ReduceSum": "{x}.sum({d}, keepdim={k})",
    "ReduceMax": "{x}.amax({d}, keepdim={k})", "ReduceMin": "{x}.amin({d}, keepdim={k})",
    "ReduceL1": "{x}.abs().sum({d}, keepdim={k})", "ReduceL2": "torch.linalg.vector_norm({x}, dim={d}, keepdim={k})",
    "ReduceSumSquare": "{x}.square().sum({d}, keepdim={k})", "ReduceLogSum": "{x}.sum({d}, keepdim={k}).log()",
    "ReduceLogSumExp": "torch.logsumexp({x}, {d}, keepdim={k})",
}  # fmt: skip
_PLAIN = {
    "ReduceL1": "{x}.abs()",
    "ReduceL2": "{x}.abs()",
    "ReduceSumSquare": "{x}.square()",
    "ReduceLogSum": "{x}.log()",
}


def _dims(ctx: Emitter, node: Node) -> tuple[int, ...] | None:
    """The reduced axes; None where the node reduces nothing (noop_with_empty_axes)."""
    axes = ctx.axes(node, 1)
    if axes:
        return tuple(axes)
    if node.i("noop_with_empty_axes"):
        return None
    return tuple(range(ctx.need_rank(node)))


def _reduction(op: str, template: str) -> Handler:
    def handler(ctx: Emitter, node: Node) -> None:
        x, dims = ctx(node.inputs[0]), _dims(ctx, node)
        if dims is None:
            ctx.write(node, _PLAIN.get(op, "{x}").replace("{x}", x))
            return
        text = template.replace("{d}", str(dims)).replace("{k}", str(bool(node.i("keepdims", 1))))
        if not node.i("keepdims", 1):
            text = text.replace(", keepdim=False", "")
        if op in ("ReduceSum", "ReduceL1", "ReduceSumSquare") and ctx.dtype(node.inputs[0]) in (
            "int32",
            "uint8",
            "int8",
        ):
            text += f".to(torch.{ctx.dtype(node.inputs[0])})"
        if not dims:
            text = _PLAIN.get(op, "{x}")
        ctx.write(node, text.replace("{x}", x))

    return handler


for _op, _template in REDUCTIONS.items():
    emits(_op)(_reduction(_op, _template))


@emits("ReduceProd")
def reduce_prod(ctx: Emitter, node: Node) -> None:
    """ReduceProd: torch multiplies one axis at a time, the last first."""
    x, dims = ctx(node.inputs[0]), _dims(ctx, node)
    if dims is None:
        ctx.write(node, x)
        return
    rank = ctx.need_rank(node)
    for dim in sorted((dim % rank for dim in dims), reverse=True):
        x = f"{x}.prod({dim}, keepdim={bool(node.i('keepdims', 1))})"
    ctx.write(node, x)


def _arg(name: str) -> Handler:
    def handler(ctx: Emitter, node: Node) -> None:
        x, axis, keep = ctx(node.inputs[0]), node.i("axis"), bool(node.i("keepdims", 1))
        if node.i("select_last_index"):
            size = f"{x}.size({axis}) - 1 - "
            text = f"{size}{x}.flip({axis}).{name}({axis}, keepdim={keep})"
            ctx.write(node, text, compound=True)
        else:
            ctx.write(node, f"{x}.{name}({axis}, keepdim={keep})".replace(", keepdim=False", ""))

    return handler


emits("ArgMax")(_arg("argmax"))
emits("ArgMin")(_arg("argmin"))


@emits("TopK")
def top_k(ctx: Emitter, node: Node) -> None:
    """TopK-1..24: k is an attribute before opset 10, then an input [1]; values and indices."""
    k = str(node.i("k")) if node.given("k") else ctx.ints(node.input(1))[1:-1]
    if "tolist" in k:
        k = f"int({ctx(node.inputs[1])})"
    args = [ctx(node.inputs[0]), k, str(node.i("axis", -1)), *([] if node.i("largest", 1) else ["largest=False"])]
    ctx.write_many(node, f"{ctx.helper('top_k')}({', '.join(args)})")


@emits("CumSum", since=11)
def cum_sum(ctx: Emitter, node: Node) -> None:
    """CumSum-11..14 along a constant axis, with `exclusive` and `reverse`."""
    axis = ctx.const(node.input(1))
    if axis is None:
        raise node.refuse("its axis is computed by the network")
    x, dim = ctx(node.inputs[0]), int(axis.reshape(-1)[0])
    x = f"{x}.flip({dim})" if node.i("reverse") else x
    text = f"{x}.cumsum({dim})"
    compound = False
    if node.i("exclusive"):
        text, compound = f"{text} - {x}", True
    if node.i("reverse"):
        text, compound = (f"({text}).flip({dim})" if compound else f"{text}.flip({dim})"), False
    dtype = ctx.dtype(node.inputs[0])
    if dtype == "int32":
        text, compound = f"({text}).to(torch.int32)", False
    ctx.write(node, text, compound=compound)
