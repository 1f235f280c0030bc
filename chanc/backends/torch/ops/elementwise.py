"""Elementwise functions of several tensors, with NumPy broadcasting (ONNX opset 7 to 26)."""

from __future__ import annotations

from chanc.backends.torch.emitter import Emitter, Handler, emits
from chanc.backends.torch.node import Node

# operator -> Python's sign
SIGNS = {
    "Add": "+", "Sub": "-", "Mul": "*", "Equal": "==", "Less": "<", "Greater": ">", "LessOrEqual": "<=",
    "GreaterOrEqual": ">=", "BitwiseAnd": "&", "BitwiseOr": "|", "BitwiseXor": "^",
}  # fmt: skip
# operator -> function of two tensors
FUNCTIONS = {"And": "torch.logical_and", "Or": "torch.logical_or", "Xor": "torch.logical_xor"}


def _operands(ctx: Emitter, node: Node) -> tuple[str, str]:
    a, b = node.inputs[0], node.inputs[1]
    if a is None or b is None:
        raise node.refuse("an operand is missing")
    return ctx.operand(a, b), ctx.operand(b, a)


def _signed(sign: str) -> Handler:
    def handler(ctx: Emitter, node: Node) -> None:
        a, b = _operands(ctx, node)
        ctx.write(node, f"{a} {sign} {b}", compound=True)

    return handler


def _function(name: str) -> Handler:
    def handler(ctx: Emitter, node: Node) -> None:
        ctx.write(node, f"{name}({ctx(node.inputs[0])}, {ctx(node.inputs[1])})")

    return handler


for _op, _sign in SIGNS.items():
    emits(_op)(_signed(_sign))
for _op, _name in FUNCTIONS.items():
    emits(_op)(_function(_name))


@emits("Div")
def div(ctx: Emitter, node: Node) -> None:
    """Div-7..14: integers are divided towards zero."""
    a, b = _operands(ctx, node)
    if ctx.is_int(node.inputs[0]):
        ctx.write(node, f'torch.div({a}, {b}, rounding_mode="trunc")')
    else:
        ctx.write(node, f"{a} / {b}", compound=True)


@emits("Pow")
def power(ctx: Emitter, node: Node) -> None:
    """Pow-7..15: the result has the base's dtype."""
    a, b = _operands(ctx, node)
    if "\0" not in a:
        a = ctx(node.inputs[0])
    text = f"{a} ** {b}"
    if ("\0" in b and ctx.dtype(node.inputs[0]) != ctx.dtype(node.inputs[1])) or ctx.is_int(node.inputs[0]):
        ctx.write(node, f"({text}).to(torch.{ctx.dtype(node.inputs[0])})")
    else:
        ctx.write(node, text, compound=True)


@emits("Mod")
def mod(ctx: Emitter, node: Node) -> None:
    """Mod-10: the divisor's sign, as torch.remainder; with fmod=1 the dividend's, as torch.fmod."""
    a, b = ctx(node.inputs[0]), ctx.operand(node.inputs[1], node.inputs[0])  # type: ignore[arg-type]
    ctx.write(node, f"torch.{'fmod' if node.i('fmod') else 'remainder'}({a}, {b})")


def _variadic(function: str) -> Handler:
    def handler(ctx: Emitter, node: Node) -> None:
        parts = [ctx(value) for value in node.inputs]
        text = parts[0]
        for part in parts[1:]:
            text = f"{function}({text}, {part})"
        ctx.write(node, text)

    return handler


emits("Max")(_variadic("torch.maximum"))
emits("Min")(_variadic("torch.minimum"))


@emits("Sum")
def total(ctx: Emitter, node: Node) -> None:
    """Sum-8: the sum of all inputs."""
    ctx.write(node, " + ".join(ctx(value) for value in node.inputs), compound=len(node.inputs) > 1)


@emits("Mean")
def mean(ctx: Emitter, node: Node) -> None:
    """Mean-8: the elementwise mean of all inputs."""
    ctx.write(node, f"({' + '.join(ctx(value) for value in node.inputs)}) / {len(node.inputs)}", compound=True)


@emits("Where")
def where(ctx: Emitter, node: Node) -> None:
    """Where-9: condition ? X : Y."""
    condition, a, b = node.inputs
    if a is None or b is None:
        raise node.refuse("an operand is missing")
    left, right = ctx.operand(a, condition), ctx.operand(b, condition)
    if "\0" not in left and "\0" not in right:
        left = ctx(a)
    ctx.write(node, f"torch.where({ctx(condition)}, {left}, {right})")


@emits("BitShift")
def bit_shift(ctx: Emitter, node: Node) -> None:
    """BitShift-11, to the LEFT or RIGHT; unsigned inputs are widened, as torch shifts only signed ones and uint8."""
    a, b = ctx(node.inputs[0]), ctx(node.inputs[1])
    sign = "<<" if node.s("direction") == "LEFT" else ">>"
    dtype = ctx.dtype(node.inputs[0])
    if dtype == "uint8":
        ctx.write(node, f"{a} {sign} {b}", compound=True)
    else:
        ctx.write(node, f"({a}.to(torch.int64) {sign} {b}.to(torch.int64)).to(torch.{dtype})")
