"""Attention as one operator (ONNX Attention since 23; onnxruntime's) and RotaryEmbedding: whole heads go.

Q: [batch, q heads, L, d], K: [batch, kv heads, S, d], V: [batch, kv heads, S, e], Y: [batch, q heads, L, e], or all of
them as [batch, positions, heads * d]. Query head i reads key head i // (q heads / kv heads), so a key head goes with
its query heads. With a single key head the columns d and e go instead.
"""

from __future__ import annotations

import numpy as np

from chanc.analysis import dims
from chanc.analysis.dims import Dim
from chanc.analysis.layout import Layout, Opaque, drop_axes, insert_axes, take, transpose, without
from chanc.analysis.rules import rule
from chanc.analysis.rules.elementwise import addend
from chanc.analysis.rules.linear import contract
from chanc.analysis.rules.select import joined, squared
from chanc.analysis.rules.vision import fixed, unlabelled
from chanc.analysis.sweep import Sweep

HEADS, POSITIONS, COLUMNS = 1, 2, 3


@rule("Attention", since=23)
def attention(sweep: Sweep) -> None:
    """Attention; past keys and values [batch, kv heads, P, d or e] stand before those of now."""
    assert sweep.node is not None
    flat = sweep.input(0).rank == 3
    counts = [sweep.integer(name, 0) for name in ("q_num_heads", "kv_num_heads", "kv_num_heads")]
    query, key, value = (_by_head(sweep, index, count if flat else 0) for index, count in enumerate(counts))
    if sweep.value(6) is not None:
        query = sweep.fix(query, 0, "each has a length of its own")
    attend(sweep, (query, key, value), flat, mask=3, past=4)


@rule("MultiHeadAttention", domain="com.microsoft")
def multi_head_attention(sweep: Sweep) -> None:
    """onnxruntime's MultiHeadAttention: one vector of biases for queries, keys and values, all [batch, L, channels]."""
    heads = sweep.integer("num_heads", 1)
    parts = [sweep.input(index) for index in range(3)]
    if any(part.rank != 3 for part in parts):
        raise Opaque("its queries, keys and values are packed")
    unlabelled(sweep, 4, "its values are a mask")
    if sweep.value(3) is not None:
        parts = _biased(sweep, parts)
    query, key, value = (_split(sweep, part, heads) for part in parts)
    attend(sweep, (query, key, value), True, mask=5, past=6)


@rule("Attention", domain="com.microsoft")
def fused_attention(sweep: Sweep) -> None:
    """onnxruntime's Attention: queries, keys and values are one product of X [batch, L, in] and a weight."""
    if sweep.value(4) is not None:
        raise Opaque("its past keys and values are packed")
    heads = sweep.integer("num_heads", 1)
    unlabelled(sweep, 3, "its values are a mask")
    made = contract(sweep, (0, [0, 1, 2]), (1, [2, 3]), [0, 1, 3])
    if sweep.value(2) is not None:
        made = sweep.together([made, addend(sweep, 2, made)])
    total = made.size(2)
    sizes = sweep.integer_list("qkv_hidden_sizes") or ([total // 3] * 3 if isinstance(total, int) else [])
    if isinstance(total, Dim) or len(sizes) != 3 or sum(sizes) != total:
        raise Opaque("its numbers of queries, keys and values are not understood")
    query, key, value = (_split(sweep, part, heads) for part in _parts(sweep, made, 2, sizes))
    attend(sweep, (query, key, value), True, mask=5, past=-1)


def _parts(sweep: Sweep, layout: Layout, axis: int, sizes: list[int]) -> list[Layout]:
    """An axis cut into parts of these sizes."""
    if not layout.on(axis):
        return [without(layout, axis, size) for size in sizes]
    ends = np.cumsum(sizes)
    found = [take(layout, axis, np.arange(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    for part in found:
        sweep.segment(part, axis)
    return found


def _biased(sweep: Sweep, parts: list[Layout]) -> list[Layout]:
    sizes = [part.size(2) for part in parts]
    if any(isinstance(size, Dim) for size in sizes):
        raise Opaque("its biases don't fit")
    biases = _parts(sweep, sweep.input(3), 0, [int(str(size)) for size in sizes])
    return [sweep.together([part, bias]) for part, bias in zip(parts, biases, strict=True)]


def attend(sweep: Sweep, operands: tuple[Layout, Layout, Layout], flat: bool, *, mask: int, past: int) -> None:
    """Queries, keys and values [batch, heads, positions, columns]; `mask` and `past` are the indices of inputs.

    Sets the outputs: the result, with three axes where `flat`, keys and values with the past ones, and the scores.
    """
    assert sweep.node is not None
    query, key, value = operands
    heads, shared = query.size(HEADS), key.size(HEADS)
    if isinstance(heads, Dim) or isinstance(shared, Dim) or heads % shared:
        raise Opaque("its numbers of heads are not understood")
    whole = sweep.mode("heads" if shared > 1 else "columns") == "heads"
    key, value = (_after(sweep, past + k, now, HEADS if whole else COLUMNS) for k, now in enumerate((key, value)))
    if whole:
        query, key, value = (sweep.fix(x, COLUMNS, "whole heads go") for x in (query, key, value))
    else:
        query, key = _contracted(sweep, query, key)
    scores = _scores(sweep, query, key, heads, shared, mask)
    result = _product(sweep, scores, value, heads)
    batch, _, length, size = result.sizes
    turned = transpose(result, [0, 2, 1, 3])
    sweep.output(sweep.reshaped(turned, [batch, length, dims.multiply(heads, size)]) if flat else result)
    for index, layout in ((1, key), (2, value), (3, scores)):
        if index < len(sweep.node.outputs):
            sweep.output(layout, index)


def _by_head(sweep: Sweep, index: int, heads: int) -> Layout:
    """An input as [batch, heads, positions, columns], positions without channels; `heads` splits the last of 3 axes."""
    return _split(sweep, sweep.input(index), heads)


def _split(sweep: Sweep, layout: Layout, heads: int) -> Layout:
    if layout.rank == 3:
        batch, length, width = layout.sizes
        size = dims.divide(width, heads) if heads else None
        if size is None:
            raise Opaque("its heads don't divide its channels")
        layout = transpose(sweep.reshaped(layout, [batch, length, heads, size]), [0, 2, 1, 3])
    if layout.rank != 4:
        raise Opaque("its input is neither [batch, positions, channels] nor [batch, heads, positions, columns]")
    return sweep.fix(layout, POSITIONS, "positions attend to one another")


def _after(sweep: Sweep, index: int, now: Layout, moving: int) -> Layout:
    """Keys or values with the past ones before them; constant ones have labels on the axis that may change."""
    if index < 3 or sweep.value(index) is None:
        return now
    past = sweep.parameter(index, (moving,)) if sweep.is_parameter(index) else sweep.input(index)
    past = sweep.fix(past, POSITIONS, "positions attend to one another")
    if past.rank != 4:
        raise Opaque("its past keys or values are not [batch, heads, positions, columns]")
    return joined(sweep, squared(sweep, [past, now], POSITIONS), POSITIONS)


def _contracted(sweep: Sweep, query: Layout, key: Layout) -> tuple[Layout, Layout]:
    """Column d of every query head meets column d of the one key head."""
    if not query.on(COLUMNS) or not key.on(COLUMNS):
        reason = "it is multiplied with values that are not channels"
        return sweep.fix(query, COLUMNS, reason), sweep.fix(key, COLUMNS, reason)
    one, two = sweep.project(query, COLUMNS), sweep.project(key, COLUMNS)
    assert one is not None and two is not None
    sweep.same(one, two)
    sweep.unscaled.append(one)
    return without(query, COLUMNS, query.size(COLUMNS)), key


def _scores(sweep: Sweep, query: Layout, key: Layout, heads: int, shared: int, mask: int) -> Layout:
    """[batch, q heads, L, S]: a key head, its query heads and their mask go together."""
    left = without(query, COLUMNS)
    right = transpose(without(key, COLUMNS), [0, 1, 3, 2])
    left = sweep.together([_grouped(sweep, left, heads, shared), insert_axes(right, [2])])
    if sweep.value(mask) is not None:
        left = sweep.together([left, _grouped(sweep, _mask(sweep, mask, heads), heads, shared)])
    batch, _, _, length, width = left.sizes
    return sweep.reshaped(left, [batch, heads, length, width])


def _grouped(sweep: Sweep, layout: Layout, heads: int, shared: int) -> Layout:
    """[batch, heads, ...] as [batch, kv heads, query heads of each, ...], the latter without channels."""
    batch, count, *rest = layout.sizes
    split = [shared, heads // shared] if count == heads else [1, 1]
    return sweep.fix(sweep.reshaped(layout, [batch, *split, *rest]), 2, "whole heads go")


def _mask(sweep: Sweep, index: int, heads: int) -> Layout:
    """The mask with four axes; a constant one for each head has labels there."""
    layout = sweep.input(index) if not sweep.is_parameter(index) else sweep.parameter(index, ())
    whole = sweep.mode("") == "heads"
    if sweep.is_parameter(index) and whole and layout.rank > 2 and layout.size(layout.rank - 3) == heads > 1:
        layout = sweep.parameter(index, [layout.rank - 3])
    return insert_axes(layout, range(4 - layout.rank))


def _product(sweep: Sweep, scores: Layout, value: Layout, heads: int) -> Layout:
    """[batch, q heads, L, e] of [batch, q heads, L, S] and [batch, kv heads, S, e]."""
    shared = value.size(HEADS)
    assert isinstance(shared, int)
    batch, _, length, size = (*scores.sizes[:3], value.size(COLUMNS))
    left = _grouped(sweep, without(scores, 3), heads, shared)
    right = insert_axes(drop_axes(value, [POSITIONS]), [2, 3])
    joined = sweep.together([left, right])
    return sweep.reshaped(joined, [batch, heads, length, size])


@rule("RotaryEmbedding", since=23)
def rotary(sweep: Sweep) -> None:
    """RotaryEmbedding turns pairs of columns of each head; X is [B, heads, L, d] or [B, L, heads * d]."""
    layout = sweep.input(0)
    for index in range(1, len(sweep.node.inputs) if sweep.node is not None else 0):
        unlabelled(sweep, index, "its values are turns")
    layout = fixed(sweep, layout, (0, POSITIONS if layout.rank == 4 else 1), "it is turned by its position")
    if layout.rank == 4:
        sweep.output(sweep.fix(layout, COLUMNS, "its columns are turned by their positions"))
        return
    heads = sweep.integer("num_heads", 0)
    size = dims.divide(layout.size(2), heads) if heads else None
    if size is None:
        raise Opaque("its heads don't divide its channels")
    split = sweep.reshaped(layout, [*layout.sizes[:2], heads, size])
    split = sweep.fix(split, 3, "its columns are turned by their positions")
    sweep.output(sweep.reshaped(split, layout.sizes))
