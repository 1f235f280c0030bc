"""BatchNormalization, LayerNormalization, GroupNormalization, InstanceNormalization, LRN, RMSNormalization, Dropout."""

from __future__ import annotations

from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import dtype_kwarg, kwarg, literal


@emits("BatchNormalization")
def batch_norm(ctx: Emitter, node: Node) -> None:
    """BatchNormalization-1..15 on [N, C, ...]: running = m running + (1 - m) batch, so torch's momentum is 1 - m.

    The running statistics are buffers of nn.BatchNorm1d/2d/3d: eval mode is ONNX's inference, train mode updates them.
    """
    if any(node.wants(index) for index in range(1, len(node.outputs))):
        raise node.refuse("its running statistics are used as outputs")
    rank = ctx.need_rank(node)
    x = ctx(node.inputs[0])
    arrays = [ctx.const(node.input(index)) for index in range(1, 5)]
    if any(array is None for array in arrays) or rank > 5:
        # Statistics are measured, never trained: PyTorch has no gradient for them.
        kept = (f"{ctx(node.inputs[index])}{'' if arrays[index - 1] is not None else '.detach()'}" for index in (3, 4))
        operands = ", ".join([*kept, ctx(node.inputs[1]), ctx(node.inputs[2])])
        ctx.write(node, f"F.batch_norm({x}, {operands}, eps={literal(node.f('epsilon', 1e-5))})")
        return
    width = str(arrays[0].shape[0] if arrays[0] is not None else 0)
    momentum = literal(round(1.0 - node.f("momentum", 0.9), 9))
    args = [width, *kwarg("eps", literal(node.f("epsilon", 1e-5)), "1e-05"), *kwarg("momentum", momentum, "0.1")]
    tensors = {
        name: ctx.bind(node, index + 1) for index, name in enumerate(("weight", "bias", "running_mean", "running_var"))
    }
    args += dtype_kwarg(ctx, node, 1)
    module = ctx.module(node, f"nn.BatchNorm{max(rank - 2, 1)}d", args, tensors, kind="bn", widths={0: node.inputs[0]})
    ctx.write(node, f"{module}({x})")


@emits("LayerNormalization")
def layer_norm(ctx: Emitter, node: Node) -> None:
    """LayerNormalization-17 over the axes from `axis` on -> nn.LayerNorm; scale and bias: the normalised shape."""
    rank = ctx.need_rank(node)
    axis = node.i("axis", -1) % rank
    shape, size = ctx.shape(node.inputs[0]) or (), ctx.const(node.input(1))
    if node.wants(1) or node.wants(2):
        _layer_norm_with_statistics(ctx, node, axis)
        return
    eps = literal(node.f("epsilon", 1e-5))
    dims = list(size.shape) if size is not None and size.ndim == rank - axis else list(shape[axis:])
    if size is None or size.ndim != rank - axis or (node.has(2) and ctx.const(node.input(2)) is None):
        text = f"F.layer_norm({ctx(node.inputs[0])}, {dims}, eps={eps}) * {ctx(node.inputs[1])}"
        ctx.write(node, f"{text} + {ctx(node.input(2))}" if node.has(2) else text, compound=True)
        return
    args = [str(dims[0]) if len(dims) == 1 else str(tuple(dims)), *kwarg("eps", eps, "1e-05")]
    args += [*([] if node.has(2) else ["bias=False"]), *dtype_kwarg(ctx, node, 1)]
    tensors = {"weight": ctx.bind(node, 1)} | ({"bias": ctx.bind(node, 2)} if node.has(2) else {})
    ctx.write(node, f"{ctx.module(node, 'nn.LayerNorm', args, tensors, kind='norm')}({ctx(node.inputs[0])})")


def _layer_norm_with_statistics(ctx: Emitter, node: Node, axis: int) -> None:
    x, rank = ctx(node.inputs[0]), ctx.need_rank(node)
    dims = tuple(range(axis, rank))
    mean = ctx.local(f"{x}.mean({dims}, keepdim=True)", "mean", inline=False)
    scale = ctx.local(
        f"torch.rsqrt({x}.var({dims}, correction=0, keepdim=True) + {literal(node.f('epsilon', 1e-5))})",
        "scale",
        inline=False,
    )
    bias = f" + {ctx(node.input(2))}" if node.has(2) else ""
    ctx.write(node, f"({x} - {mean}) * {scale} * {ctx(node.inputs[1])}{bias}", compound=True)
    for index, text in ((1, mean), (2, scale)):
        if node.wants(index):
            ctx.write(node, text, out=index)


@emits("RMSNormalization", since=23)
@emits("SimplifiedLayerNormalization")
def rms_norm(ctx: Emitter, node: Node) -> None:
    """RMSNormalization-23: x / sqrt(mean(x^2) + eps) * scale over the axes from `axis` on.

    SimplifiedLayerNormalization, which onnxruntime writes, is the same and gives 1 / sqrt(...) as a second output.
    """
    axis = node.i("axis", -1)
    last = axis == -1 or axis % ctx.need_rank(node) == ctx.need_rank(node) - 1
    dims = -1 if last else tuple(range(axis % ctx.need_rank(node), ctx.need_rank(node)))
    x = ctx(node.inputs[0])
    root = f"torch.rsqrt({x}.square().mean({dims}, keepdim=True) + {literal(node.f('epsilon', 1e-5))})"
    if node.wants(1):
        root = ctx.local(root, "scale", inline=False)
        ctx.write(node, root, out=1)
    ctx.write(node, f"{x} * {root} * {ctx(node.inputs[1])}", compound=True)


@emits("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain="com.microsoft")
def skip_norm(ctx: Emitter, node: Node) -> None:
    """onnxruntime's norm(x + skip + bias) over the last axis, the sum as output 3; Simplified: the RMS norm."""
    if node.wants(1) or node.wants(2):
        raise node.refuse("its statistics are used as outputs")
    simple = node.op.startswith("SkipSimplified")
    total = f"{ctx(node.inputs[0])} + {ctx(node.inputs[1])}"
    bias = node.input(3 if simple else 4)
    total = ctx.local(total if bias is None else f"{total} + {ctx(bias)}", "x", compound=True, inline=not simple)
    if node.wants(3):
        ctx.write(node, total, out=3)
    eps, gamma, beta = literal(node.f("epsilon", 1e-12)), ctx(node.inputs[2]), None if simple else node.input(3)
    if simple:
        root = f"torch.rsqrt({total}.square().mean(-1, keepdim=True) + {eps})"
        ctx.write(node, f"{total} * {root} * {gamma}", compound=True)
        return
    shape = f"{gamma}.shape" if ctx.const(node.inputs[2]) is None else list(ctx.shape(node.inputs[2]) or ())
    ctx.write(node, f"F.layer_norm({total}, {shape}, {gamma}, {ctx(beta)}, {eps})")


@emits("GroupNormalization", since=18)
def group_norm_18(ctx: Emitter, node: Node) -> None:
    """GroupNormalization-18: scale and bias have one entry a group, [groups]."""
    x, groups = ctx(node.inputs[0]), node.i("num_groups", 1)
    width = (ctx.shape(node.inputs[0]) or (None, None))[1]
    if width is None:
        raise node.refuse("the number of channels is not known")
    args = ", ".join(f"{ctx(node.inputs[index])}.repeat_interleave({width // groups})" for index in (1, 2))
    ctx.write(node, f"F.group_norm({x}, {groups}, {args}, eps={literal(node.f('epsilon', 1e-5))})")


@emits("GroupNormalization", since=21)
def group_norm(ctx: Emitter, node: Node) -> None:
    """GroupNormalization-21 on [N, C, ...], scale and bias [C] -> nn.GroupNorm."""
    x, groups, eps = ctx(node.inputs[0]), str(node.i("num_groups", 1)), literal(node.f("epsilon", 1e-5))
    scale = ctx.const(node.input(1))
    if scale is None or ctx.const(node.input(2)) is None:
        ctx.write(node, f"F.group_norm({x}, {groups}, {ctx(node.inputs[1])}, {ctx(node.inputs[2])}, eps={eps})")
        return
    args = [groups, str(scale.shape[0]), *kwarg("eps", eps, "1e-05"), *dtype_kwarg(ctx, node, 1)]
    tensors = {"weight": ctx.bind(node, 1), "bias": ctx.bind(node, 2)}
    module = ctx.module(node, "nn.GroupNorm", args, tensors, kind="norm", widths={1: node.inputs[0]})
    ctx.write(node, f"{module}({x})")


@emits("InstanceNormalization")
def instance_norm(ctx: Emitter, node: Node) -> None:
    """InstanceNormalization-6 on [N, C, ...], scale and bias [C] -> nn.InstanceNorm1d/2d/3d, its own statistics."""
    x, eps, rank = ctx(node.inputs[0]), literal(node.f("epsilon", 1e-5)), ctx.need_rank(node)
    scale, bias = ctx.const(node.input(1)), ctx.const(node.input(2))
    if scale is None or bias is None or not 3 <= rank <= 5:
        ctx.write(node, f"F.instance_norm({x}, weight={ctx(node.inputs[1])}, bias={ctx(node.inputs[2])}, eps={eps})")
        return
    args = [str(scale.shape[0]), *kwarg("eps", eps, "1e-05"), "affine=True", *dtype_kwarg(ctx, node, 1)]
    tensors = {"weight": ctx.bind(node, 1), "bias": ctx.bind(node, 2)}
    module = ctx.module(node, f"nn.InstanceNorm{rank - 2}d", args, tensors, kind="norm", widths={0: node.inputs[0]})
    ctx.write(node, f"{module}({x})")


@emits("MeanVarianceNormalization", since=9)
def mean_variance(ctx: Emitter, node: Node) -> None:
    """MeanVarianceNormalization-9: (x - mean) / (std + 1e-9), population variance."""
    x, axes = ctx(node.inputs[0]), tuple(node.ints("axes", [0, 2, 3]) or ())
    centred = f"({x} - {x}.mean({axes}, keepdim=True))"
    ctx.write(node, f"{centred} / ({x}.std({axes}, correction=0, keepdim=True) + 1e-09)", compound=True)


@emits("LRN")
def lrn(ctx: Emitter, node: Node) -> None:
    """LRN-13: x / (bias + alpha / size * sum of squares over `size` channels) ** beta, as torch does it.

    Even sizes are refused: ONNX takes one more channel above, torch one more below.
    """
    x, size = ctx(node.inputs[0]), node.i("size", 1)
    alpha, beta, k = (
        literal(node.f(name, default)) for name, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    if size % 2 == 0:
        raise node.refuse("an even size")
    ctx.write(node, f"F.local_response_norm({x}, {size}, alpha={alpha}, beta={beta}, k={k})")


@emits("LpNormalization")
def lp_normalization(ctx: Emitter, node: Node) -> None:
    """LpNormalization-1: x / ||x||_p along `axis`."""
    x, axis, p = ctx(node.inputs[0]), node.i("axis", -1), node.i("p", 2)
    ctx.write(node, f"F.normalize({x}, p={p}, dim={axis})")


@emits("Dropout")
def dropout(ctx: Emitter, node: Node) -> None:
    """Dropout-7..22: the ratio is an attribute, from opset 12 on an input; active only while the module trains."""
    ratio = node.f("ratio", 0.5)
    given = ctx.const(node.input(1))
    if given is not None:
        ratio = float(str(given.reshape(-1)[0]))
    x = ctx(node.inputs[0])
    if node.wants(1):
        ctx.write(node, f"torch.ones_like({x}, dtype=torch.bool)", out=1)
    ctx.write(node, f"F.dropout({x}, {literal(ratio)}, self.training)")
