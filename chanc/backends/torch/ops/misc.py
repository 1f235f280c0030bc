"""What fits no other family: random numbers, ReverseSequence, Col2Im, windows."""

from __future__ import annotations

from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import literal


@emits("RandomNormalLike", "RandomUniformLike")
def random_like(ctx: Emitter, node: Node) -> None:
    """RandomNormalLike-1 (mean, scale) and RandomUniformLike-1 (low, high); the seed is PyTorch's own."""
    x = ctx(node.inputs[0])
    dtype = f", dtype=torch.{ctx.dtype_name(node, node.i('dtype'))}" if node.given("dtype") else ""
    if node.op == "RandomNormalLike":
        mean, scale = literal(node.f("mean", 0.0)), literal(node.f("scale", 1.0))
        ctx.write(node, f"{mean} + {scale} * torch.randn_like({x}{dtype})", compound=True)
    else:
        low, width = node.f("low", 0.0), node.f("high", 1.0) - node.f("low", 0.0)
        ctx.write(node, f"{literal(low)} + {literal(width)} * torch.rand_like({x}{dtype})", compound=True)


@emits("Bernoulli", since=15)
def bernoulli(ctx: Emitter, node: Node) -> None:
    """Bernoulli-15: ones with probability x."""
    text = f"torch.bernoulli({ctx(node.inputs[0])})"
    ctx.write(node, f"{text}.to(torch.{ctx.dtype_name(node, node.i('dtype'))})" if node.given("dtype") else text)


@emits("ReverseSequence", since=10)
def reverse_sequence(ctx: Emitter, node: Node) -> None:
    """ReverseSequence-10: the first lengths[b] entries of each sequence."""
    args = [ctx(node.inputs[0]), ctx(node.inputs[1]), str(node.i("time_axis", 0)), str(node.i("batch_axis", 1))]
    ctx.write(node, f"{ctx.helper('reverse_sequence')}({', '.join(args)})")


@emits("Col2Im", since=18)
def col2im(ctx: Emitter, node: Node) -> None:
    """Col2Im-18 on two spatial axes: F.fold."""
    pads = node.ints("pads") or [0, 0, 0, 0]
    if ctx.shape(node.input(1)) != (2,) or len(pads) != 4 or pads[:2] != pads[2:]:
        raise node.refuse("uneven padding, or not two spatial axes")
    options = f"{node.ints('dilations') or [1, 1]}, {pads[:2]}, {node.ints('strides') or [1, 1]}"
    ctx.write(node, f"F.fold({ctx(node.inputs[0])}, {ctx.ints(node.inputs[1])}, {ctx.ints(node.inputs[2])}, {options})")
