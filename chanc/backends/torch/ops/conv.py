"""Conv, ConvTranspose (ONNX Conv-1/11/22, ConvTranspose-1/11/22), FusedConv, over one to three axes."""

from __future__ import annotations

from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import (
    dtype_kwarg,
    flat_pads,
    fused_activation,
    kwarg,
    options_of,
    paddings,
    same_or_tuple,
)


@emits("Conv")
def conv(ctx: Emitter, node: Node) -> None:
    """X: [N, C, ...], W: [O, C/groups, ...], B: [O] -> nn.Conv1d/2d/3d; uneven padding becomes F.pad before it."""
    spatial, kernel, strides, dilations = options_of(ctx, node)
    pads = paddings(ctx, node, spatial, kernel, strides, dilations)
    x, padding = ctx(node.inputs[0]), "0"
    if isinstance(pads, str):
        x = f"F.pad({x}, {pads})"
    elif pads[0] == pads[1] and min(pads[0]) >= 0:
        padding = same_or_tuple(pads[0])
    else:
        x = f"F.pad({x}, {flat_pads(*pads)})"
    options = [
        *kwarg("stride", same_or_tuple(strides), "1"),
        *kwarg("padding", padding, "0"),
        *kwarg("dilation", same_or_tuple(dilations), "1"),
    ]
    groups = kwarg("groups", str(node.i("group", 1)), "1")
    weight, bias = ctx.const(node.input(1)), ctx.const(node.input(2))
    if weight is None or (node.has(2) and bias is None):
        call = f"F.conv{spatial}d({', '.join([x, ctx(node.inputs[1]), ctx(node.input(2)), *options, *groups])})"
        ctx.write(node, call.replace(", None)", ")"))
        return
    inside = weight.shape[1] * node.i("group", 1)
    args = [str(inside), str(weight.shape[0]), same_or_tuple(kernel), *options, *groups]
    args += [*([] if node.has(2) else ["bias=False"]), *dtype_kwarg(ctx, node, 1)]
    tensors = {"weight": ctx.bind(node, 1)} | ({"bias": ctx.bind(node, 2)} if node.has(2) else {})
    conv_module = ctx.module(
        node, f"nn.Conv{spatial}d", args, tensors, kind="conv", widths={0: node.inputs[0], 1: None}
    )
    ctx.write(node, f"{conv_module}({x})")
    ctx.count_outputs(conv_module, 1, node.outputs[0])
    if node.i("group", 1) == inside == weight.shape[0] > 1:
        ctx.same_channels(node.inputs[0], node.outputs[0])
        ctx.count_outputs(conv_module, args.index(groups[0]), node.outputs[0])


@emits("FusedConv", domain="com.microsoft")
def fused_conv(ctx: Emitter, node: Node) -> None:
    """onnxruntime's activation(Conv(X, W, B) + Z)."""
    conv(ctx, node)
    if node.has(3):
        ctx.extend(node, f"{ctx(node.outputs[0])} + {ctx(node.input(3))}", compound=True)
        ctx.same_channels(node.input(3), node.outputs[0])
    fused_activation(ctx, node, node.floats("activation_params"))


@emits("ConvTranspose")
def conv_transpose(ctx: Emitter, node: Node) -> None:
    """X: [N, C, ...], W: [C, O/groups, ...] -> nn.ConvTranspose1d/2d/3d; uneven padding is cut off the full result."""
    spatial, kernel, strides, dilations = options_of(ctx, node)
    extra = node.ints("output_padding") or [0] * spatial
    begin, end = _transpose_pads(ctx, node, spatial, kernel, strides, dilations, extra)
    even = all(
        b >= 0 and 0 <= b - e + o < max(s, d)
        for b, e, o, s, d in zip(begin, end, extra, strides, dilations, strict=True)
    )
    cut = ""
    if even:
        extra = [b - e + o for b, e, o in zip(begin, end, extra, strict=True)]
    else:
        cut = "".join(f", {b}:{-e if e > 0 else ''}" for b, e in zip(begin, end, strict=True))
        if min(*begin, *end) < 0:
            raise node.refuse("a negative padding has no PyTorch form here")
        begin = [0] * spatial
    weight = ctx.const(node.input(1))
    groups = node.i("group", 1)
    options = [
        *kwarg("stride", same_or_tuple(strides), "1"),
        *kwarg("padding", same_or_tuple(begin), "0"),
        *kwarg("output_padding", same_or_tuple(extra), "0"),
        *kwarg("groups", str(groups), "1"),
    ]
    dilation = kwarg("dilation", same_or_tuple(dilations), "1")
    x = ctx(node.inputs[0])
    if weight is None or (node.has(2) and ctx.const(node.input(2)) is None):
        bias = [f"bias={ctx(node.input(2))}"] if node.has(2) else []
        call = f"F.conv_transpose{spatial}d({', '.join([x, ctx(node.inputs[1]), *bias, *options, *dilation])})"
    else:
        args = [str(weight.shape[0]), str(weight.shape[1] * groups), same_or_tuple(kernel), *options]
        args += [*([] if node.has(2) else ["bias=False"]), *dilation, *dtype_kwarg(ctx, node, 1)]
        tensors = {"weight": ctx.bind(node, 1)} | ({"bias": ctx.bind(node, 2)} if node.has(2) else {})
        module = ctx.module(
            node, f"nn.ConvTranspose{spatial}d", args, tensors, kind="deconv", widths={0: node.inputs[0]}
        )
        call = f"{module}({x})"
    ctx.write(node, f"{call}[:, :{cut}]" if cut else call)
    if weight is not None and call.startswith("\0m"):
        ctx.count_outputs(call[: call.index("(")], 1, node.outputs[0])


def _transpose_pads(
    ctx: Emitter,
    node: Node,
    spatial: int,
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    extra: list[int],
) -> tuple[list[int], list[int]]:
    """Begin and end padding; `output_shape` and SAME give the total, split as the ONNX page says."""
    auto = node.s("auto_pad", "NOTSET")
    wanted = node.ints("output_shape")
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    if not wanted and auto in ("NOTSET", "", "VALID"):
        pads = (node.ints("pads") if auto != "VALID" else None) or [0] * (2 * spatial)
        return pads[:spatial], pads[spatial:]
    if wanted:
        shape = ctx.shape(node.inputs[0])
        sizes = [] if shape is None else list(shape[2:])
        if not sizes or None in sizes:
            raise node.refuse("output_shape with unknown input sizes")
        wanted = wanted[-spatial:]
        totals = [
            s * ((size or 0) - 1) + o + span - w
            for s, size, o, span, w in zip(strides, sizes, extra, spans, wanted, strict=True)
        ]
    else:
        totals = [span + o - s for span, o, s in zip(spans, extra, strides, strict=True)]
    for axis, total in enumerate(totals):
        if total < 0:  # the result is longer than the full one: torch pads the end by output_padding
            extra[axis] -= total
            totals[axis] = 0
    small = [total // 2 for total in totals]
    large = [total - total // 2 for total in totals]
    return (small, large) if auto == "SAME_UPPER" else (large, small)
