"""DFT-17/20 and STFT-17: torch.fft, with complex numbers as pairs on the last axis, as ONNX has them."""

from __future__ import annotations

import onnx_ir as ir

from chanc.backends.torch import symbols
from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import table


@emits("DFT", since=17)
def dft_17(ctx: Emitter, node: Node) -> None:
    """DFT-17: the axis is an attribute, 1 by default."""
    _dft(ctx, node, node.i("axis", 1))


@emits("DFT", since=20)
def dft(ctx: Emitter, node: Node) -> None:
    """DFT-20: the axis is an input, the last but one by default."""
    axis = ctx.frozen(node.input(2)) if node.has(2) else None
    if node.has(2) and axis is None:
        raise node.refuse("its axis is computed by the network")
    _dft(ctx, node, -2 if axis is None else int(axis.reshape(-1)[0]))


def _dft(ctx: Emitter, node: Node, axis: int) -> None:
    """X: [..., n, ..., 1 or 2]; the result has 2 on its last axis."""
    if node.i("inverse") and node.i("onesided"):
        raise node.refuse("the inverse of half a spectrum")
    axis %= ctx.need_rank(node)
    length = _integer(ctx, node, 1) if node.has(1) else "None"
    function = "ifft" if node.i("inverse") else "fft"
    if node.i("onesided"):
        if _is_complex(ctx, node):
            raise node.refuse("half the spectrum of complex numbers")
        function = "rfft"
    text = f"torch.fft.{function}({_signal(ctx, node)}, {length}, {axis})"
    # The inverse of real numbers is a conjugate view, which has no pairs of its own.
    ctx.write(node, f"torch.view_as_real({text}{'.resolve_conj()' if node.i('inverse') else ''})")


@emits("STFT", since=17)
def stft(ctx: Emitter, node: Node) -> None:
    """X: [N, length, 1 or 2], a step, a window [n] or its length n -> [N, frames, n or n / 2 + 1, 2]."""
    window = ctx.shape(node.input(2))
    if node.has(3):
        length = _integer(ctx, node, 3)
    elif window is not None and window[0] is not None:
        length = str(window[0])
    else:
        raise node.refuse("the length of its frames is not known")
    if node.has(2) and window is not None and str(window[0]) != length:
        raise node.refuse("a window that is not as long as a frame")
    half = bool(node.i("onesided", 1))
    if half and _is_complex(ctx, node):
        raise node.refuse("half the spectrum of complex numbers")
    frames = f"{_signal(ctx, node)}.unfold(1, {length}, {_integer(ctx, node, 1)})"
    frames = f"{frames} * {table(ctx, node.input(2))}" if node.has(2) else frames
    ctx.write(node, f"torch.view_as_real(torch.fft.{'rfft' if half else 'fft'}({frames}))")


def _is_complex(ctx: Emitter, node: Node) -> bool:
    shape = ctx.shape(node.inputs[0])
    if shape is None or shape[-1] is None:
        raise node.refuse("whether its input is complex is not known")
    return shape[-1] == 2


def _signal(ctx: Emitter, node: Node) -> str:
    x = ctx(node.inputs[0])
    return f"torch.view_as_complex({x}.contiguous())" if _is_complex(ctx, node) else f"{x}.squeeze(-1)"


def _integer(ctx: Emitter, node: Node, index: int) -> str:
    value: ir.Value | None = node.input(index)
    host = ctx.host(value)
    return f"int({ctx(value)})" if host is None else symbols.text(host.reshape(-1)[0])
