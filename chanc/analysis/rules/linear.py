"""Products with a contracted axis (ONNX MatMul, Gemm, Einsum; onnxruntime's FusedMatMul, FusedGemm).

All are one product of two operands whose axes have letters: see `chanc.analysis.product`.
"""

from __future__ import annotations

from chanc.analysis.context import Context
from chanc.analysis.layout import Opaque
from chanc.analysis.operands import addend, adopted
from chanc.analysis.product import Letters, arranged, contract, linear, reduced
from chanc.analysis.rules import rule

INNER = -2
"""The letter that the product of two matrices sums over."""


@rule("MatMul")
def matmul(context: Context) -> None:
    """MatMul: [..., M, K] x [..., K, N] -> [..., M, N]; a vector operand is a matrix with one row or column."""
    found = linear(context, INNER, 0)
    if found is None:
        _matmul(context, False, False)
    else:
        context.output(found)


@rule("FusedMatMul", "TransposeMatMul", domain="com.microsoft")
def fused_matmul(context: Context) -> None:
    """FusedMatMul: alpha * A' B', each with its last two axes turned where `transA`, `transB` say so."""
    if context.integer("transBatchA", 0) or context.integer("transBatchB", 0):
        raise Opaque("its batch axes are turned")
    _matmul(context, bool(context.integer("transA", 0)), bool(context.integer("transB", 0)))


def _matmul(context: Context, turned_a: bool, turned_b: bool) -> None:
    left, right = context.rank(0), context.rank(1)
    if (turned_a and left < 2) or (turned_b and right < 2):
        raise Opaque("a vector is turned")
    row, inner, column = -1, INNER, -3
    batch = list(range(max(left, right, 2) - 2))
    a = [inner] if left == 1 else [*batch[len(batch) - (left - 2) :], row, inner]
    b = [inner] if right == 1 else [*batch[len(batch) - (right - 2) :], inner, column]
    result = [k for k in [*batch, row, column] if k in a or k in b]
    a = [*a[:-2], a[-1], a[-2]] if turned_a else a
    b = [*b[:-2], b[-1], b[-2]] if turned_b else b
    context.output(contract(context, (0, a), (1, b), result))


@rule("FusedGemm", domain="com.microsoft")
@rule("Gemm")
def gemm(context: Context) -> None:
    """Gemm: alpha * A' B' + beta * C with A' [M, K], B' [K, N] C broadcast to [M, N]; FusedGemm activates it."""
    a = [2, 0] if context.integer("transA", 0) else [0, 2]
    b = [1, 2] if context.integer("transB", 0) else [2, 1]
    result = None if context.integer("transA", 0) else linear(context, 2, b.index(2))
    if result is None:
        result = contract(context, (0, a), (1, b), [0, 1])
    if context.value(2) is not None and not (context.is_parameter(2) and adopted(context, 2, result)):
        result = context.together([result, addend(context, 2, result)])
    context.output(result)


@rule("Einsum")
def einsum(context: Context) -> None:
    """Einsum of one or two operands without a letter twice inside one; `...` stands for axes aligned right."""
    equation = str(context.attribute("equation")).replace(" ", "")
    terms, arrow, result = equation.partition("->")
    operands = terms.split(",")
    if not arrow:
        once = sorted(c for c in set(terms) - set(",.") if terms.count(c) == 1)
        result = ("..." if "..." in terms else "") + "".join(once)
    letters = [_letters(term, context.rank(k)) for k, term in enumerate(operands)]
    out = _letters(result, max(len(result.replace("...", "")) + sum(k < 0 for k in term) for term in letters))
    if any(len(set(term)) != len(term) for term in letters):
        raise Opaque(f"the equation {equation} is not understood")
    if len(operands) == 1:
        layout = reduced(context, context.input(0), letters[0], out, [])
        context.output(arranged(layout, [k for k in letters[0] if k in out], out))
    elif len(operands) == 2:
        context.output(contract(context, (0, letters[0]), (1, letters[1]), out))
    else:
        raise Opaque("an Einsum of more than two operands")


def _letters(term: str, rank: int) -> Letters:
    """A number for each axis of a term: the letters' codes, and -1, -2, ... from the right for those under `...`."""
    before, dots, after = term.partition("...")
    hidden = rank - len(before) - len(after) if dots else 0
    return [*map(ord, before), *range(-hidden, 0), *map(ord, after)]
