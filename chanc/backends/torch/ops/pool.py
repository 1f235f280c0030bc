"""MaxPool, AveragePool, LpPool and global Lp pooling (ONNX MaxPool-12, AveragePool-19/22, LpPool-18/22)."""

from __future__ import annotations

from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import flat_pads, kwarg, paddings, same_or_tuple


def _window(node: Node) -> tuple[int, list[int], list[int], list[int]]:
    kernel = node.ints("kernel_shape") or []
    spatial = len(kernel)
    if spatial not in (1, 2, 3):
        raise node.refuse(f"pooling over {spatial} axes has no PyTorch form")
    return spatial, kernel, node.ints("strides") or [1] * spatial, node.ints("dilations") or [1] * spatial


def _fits(pads: tuple[list[int], list[int]] | str, kernel: list[int]) -> bool:
    """Whether torch's own padding argument can express the padding."""
    if isinstance(pads, str):
        return False
    return pads[0] == pads[1] and all(pad <= k // 2 for pad, k in zip(pads[0], kernel, strict=True))


@emits("MaxPool")
def max_pool(ctx: Emitter, node: Node) -> None:
    """X: [N, C, ...] -> F.max_pool1d/2d/3d; uneven padding is added as -inf before."""
    spatial, kernel, strides, dilations = _window(node)
    pads = paddings(ctx, node, spatial, kernel, strides, dilations)
    x, padding, ceil = ctx(node.inputs[0]), "0", node.i("ceil_mode")
    if node.wants(1):
        _max_pool_indices(ctx, node, spatial, kernel, strides, dilations, pads)
        return
    if _fits(pads, kernel):
        padding = same_or_tuple(pads[0])  # type: ignore[arg-type]
    else:
        padded = pads if isinstance(pads, str) else str(flat_pads(*pads))
        lowest = (
            "-math.inf"
            if "float" in ctx.dtype(node.inputs[0])
            else f"torch.iinfo(torch.{ctx.dtype(node.inputs[0])}).min"
        )
        x = f"F.pad({x}, {padded}, value={lowest})"
    options = [
        *kwarg("stride", same_or_tuple(strides), same_or_tuple(kernel)),
        *kwarg("padding", padding, "0"),
        *kwarg("dilation", same_or_tuple(dilations), "1"),
        *(["ceil_mode=True"] if ceil else []),
    ]
    ctx.write(node, f"F.max_pool{spatial}d({', '.join([x, same_or_tuple(kernel), *options])})")


def _max_pool_indices(
    ctx: Emitter, node: Node, spatial: int, kernel: list[int], strides: list[int], dilations: list[int],
    pads: tuple[list[int], list[int]] | str,
) -> None:  # fmt: skip
    """ONNX counts indices through the whole tensor, torch through one plane."""
    if not _fits(pads, kernel) or node.i("storage_order"):
        raise node.refuse("indices of an unevenly padded or column-major pooling")
    args = [ctx(node.inputs[0]), str(tuple(kernel)), str(tuple(strides)), str(tuple(pads[0])), str(tuple(dilations))]
    ceil = [str(bool(node.i("ceil_mode")))]
    ctx.write_many(node, f"{ctx.helper('max_pool_with_indices')}({', '.join([*args, *ceil])})", 2)


@emits("AveragePool")
def average_pool(ctx: Emitter, node: Node) -> None:
    """X: [N, C, ...] -> F.avg_pool1d/2d/3d; count_include_pad is 0 by default in ONNX.

    Uneven padding, dilation, or a last window that `ceil_mode` hangs over the edge go through `average_pool`.
    """
    spatial, kernel, strides, dilations = _window(node)
    pads = paddings(ctx, node, spatial, kernel, strides, dilations)
    include, ceil = bool(node.i("count_include_pad")), bool(node.i("ceil_mode"))
    x = ctx(node.inputs[0])
    if _fits(pads, kernel) and max(dilations) == 1:
        padded = any(pads[0])
        options = [
            *kwarg("stride", same_or_tuple(strides), same_or_tuple(kernel)),
            *kwarg("padding", same_or_tuple(pads[0]), "0"),  # type: ignore[arg-type]
            *(["ceil_mode=True"] if ceil else []),
            *(["count_include_pad=False"] if padded and not include else []),
        ]
        ctx.write(node, f"F.avg_pool{spatial}d({', '.join([x, same_or_tuple(kernel), *options])})")
        return
    padded_text = pads if isinstance(pads, str) else str(flat_pads(*pads))
    args = [x, str(tuple(kernel)), str(tuple(strides)), padded_text, str(tuple(dilations)), str(ceil), str(include)]
    ctx.write(node, f"{ctx.helper('average_pool')}({', '.join(args)})")


@emits("LpPool")
def lp_pool(ctx: Emitter, node: Node) -> None:
    """LpPool: (sum |x|^p) ^ (1/p) over each window; zero padding adds nothing."""
    spatial, kernel, strides, dilations = _window(node)
    pads = paddings(ctx, node, spatial, kernel, strides, dilations)
    padded = pads if isinstance(pads, str) else str(flat_pads(*pads))
    p, count = node.i("p", 2), 1
    for k in kernel:
        count *= k
    args = [
        f"{ctx(node.inputs[0])}.abs() ** {p}", str(tuple(kernel)), str(tuple(strides)), padded, str(tuple(dilations)),
        str(bool(node.i("ceil_mode"))), "True",
    ]  # fmt: skip
    ctx.write(node, f"({count} * {ctx.helper('average_pool')}({', '.join(args)})) ** (1 / {p})", compound=True)


@emits("GlobalLpPool")
def global_lp_pool(ctx: Emitter, node: Node) -> None:
    """GlobalLpPool-2: the p-norm over all spatial axes."""
    dims = tuple(range(2, ctx.need_rank(node)))
    ctx.write(node, f"torch.linalg.vector_norm({ctx(node.inputs[0])}, {node.i('p', 2)}, dim={dims}, keepdim=True)")


@emits("MaxUnpool")
def max_unpool(ctx: Emitter, node: Node) -> None:
    """MaxUnpool-9/11: puts values back where MaxPool's indices say."""
    _, kernel, strides, _ = _window(node)
    if any(node.ints("pads") or ()):
        raise node.refuse("MaxUnpool with padding")
    size = [f"tuple({ctx.ints(node.input(2))})"] if node.has(2) else []
    args = [ctx(node.inputs[0]), ctx(node.inputs[1]), str(tuple(kernel)), str(tuple(strides)), *size]
    ctx.write(node, f"{ctx.helper('max_unpool')}({', '.join(args)})")
