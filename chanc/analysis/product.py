"""Products of two operands with a contracted axis.

Letters name the axes of the operands and the result. A letter that both operands have and the result lacks is
contracted, so its labels are one channel; a letter of both and the result is a batch axis (attention heads).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chanc.analysis.broadcast import bare
from chanc.analysis.context import Context
from chanc.analysis.layout import Field, Layout, Opaque, axis_labels, drop_axes, insert_axes, merge, transpose, without
from chanc.ir.nodes import called

Letters = list[int]
"""A number for each axis of an operand."""
FIXED = "its size stays"
"""How a contracted axis is read where it keeps its size; any other is free."""


def linear(context: Context, letter: int, inner: int) -> Layout | None:
    """What `contract` gives for a linear layer: x [..., K] with channels on its last axis alone, and a weight.

    Most products are one. The weight is [K, N], or [N, K] where `inner` is 1; K is that letter. None for any other
    product.
    """
    if context.is_weight(0) or not context.is_parameter(1):
        return None
    x, constant, last = context.input(0), context.initializer(1), context.rank(0) - 1
    if last < 1 or len(x.fields) != 1 or x.fields[0].axes != (last,) or len(constant.shape) != 2:
        return None
    if not constant.channels or context.findings.modes.setdefault((context.node, letter), "free") == FIXED:
        return None
    weight = [field.labels for field in context.parameter(1, (0, 1)).fields]
    for axis, labels in enumerate(weight):
        context.mark_labels(labels, "consumer" if axis == inner else "producer")
    mine, made = context.project(x, last), weight[1 - inner]
    if mine is None or mine.size != weight[inner].size:
        raise Opaque("the contracted axes have other sizes")
    context.same(mine, weight[inner])
    why = x.why if bare(without(x, last)) else ""
    return Layout((*x.axes[:last], (made.size,)), (Field(((last, 0),), made),), why)


def contract(context: Context, left: tuple[int, Letters], right: tuple[int, Letters], out: Letters) -> Layout:
    """The result of a product of two inputs of the current node, (index, letters) each."""
    (i, a), (j, b) = left, right
    shared = [k for k in a if k in b]
    # Of two weights only one is divided among the copies of a channel that is summed over; what their product makes or
    # takes is told by what reads it.
    once = context.is_weight(i) and context.is_weight(j)
    one = _operand(context, i, a, b, out, _partitions(context, (i, a), (j, b), out), summed=not once, makes=not once)
    two = _operand(context, j, b, a, out, _partitions(context, (j, b), (i, a), out), makes=not once)
    if len(a) != one.rank or len(b) != two.rank:
        raise Opaque("its operands have other ranks than the product takes")
    heads = [k for k in shared if k in out]
    for letter in (k for k in shared if k not in out):
        stays = _stays(context, (one, a, i), (two, b, j), letter, [k for k in out if k not in shared])
        context.findings.modes.setdefault((context.node, letter), FIXED if stays else "free")
        one, two = _contracted(context, (one, a, i), (two, b, j), letter, heads)
    one = reduced(context, one, a, out, shared)
    two = reduced(context, two, b, out, shared)
    return context.together(
        [arranged(one, [k for k in a if k in out], out), arranged(two, [k for k in b if k in out], out)]
    )


def _partitions(context: Context, weight: tuple[int, Letters], data: tuple[int, Letters], out: Letters) -> Letters:
    """Batch axes of a weight that keep their size: along a longer axis beside them whole columns of the data go.

    So do the partitions of a graph (ST-GCN) that are summed after the product.
    """
    (i, a), (j, b) = weight, data
    if not context.is_parameter(i) or context.is_weight(j):
        return []
    shape = context.initializer(i).shape
    lasting = [k for k in out if k not in a or shape[a.index(k)] == 1]
    held = []
    for letter in {k for k in a if k in b and k in out and k not in lasting}:
        longer = _wider_beside(context.input(j), b, letter, lasting)
        if context.findings.modes.setdefault((context.node, letter), FIXED if longer else "free") == FIXED:
            held.append(letter)
    return held


def _wider_beside(layout: Layout, letters: Letters, letter: int, lasting: Letters) -> bool:
    """Whether channels lie along an axis and along a longer one, which has one of the lasting letters."""
    axis = letters.index(letter)
    for field in layout.on(axis):
        sizes = {k: n for (k, _), n in zip(field.slots, field.labels.shape, strict=True)}
        if max((n for k, n in sizes.items() if letters[k] in lasting), default=0) > sizes[axis]:
            return True
    return False


def _operand(
    context: Context, index: int, mine: Letters, other: Letters, out: Letters, held: Sequence[int] = (), *,
    summed: bool = True, makes: bool,
) -> Layout:  # fmt: skip
    """An operand; a weight has labels on its own axes and the contracted ones, on batch axes where it has several.

    It has none on those that are `held`.

    `summed` says whether it consumes the channels that are contracted, or makes them for the other operand, `makes`
    whether it makes those of the result.
    """
    if not context.is_weight(index):
        return context.input(index)
    if not context.is_parameter(index):
        layout = context.input(index)
    else:
        shape = context.initializer(index).shape
        if len(shape) != len(mine):
            raise Opaque("its weight has another rank than the product takes")
        axes = [
            k for k, letter in enumerate(mine)
            if letter not in held and (not (letter in other and letter in out) or shape[k] != 1)
        ]  # fmt: skip
        layout = context.parameter(index, axes)
    for axis, letter in enumerate(mine):
        if letter not in out:
            # Where whole heads go their columns are summed, not they: it isn't shared out among copies of a head.
            heads = any(_joint(layout, mine, letter, k) for k in mine if k in other and k in out)
            if (summed or letter not in other) and not heads:
                context.mark(layout, axis, "consumer")
            elif not heads:
                context.mark(layout, axis, "producer")
        elif letter not in other and makes:
            context.mark(layout, axis, "producer")
    return layout


def _contracted(
    context: Context, left: tuple[Layout, Letters, int], right: tuple[Layout, Letters, int], letter: int, heads: Letters
) -> tuple[Layout, Layout]:
    """Unite the contracted axis of both operands; whole rows go where both vary along a common batch axis as well."""
    (one, a, i), (two, b, j) = left, right
    modes, key = context.findings.modes, (context.node, letter)
    p, q = a.index(letter), b.index(letter)
    common = {k for k in heads if _joint(one, a, letter, k) or _joint(two, b, letter, k)}
    whole = any(_joint(one, a, letter, k) and _joint(two, b, letter, k) for k in common)
    if whole:
        _aligned(context, (one, a), (two, b), letter, common)
        _whole_heads(context, (one, a), (two, b), letter, common)
    if whole or not one.on(p) or not two.on(q) or modes.get(key) == FIXED:
        modes[key] = FIXED
        reasons = [f"it is multiplied with {x.why or 'values that are not channels'}" for x in (two, one)]
        return context.fix(one, p, reasons[0]), context.fix(two, q, reasons[1])
    x, y = context.project(one, p), context.project(two, q)
    assert x is not None and y is not None
    if x.size != y.size:
        raise Opaque("the contracted axes have other sizes")
    context.same(x, y)
    if context.is_weight(i) == context.is_weight(j) and (not context.is_weight(i) or np.intersect1d(x, y).size):
        made = "weights" if context.is_weight(i) else "values that the model computes"
        reason = f"it is summed over in a product of two {made} ({called(context.node)})"
        context.mark_unscaled(x, reason)
        if not context.is_weight(i):
            context.sums_up(x, (i, j), f"{reason}, neither of them zero where it goes", strict=False)
    return _cleared(one, p), _cleared(two, q)


def _stays(
    context: Context,
    left: tuple[Layout, Letters, int],
    right: tuple[Layout, Letters, int],
    letter: int,
    lasting: Letters,
) -> bool:
    """Whether a weight sums over k of an activation's (k, c), and c, which the result keeps, has more channels.

    Either whole rows k go or whole columns c: partitions of a graph (ST-GCN) stay, and c is what moves.
    """
    return any(
        context.is_weight(index) and _wider_beside(layout, mine, letter, lasting)
        for (layout, mine, _), (_, _, index) in ((left, right), (right, left))
    )


def _joint(layout: Layout, letters: Letters, one: int, two: int) -> bool:
    p, q = letters.index(one), letters.index(two)
    return any(field.on(p) and field.on(q) for field in layout.fields if len(field.slots) > 1 or p == q)


def _aligned(
    context: Context, left: tuple[Layout, Letters], right: tuple[Layout, Letters], letter: int, heads: set[int]
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
        context.same(spread[0][1], spread[1][1])


def _whole_heads(
    context: Context, left: tuple[Layout, Letters], right: tuple[Layout, Letters], letter: int, heads: set[int]
) -> None:
    """Note the channels of both operands of which whole heads go."""
    for layout, letters in (left, right):
        for field in layout.fields:
            if field.on(letters.index(letter)) and any(field.on(letters.index(k)) for k in heads):
                context.mark_heads(field.labels)


def _cleared(layout: Layout, axis: int) -> Layout:
    if not layout.on(axis):
        return layout
    return Layout(layout.axes, tuple([f for f in layout.fields if not f.on(axis)]), layout.why)


def reduced(context: Context, layout: Layout, mine: Letters, out: Letters, shared: Letters) -> Layout:
    """Without the axes whose letter is not in the result; a sum over channels that are not contracted is inexact."""
    gone = [k for k, letter in enumerate(mine) if letter not in out]
    for axis in gone:
        if mine[axis] not in shared:
            for field in merge(layout, axis).on(axis):
                labels = axis_labels(field, axis)
                context.mark_inexact(labels, "a sum over channels")
                context.mark_unscaled(labels, "a sum over channels")
        layout = _cleared(layout, axis)
    return drop_axes(layout, gone)


def arranged(layout: Layout, mine: Letters, out: Letters) -> Layout:
    """The axes in the order of the result, size 1 where the operand has none."""
    order = [mine.index(letter) for letter in out if letter in mine]
    missing = [k for k, letter in enumerate(out) if letter not in mine]
    turned = layout if order == list(range(len(mine))) else transpose(layout, order)
    return insert_axes(turned, missing)
