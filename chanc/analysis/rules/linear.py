"""Products with a contracted axis (ONNX MatMul, Gemm, Einsum; onnxruntime's FusedMatMul, FusedGemm).

All are one: letters name the axes of two operands and the result. A letter that both operands have and the result
lacks is contracted, so its labels are one channel; a letter of both and the result is a batch axis (attention heads).
"""

from __future__ import annotations

import numpy as np

from chanc.analysis.layout import Layout, Opaque, axis_labels, drop_axes, insert_axes, merge, transpose
from chanc.analysis.rules import rule
from chanc.analysis.rules.elementwise import addend
from chanc.analysis.sweep import Sweep

Letters = list[int]


@rule("MatMul")
def matmul(sweep: Sweep) -> None:
    """MatMul: [..., M, K] x [..., K, N] -> [..., M, N]; a vector operand is a matrix with one row or column."""
    _matmul(sweep, False, False)


@rule("FusedMatMul", "TransposeMatMul", domain="com.microsoft")
def fused_matmul(sweep: Sweep) -> None:
    """FusedMatMul: alpha * A' B', each with its last two axes turned where `transA`, `transB` say so."""
    if sweep.integer("transBatchA", 0) or sweep.integer("transBatchB", 0):
        raise Opaque("its batch axes are turned")
    _matmul(sweep, bool(sweep.integer("transA", 0)), bool(sweep.integer("transB", 0)))


def _matmul(sweep: Sweep, turned_a: bool, turned_b: bool) -> None:
    left, right = _rank(sweep, 0), _rank(sweep, 1)
    if (turned_a and left < 2) or (turned_b and right < 2):
        raise Opaque("a vector is turned")
    row, inner, column = -1, -2, -3
    batch = list(range(max(left, right, 2) - 2))
    a = [inner] if left == 1 else [*batch[len(batch) - (left - 2) :], row, inner]
    b = [inner] if right == 1 else [*batch[len(batch) - (right - 2) :], inner, column]
    result = [k for k in [*batch, row, column] if k in a or k in b]
    a = [*a[:-2], a[-1], a[-2]] if turned_a else a
    b = [*b[:-2], b[-1], b[-2]] if turned_b else b
    sweep.output(contract(sweep, (0, a), (1, b), result))


@rule("FusedGemm", domain="com.microsoft")
@rule("Gemm")
def gemm(sweep: Sweep) -> None:
    """Gemm: alpha * A' B' + beta * C with A' [M, K], B' [K, N] C broadcast to [M, N]; FusedGemm activates it."""
    a = [2, 0] if sweep.integer("transA", 0) else [0, 2]
    b = [1, 2] if sweep.integer("transB", 0) else [2, 1]
    result = contract(sweep, (0, a), (1, b), [0, 1])
    if sweep.value(2) is not None:
        result = sweep.together([result, addend(sweep, 2, result)])
    sweep.output(result)


@rule("Einsum")
def einsum(sweep: Sweep) -> None:
    """Einsum of one or two operands without a letter twice inside one; `...` stands for axes aligned right."""
    equation = str(sweep.attribute("equation")).replace(" ", "")
    terms, arrow, result = equation.partition("->")
    operands = terms.split(",")
    if not arrow:
        once = sorted(c for c in set(terms) - set(",.") if terms.count(c) == 1)
        result = ("..." if "..." in terms else "") + "".join(once)
    letters = [_letters(term, _rank(sweep, k)) for k, term in enumerate(operands)]
    out = _letters(result, max(len(result.replace("...", "")) + sum(k < 0 for k in term) for term in letters))
    if any(len(set(term)) != len(term) for term in letters):
        raise Opaque(f"the equation {equation} is not understood")
    if len(operands) == 1:
        layout = _reduced(sweep, sweep.input(0), letters[0], out, [])
        sweep.output(_arranged(layout, [k for k in letters[0] if k in out], out))
    elif len(operands) == 2:
        sweep.output(contract(sweep, (0, letters[0]), (1, letters[1]), out))
    else:
        raise Opaque("an Einsum of more than two operands")


def _letters(term: str, rank: int) -> Letters:
    """A number for each axis of a term: the letters' codes, and -1, -2, ... from the right for those under `...`."""
    before, dots, after = term.partition("...")
    hidden = rank - len(before) - len(after) if dots else 0
    return [*map(ord, before), *range(-hidden, 0), *map(ord, after)]


def contract(sweep: Sweep, left: tuple[int, Letters], right: tuple[int, Letters], out: Letters) -> Layout:
    """The result of a product of two inputs of the current node, (index, letters) each."""
    (i, a), (j, b) = left, right
    shared = [k for k in a if k in b]
    # Of two weights only one is divided among the copies of a channel that is summed over.
    once = sweep.is_weight(i) and sweep.is_weight(j)
    one = _operand(sweep, i, a, b, out, summed=not once)
    two = _operand(sweep, j, b, a, out)
    if len(a) != one.rank or len(b) != two.rank:
        raise Opaque("its operands have other ranks than the product takes")
    heads = [k for k in shared if k in out]
    for letter in (k for k in shared if k not in out):
        one, two = _contracted(sweep, (one, a, i), (two, b, j), letter, heads)
    one = _reduced(sweep, one, a, out, shared)
    two = _reduced(sweep, two, b, out, shared)
    return sweep.together(
        [_arranged(one, [k for k in a if k in out], out), _arranged(two, [k for k in b if k in out], out)]
    )


def _operand(sweep: Sweep, index: int, mine: Letters, other: Letters, out: Letters, summed: bool = True) -> Layout:
    """An operand; a weight has labels on its own axes and the contracted ones, on batch axes where it has several.

    `summed` says whether it consumes the channels that are contracted.
    """
    if not sweep.is_weight(index):
        return sweep.input(index)
    if not sweep.is_parameter(index):
        layout = sweep.input(index)
    else:
        value = sweep.value(index)
        assert value is not None and value.const_value is not None
        shape = value.const_value.shape
        if len(shape) != len(mine):
            raise Opaque("its weight has another rank than the product takes")
        axes = [k for k, letter in enumerate(mine) if not (letter in other and letter in out) or shape[k] != 1]
        layout = sweep.parameter(index, axes)
    for axis, letter in enumerate(mine):
        if letter not in out:
            if summed or letter not in other:
                sweep.mark(layout, axis, "consumer")
        elif letter not in other:
            sweep.mark(layout, axis, "producer")
    return layout


def _contracted(
    sweep: Sweep, left: tuple[Layout, Letters, int], right: tuple[Layout, Letters, int], letter: int, heads: Letters
) -> tuple[Layout, Layout]:
    """Unite the contracted axis of both operands; whole rows go where both vary along a common batch axis as well."""
    assert sweep.node is not None
    (one, a, i), (two, b, j) = left, right
    p, q = a.index(letter), b.index(letter)
    common = {k for k in heads if _joint(one, a, letter, k) or _joint(two, b, letter, k)}
    whole = any(_joint(one, a, letter, k) and _joint(two, b, letter, k) for k in common)
    if whole:
        _aligned(sweep, (one, a), (two, b), letter, common)
    if whole or not one.on(p) or not two.on(q) or sweep.modes.get(sweep.node) == "whole heads":
        sweep.modes[sweep.node] = "whole heads"
        reasons = [f"it is multiplied with {x.why or 'values that are not channels'}" for x in (two, one)]
        return sweep.fix(one, p, reasons[0]), sweep.fix(two, q, reasons[1])
    x, y = sweep.project(one, p), sweep.project(two, q)
    assert x is not None and y is not None
    if x.size != y.size:
        raise Opaque("the contracted axes have other sizes")
    sweep.same(x, y)
    if sweep.is_weight(i) == sweep.is_weight(j) and (not sweep.is_weight(i) or np.intersect1d(x, y).size):
        sweep.unscaled.append(x)
    return _cleared(one, p), _cleared(two, q)


def _joint(layout: Layout, letters: Letters, one: int, two: int) -> bool:
    p, q = letters.index(one), letters.index(two)
    return any(field.on(p) and field.on(q) for field in layout.fields)


def _aligned(
    sweep: Sweep, left: tuple[Layout, Letters], right: tuple[Layout, Letters], letter: int, heads: set[int]
) -> None:
    """Channel d of a head meets channel d of the same head: note it, for with one head left they are one channel."""
    spread = []
    for layout, letters in (left, right):
        for field in layout.fields:
            named = [letters[axis] for axis, _ in field.slots]
            if letter in named and heads & set(named) and len(set(named)) == len(named):
                order = sorted(range(len(named)), key=lambda k: named[k])
                spread.append((sorted(named), field.labels.transpose(order)))
                break
    if len(spread) == 2 and spread[0][0] == spread[1][0] and spread[0][1].shape == spread[1][1].shape:
        sweep.same(spread[0][1], spread[1][1])


def _cleared(layout: Layout, axis: int) -> Layout:
    return Layout(layout.axes, tuple(f for f in layout.fields if not f.on(axis)), layout.why)


def _reduced(sweep: Sweep, layout: Layout, mine: Letters, out: Letters, shared: Letters) -> Layout:
    """Without the axes whose letter is not in the result; a sum over channels that are not contracted is inexact."""
    gone = [k for k, letter in enumerate(mine) if letter not in out]
    for axis in gone:
        if mine[axis] not in shared:
            for field in merge(layout, axis).on(axis):
                sweep.mark_inexact(axis_labels(field, axis), "a sum over channels")
        layout = _cleared(layout, axis)
    return drop_axes(layout, gone)


def _arranged(layout: Layout, mine: Letters, out: Letters) -> Layout:
    """The axes in the order of the result, size 1 where the operand has none."""
    order = [mine.index(letter) for letter in out if letter in mine]
    missing = [k for k, letter in enumerate(out) if letter not in mine]
    return insert_axes(transpose(layout, order), missing)


def _rank(sweep: Sweep, index: int) -> int:
    value = sweep.value(index)
    if value is not None and sweep.is_parameter(index) and value.const_value is not None:
        return len(value.const_value.shape)
    return sweep.input(index).rank
