"""Windows of convolutions and pools."""

from __future__ import annotations

from chanc.analysis.context import Context
from chanc.analysis.dims import Size


def padding(context: Context, k: int, count: int, size: Size, kernel: int) -> int:
    """Begin plus end padding of spatial axis k of `count`, `auto_pad` resolved, in positions."""
    mode = context.attribute("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = context.integer_list("pads")
        return pads[k] + pads[k + count] if pads else 0
    stride = (context.integer_list("strides", [1] * count) or [1] * count)[k]
    dilation = (context.integer_list("dilations", [1] * count) or [1] * count)[k]
    span = dilation * (kernel - 1) + 1
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        if isinstance(size, int):
            return max((-(-size // stride) - 1) * stride + span - size, 0)
        return span - 1
    return 0
