"""LSTM, GRU, RNN (ONNX LSTM-7/14/22, GRU-7/14/22, RNN-7/14/22): nn.LSTM and its kin, gates reordered in the binding.

X: [T, N, I], W: [D, gates H, I], R: [D, gates H, H], B: [D, 2 gates H], D directions. Y: [T, D, N, H].
P: [D, 3 H], the peepholes of an LSTM from the cell to the input, output and forget gates, which torch's cells lack.
"""

from __future__ import annotations

import onnx_ir as ir

from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import dtype_kwarg, literal
from chanc.backends.torch.program import Binding

# torch's order of ONNX's gates: LSTM i f g o of i o f c, GRU r z n of z r h
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}


@emits("LSTM", "GRU", "RNN", since=7)
def recurrent(ctx: Emitter, node: Node) -> None:
    """A module where the weights are constants and torch has the cell, else a loop of the prelude."""
    directions = 2 if node.s("direction", "forward") == "bidirectional" else 1
    nonlinearity = _check(ctx, node, directions)
    x = ctx(node.inputs[0])
    if node.i("layout"):
        x = f"{x}.transpose(0, 1)"
    has_module = ctx.const(node.input(1)) is not None and ctx.const(node.input(2)) is not None
    has_module = has_module and (not node.has(3) or ctx.const(node.input(3)) is not None)
    has_module = has_module and not (node.has(7) or node.given("clip") or node.i("input_forget"))
    if has_module and (node.op != "GRU" or node.i("linear_before_reset")):
        _module(ctx, node, x, directions, nonlinearity)
    elif node.op != "RNN":
        _loop(ctx, node, x, directions)
    else:
        raise node.refuse("its weights are computed by the network, or it is clipped")


def _check(ctx: Emitter, node: Node, directions: int) -> str:
    if node.has(4):
        lengths, dims = ctx.frozen(node.input(4)), ctx.shape(node.inputs[0])
        if lengths is None or dims is None or any(int(n) != dims[node.i("layout")] for n in lengths.reshape(-1)):
            raise node.refuse("sequences of different lengths")
    for index in (1, 2, 3):
        weight = ctx.const(node.input(index))
        if weight is not None and len(weight) != directions:
            raise node.refuse(f"input {index} is {list(weight.shape)}, the node has {directions} directions")
    names = [name.lower() for name in node.strings("activations")]
    if node.op == "RNN":
        if len(set(names)) > 1 or (names and names[0] not in ("tanh", "relu")):
            raise node.refuse("its activations")
        return names[0] if names else "tanh"
    if names and names != [name.lower() for name in _DEFAULTS[node.op]] * directions:
        raise node.refuse("activations other than the usual ones")
    return ""


def _module(ctx: Emitter, node: Node, x: str, directions: int, nonlinearity: str) -> None:
    weight = ctx.const(node.input(1))
    hidden = node.i("hidden_size") or (weight.shape[1] // len(_GATES[node.op]) if weight is not None else 0)
    inputs = weight.shape[2] if weight is not None else 0
    args = [str(inputs), str(hidden), *([] if node.has(3) else ["bias=False"])]
    args += ["bidirectional=True"] if directions == 2 else []
    args += [f'nonlinearity="{nonlinearity}"'] if nonlinearity == "relu" else []
    tensors: dict[str, tuple[ir.Value, Binding]] = {}
    for direction in range(directions):
        suffix = "_l0_reverse" if direction else "_l0"
        rows = [gate * hidden + row for gate in _GATES[node.op] for row in range(hidden)]
        below = [row + len(rows) for row in rows]
        tensors[f"weight_ih{suffix}"] = ctx.bind(node, 1, part=direction, rows=tuple(rows))
        tensors[f"weight_hh{suffix}"] = ctx.bind(node, 2, part=direction, rows=tuple(rows))
        if node.has(3):
            tensors[f"bias_ih{suffix}"] = ctx.bind(node, 3, part=direction, rows=tuple(rows))
            tensors[f"bias_hh{suffix}"] = ctx.bind(node, 3, part=direction, rows=tuple(below))
    module = ctx.module(node, f"nn.{node.op}", [*args, *dtype_kwarg(ctx, node, 1)], tensors, kind=node.op.lower())
    reverse = node.s("direction", "forward") == "reverse"
    start = _start(ctx, node)
    call = f"{module}({x}{'.flip(0)' if reverse else ''}{start})"
    y, h, c = (ctx.new_value(None, hint) for hint in ("y", "h", "c"))
    ctx.unpack([y, (h, c)] if node.op == "LSTM" else [y, h], call)
    text = f"\0v{y}\0{'.flip(0)' if reverse else ''}"
    split = f".unflatten(2, (2, {hidden})).transpose(1, 2)" if directions == 2 else ".unsqueeze(1)"
    _outputs(ctx, node, [text + split, f"\0v{h}\0", f"\0v{c}\0"])


def _start(ctx: Emitter, node: Node) -> str:
    if not node.has(5) and not node.has(6):
        return ""
    flip = ".transpose(0, 1).contiguous()" if node.i("layout") else ""
    states = [ctx(node.input(index)) + flip if node.has(index) else "" for index in (5, 6)]
    if node.op != "LSTM":
        return f", {states[0]}"
    zero = f"torch.zeros_like({states[0] or states[1]})"
    return f", ({states[0] or zero}, {states[1] or zero})"


def _outputs(ctx: Emitter, node: Node, texts: list[str]) -> None:
    if node.i("layout"):
        texts = [f"{texts[0]}.permute(2, 0, 1, 3)", *(f"{text}.transpose(0, 1)" for text in texts[1:])]
    for index, text in enumerate(texts[: len(node.outputs)]):
        if node.wants(index):
            ctx.write(node, text, out=index)


def _loop(ctx: Emitter, node: Node, x: str, directions: int) -> None:
    gates = len(_GATES[node.op])
    shape = ctx.shape(node.input(2))
    hidden = node.i("hidden_size") or (shape[2] if shape else None)
    if hidden is None:
        raise node.refuse("its hidden size is not known")
    flip = ".transpose(0, 1)" if node.i("layout") else ""
    zero = f"{x}.new_zeros({directions}, {x}.size(1), {hidden})"
    h0, c0 = (f"{ctx(node.input(index))}{flip}" if node.has(index) else zero for index in (5, 6))
    w, r = ctx(node.inputs[1]), ctx(node.inputs[2])
    b = ctx(node.input(3)) if node.has(3) else f"{x}.new_zeros({directions}, {2 * gates * hidden})"
    clip = f", clip={literal(node.f('clip'))}" if node.given("clip") else ""
    parts = []
    for d in range(directions):
        reverse = str(d == 1 or node.s("direction", "forward") == "reverse")
        wb, rb = f"{b}[{d}, :{gates * hidden}]", f"{b}[{d}, {gates * hidden}:]"
        if node.op == "LSTM":
            more = f", {ctx(node.input(7))}[{d}]" if node.has(7) else ""
            more += clip + (", coupled=True" if node.i("input_forget") else "")
            call = f"{ctx.helper('lstm')}({x}, {w}[{d}], {r}[{d}], {wb} + {rb}, {h0}[{d}], {c0}[{d}], {reverse}{more})"
        else:
            after = bool(node.i("linear_before_reset"))
            call = f"{ctx.helper('gru')}({x}, {w}[{d}], {r}[{d}], {wb}, {rb}, {h0}[{d}], {reverse}, {after}{clip})"
        results = [ctx.new_value(None, hint) for hint in (("y", "h", "c") if node.op == "LSTM" else ("y", "h"))]
        ctx.unpack(list(results), call)
        parts.append(results)
    texts = []
    for place in range(len(parts[0])):
        texts.append(
            f"torch.stack([{', '.join(f'{chr(0)}v{part[place]}{chr(0)}' for part in parts)}], {0 if place else 1})"
        )
    _outputs(ctx, node, texts)
