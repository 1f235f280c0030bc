"""Resize-10..19, Upsample-7/9, GridSample-16/20, AffineGrid-20.

`F.interpolate` where it computes the same; else `resize_axis` of the prelude, one axis after the other, which follows
the ONNX page word by word (every coordinate transform and nearest mode).
"""

from __future__ import annotations

from chanc.backends.torch import symbols
from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import literal

_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


@emits("Upsample")
def upsample_7(ctx: Emitter, node: Node) -> None:
    """Upsample-7: scales are an attribute; nearest and linear, asymmetric."""
    _resize(
        ctx,
        node,
        [symbols.Sym(literal(s)) if s != int(s) else int(s) for s in node.floats("scales")],
        None,
        "asymmetric",
        "floor",
    )


@emits("Upsample", since=9)
@emits("Resize", since=10)
def resize_10(ctx: Emitter, node: Node) -> None:
    """Upsample-9 and Resize-10: scales are the second input; asymmetric, nearest by floor."""
    _resize(ctx, node, _scales(ctx, node, 1), None, "asymmetric", "floor")


@emits("Resize", since=11)
def resize(ctx: Emitter, node: Node) -> None:
    """Resize-11..19: inputs X, roi, scales, sizes; one of the last two is given."""
    transform = node.s("coordinate_transformation_mode", "half_pixel")
    nearest = node.s("nearest_mode", "round_prefer_floor")
    if node.i("antialias") or transform == "tf_crop_and_resize":
        raise node.refuse("antialias and tf_crop_and_resize")
    if node.s("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise node.refuse("keep_aspect_ratio_policy")
    sizes = ctx.host(node.input(3)) if node.has(3) else None
    if node.has(3) and sizes is None and (node.ints("axes") or ctx.const(node.input(3)) is None):
        text = ctx.ints(node.input(3))
        count = len(node.ints("axes") or range(ctx.need_rank(node)))
        sizes = symbols.as_objects([symbols.Sym(f"{text}[{place}]") for place in range(count)])
    if sizes is not None and len(sizes):
        _resize(ctx, node, None, list(sizes), transform, nearest)
    else:
        _resize(ctx, node, _scales(ctx, node, 2), None, transform, nearest)


def _scales(ctx: Emitter, node: Node, index: int) -> list[object]:
    array = ctx.const(node.input(index))
    if array is None:
        host = ctx.host(node.input(index))
        if host is not None:
            return list(host)
        count = len(node.ints("axes") or range(ctx.need_rank(node)))
        return [symbols.Sym(f"float({ctx(node.input(index))}[{place}])") for place in range(count)]
    return [symbols.Sym(literal(s)) if s != int(s) else int(s) for s in array.reshape(-1)]


def _full(ctx: Emitter, node: Node, given: list[object] | None, neutral: list[object]) -> list[object] | None:
    """`given` with an entry for every axis, where opset 18's `axes` names only some."""
    axes = node.ints("axes")
    if given is None or axes is None:
        return given
    full = list(neutral)
    for axis, entry in zip(axes, given, strict=True):
        full[axis] = entry
    return full


def _resize(
    ctx: Emitter, node: Node, scales: list[object] | None, sizes: list[object] | None, transform: str, nearest: str
) -> None:  # fmt: skip
    value, rank = node.inputs[0], ctx.need_rank(node)
    dims = ctx.shape(value) or (None,) * rank
    scales = _full(ctx, node, scales, [1] * rank)
    sizes = _full(ctx, node, sizes, [ctx.size(value, axis) for axis in range(rank)] if node.ints("axes") else [])  # type: ignore[arg-type]
    if scales is None and sizes is not None and all(isinstance(e, int) for e in sizes[2:]) and None not in dims[2:]:
        ratios = [e / (d or 1) for e, d in zip(sizes[2:], dims[2:], strict=True)]  # type: ignore[operator]
        if all(ratio == int(ratio) for ratio in ratios):
            scales, sizes = [1, 1, *(int(ratio) for ratio in ratios)], None
    options = _interpolate(node, rank, scales, transform, nearest)
    if transform == "pytorch_half_pixel" and not _surely_longer_than_one(ctx.shape(node.outputs[0])):
        options = None
    if options is not None and _spatial_only(scales, sizes, dims):
        if sizes is not None:
            where = f"size=({', '.join(symbols.text(entry) for entry in sizes[2:])}{',' if rank == 3 else ''})"
        else:
            factors = [symbols.text(entry) for entry in (scales or [])[2:]]
            where = f"scale_factor={factors[0] if len(set(factors)) == 1 else '(' + ', '.join(factors) + ')'}"
        ctx.write(node, f"F.interpolate({ctx(value)}, {where}{options})")
        return
    entries = [symbols.text(entry) for entry in (scales if sizes is None else sizes) or []]
    args = [
        f"{'scales' if sizes is None else 'sizes'}=[{', '.join(entries)}]", f'mode="{_mode(node)}"',
        f'transform="{_known(node, transform, _TRANSFORMS)}"', f'nearest="{_known(node, nearest, _NEAREST)}"',
        f"cubic={literal(node.f('cubic_coeff_a', -0.75))}", f"exclude_outside={bool(node.i('exclude_outside'))}",
    ]  # fmt: skip
    ctx.helper("resize_axis")
    ctx.write(node, f"{ctx.helper('resize')}({', '.join([ctx(value), *args])})")


_TRANSFORMS = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
)
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def _surely_longer_than_one(shape: tuple[int | None, ...] | None) -> bool:
    """Whether no spatial axis of the result can have size 1, for which pytorch_half_pixel has a rule of its own."""
    return shape is not None and all(dim is None or dim > 1 for dim in shape[2:])


def _known(node: Node, text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise node.refuse("an unknown mode")
    return text


def _mode(node: Node) -> str:
    mode = node.s("mode", "nearest")
    return _known(node, "linear" if mode == "bilinear" else mode, ("nearest", "linear", "cubic"))


def _spatial_only(scales: list[object] | None, sizes: list[object] | None, dims: tuple[int | None, ...]) -> bool:
    if scales is not None:
        return all(not isinstance(entry, symbols.Sym) and entry == 1 for entry in scales[:2])
    entries = (sizes or [])[:2]
    return all(
        isinstance(entry, symbols.Sym) or dim is None or entry == dim for entry, dim in zip(entries, dims, strict=False)
    )


def _interpolate(node: Node, rank: int, scales: list[object] | None, transform: str, nearest: str) -> str | None:
    """F.interpolate's remaining arguments, or None where it computes something else."""
    mode = _mode(node)
    if not 3 <= rank <= 5:
        return None
    whole = scales is not None and all(isinstance(entry, int) for entry in scales[2:])
    if mode == "nearest":
        centred = transform in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric") and nearest.startswith(
            "round"
        )
        if (transform, nearest) == ("asymmetric", "floor") or (whole and centred):
            return ""
        return None
    corners = {"half_pixel": "False", "pytorch_half_pixel": "False", "align_corners": "True"}.get(transform)
    if (
        corners is None
        or node.i("exclude_outside")
        or (mode == "cubic" and (rank != 4 or node.f("cubic_coeff_a", -0.75) != -0.75))
    ):
        return None
    return f', mode="{"bicubic" if mode == "cubic" else _LINEAR[rank]}", align_corners={corners}'


@emits("GridSample", since=16)
def grid_sample(ctx: Emitter, node: Node) -> None:
    """GridSample-16/20: torch's grid_sample; mode names changed in opset 20."""
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(node.s("mode", "bilinear"), node.s("mode", "bilinear"))
    padding = node.s("padding_mode", "zeros")
    if mode not in ("bilinear", "nearest", "bicubic") or padding not in ("zeros", "border", "reflection"):
        raise node.refuse("an unknown mode")
    options = f'mode="{mode}", padding_mode="{padding}", align_corners={bool(node.i("align_corners"))}'
    ctx.write(node, f"F.grid_sample({ctx(node.inputs[0])}, {ctx(node.inputs[1])}, {options})")


@emits("AffineGrid", since=20)
def affine_grid(ctx: Emitter, node: Node) -> None:
    """AffineGrid-20: torch's affine_grid."""
    corners = bool(node.i("align_corners"))
    ctx.write(node, f"F.affine_grid({ctx(node.inputs[0])}, {ctx.ints(node.inputs[1])}, align_corners={corners})")
