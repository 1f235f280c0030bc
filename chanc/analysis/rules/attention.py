"""Attention as one operator (ONNX Attention since 23; onnxruntime's) and RotaryEmbedding: whole heads go.

Q: [batch, q heads, L, d], K: [batch, kv heads, S, d], V: [batch, kv heads, S, e], Y: [batch, q heads, L, e], or all of
them as [batch, positions, heads * d]. Query head i reads key head i // (q heads / kv heads), so a key head goes with
its query heads. With a single key head the columns d and e go instead.
"""

from __future__ import annotations

import numpy as np

from chanc.analysis import dims
from chanc.analysis.context import Context
from chanc.analysis.dims import Dim, Size
from chanc.analysis.joining import joined, squared
from chanc.analysis.layout import Layout, Opaque, drop_axes, insert_axes, take, transpose, without
from chanc.analysis.operands import addend, fixed, unlabelled
from chanc.analysis.product import contract
from chanc.analysis.rules import rule

HEADS, POSITIONS, COLUMNS = 1, 2, 3


@rule("Attention", since=23)
def attention(context: Context) -> None:
    """Attention; past keys and values [batch, kv heads, P, d or e] stand before those of now."""
    flat = context.input(0).rank == 3
    counts = [context.integer(name, 0) for name in ("q_num_heads", "kv_num_heads", "kv_num_heads")]
    query, key, value = (_by_head(context, index, count if flat else 0) for index, count in enumerate(counts))
    if context.value(6) is not None:
        query = context.fix(query, 0, "each has a length of its own")
    attend(context, (query, key, value), flat, mask=3, past=4)


@rule("MultiHeadAttention", domain="com.microsoft")
def multi_head_attention(context: Context) -> None:
    """onnxruntime's MultiHeadAttention: one vector of biases for queries, keys and values, all [batch, L, channels]."""
    heads = context.integer("num_heads", 1)
    parts = [context.input(index) for index in range(3)]
    if any(part.rank != 3 for part in parts):
        raise Opaque("its queries, keys and values are packed")
    unlabelled(context, 4, "its values are a mask")
    if context.value(3) is not None:
        parts = _biased(context, parts)
    query, key, value = (_split(context, part, heads) for part in parts)
    attend(context, (query, key, value), True, mask=5, past=6)


@rule("GroupQueryAttention", domain="com.microsoft")
def group_query_attention(context: Context) -> None:
    """onnxruntime's, Q [batch, L, channels], K and V, or all of them in Q: a key's head goes with its query heads."""
    context.mode("heads")
    counts = [context.integer(name, 1) for name in ("num_heads", "kv_num_heads", "kv_num_heads")]
    for index in (5, 6, 7, 8, 9):
        unlabelled(context, index, "its values are positions")
    parts = [context.input(index) for index in range(3 if context.value(1) is not None else 1)]
    if len(parts) == 1:
        size = dims.divide(parts[0].size(2), sum(counts))
        if not isinstance(size, int):
            raise Opaque("its heads don't divide its channels")
        parts = _parts(context, parts[0], 2, [count * size for count in counts])
    query, key, value = (_split(context, part, count) for part, count in zip(parts, counts, strict=True))
    attend(context, (query, key, value), True, mask=10, past=3)


@rule("Attention", domain="com.microsoft")
def fused_attention(context: Context) -> None:
    """onnxruntime's Attention: queries, keys and values are one product of X [batch, L, in] and a weight."""
    if context.value(4) is not None:
        raise Opaque("its past keys and values are packed")
    heads = context.integer("num_heads", 1)
    unlabelled(context, 3, "its values are a mask")
    made = contract(context, (0, [0, 1, 2]), (1, [2, 3]), [0, 1, 3])
    if context.value(2) is not None:
        made = context.together([made, addend(context, 2, made)])
    total = made.size(2)
    sizes = context.integer_list("qkv_hidden_sizes") or ([total // 3] * 3 if isinstance(total, int) else [])
    if isinstance(total, Dim) or len(sizes) != 3 or sum(sizes) != total:
        raise Opaque("its numbers of queries, keys and values are not understood")
    query, key, value = (_split(context, part, heads) for part in _parts(context, made, 2, sizes))
    attend(context, (query, key, value), True, mask=5, past=-1)


def _parts(context: Context, layout: Layout, axis: int, sizes: list[int]) -> list[Layout]:
    """An axis cut into parts of these sizes."""
    if not layout.on(axis):
        return [without(layout, axis, size) for size in sizes]
    ends = np.cumsum(sizes)
    found = [take(layout, axis, np.arange(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    for part in found:
        context.segment(part, axis)
    return found


def _biased(context: Context, parts: list[Layout]) -> list[Layout]:
    sizes = [part.size(2) for part in parts]
    if any(isinstance(size, Dim) for size in sizes):
        raise Opaque("its biases don't fit")
    biases = _parts(context, context.input(3), 0, [int(str(size)) for size in sizes])
    return [context.together([part, bias]) for part, bias in zip(parts, biases, strict=True)]


def attend(context: Context, operands: tuple[Layout, Layout, Layout], flat: bool, *, mask: int, past: int) -> None:
    """Queries, keys and values [batch, heads, positions, columns]; `mask` and `past` are the indices of inputs.

    Sets the outputs: the result, with three axes where `flat`, keys and values with the past ones, and the scores.
    """
    query, key, value = operands
    heads, shared = query.size(HEADS), key.size(HEADS)
    if isinstance(heads, Dim) or isinstance(shared, Dim) or heads % shared:
        raise Opaque("its numbers of heads are not understood")
    whole = context.mode("heads" if shared > 1 else "columns") == "heads"
    key, value = (_after(context, past + k, now, HEADS if whole else COLUMNS) for k, now in enumerate((key, value)))
    if whole:
        query, key, value = (context.fix(x, COLUMNS, "whole heads go") for x in (query, key, value))
        for part in (part for x in (query, key, value) for part in x.on(HEADS)):
            context.mark_heads(part.labels)
    else:
        query, key = _contracted(context, query, key)
    scores = _scores(context, query, key, heads, shared, mask)
    result = _product(context, scores, value, heads)
    batch, _, length, size = result.sizes
    turned = transpose(result, [0, 2, 1, 3])
    context.output(context.reshaped(turned, [batch, length, dims.multiply(heads, size)]) if flat else result)
    for index, layout in ((1, key), (2, value), (3, scores)):
        if index < len(context.node.outputs):
            context.output(layout, index)


def _by_head(context: Context, index: int, heads: int) -> Layout:
    """An input as [batch, heads, positions, columns], positions without channels; `heads` splits the last of 3 axes."""
    return _split(context, context.input(index), heads)


def _split(context: Context, layout: Layout, heads: int) -> Layout:
    if layout.rank == 3:
        batch, length, width = layout.sizes
        size = dims.divide(width, heads) if heads else None
        if size is None:
            raise Opaque("its heads don't divide its channels")
        layout = transpose(context.reshaped(layout, [batch, length, heads, size]), [0, 2, 1, 3])
    if layout.rank != 4:
        raise Opaque("its input is neither [batch, positions, channels] nor [batch, heads, positions, columns]")
    return context.fix(layout, POSITIONS, "positions attend to one another")


def _after(context: Context, index: int, now: Layout, moving: int) -> Layout:
    """Keys or values with the past ones before them; constant ones have labels on the axis that may change."""
    if index < 3 or context.value(index) is None:
        return now
    past = context.parameter(index, (moving,)) if context.is_parameter(index) else context.input(index)
    past = context.fix(past, POSITIONS, "positions attend to one another")
    if past.rank != 4:
        raise Opaque("its past keys or values are not [batch, heads, positions, columns]")
    return joined(context, squared(context, [past, now], POSITIONS), POSITIONS)


def _contracted(context: Context, query: Layout, key: Layout) -> tuple[Layout, Layout]:
    """Column d of every query head meets column d of the one key head."""
    if not query.on(COLUMNS) or not key.on(COLUMNS):
        reason = "it is multiplied with values that are not channels"
        return context.fix(query, COLUMNS, reason), context.fix(key, COLUMNS, reason)
    one, two = context.project(query, COLUMNS), context.project(key, COLUMNS)
    assert one is not None and two is not None
    context.same(one, two)
    context.mark_unscaled(one, "queries and keys are multiplied along it")
    return without(query, COLUMNS, query.size(COLUMNS)), key


def _scores(context: Context, query: Layout, key: Layout, heads: int, shared: int, mask: int) -> Layout:
    """[batch, q heads, L, S]: a key head, its query heads and their mask go together."""
    left = without(query, COLUMNS)
    right = transpose(without(key, COLUMNS), [0, 1, 3, 2])
    left = context.together([_grouped(context, left, heads, shared), insert_axes(right, [2])])
    if context.value(mask) is not None:
        left = context.together([left, _grouped(context, _mask(context, mask, heads), heads, shared)])
    batch, _, _, length, width = left.sizes
    return context.reshaped(left, [batch, heads, length, width])


def _grouped(context: Context, layout: Layout, heads: int, shared: int) -> Layout:
    """[batch, heads, ...] as [batch, kv heads, query heads of each, ...], the latter without channels."""
    batch, count, *rest = layout.sizes
    split = [shared, heads // shared] if count == heads else [1, 1]
    return context.fix(context.reshaped(layout, [batch, *split, *rest]), 2, "whole heads go")


def _mask(context: Context, index: int, heads: int) -> Layout:
    """The mask with four axes; a constant one for each head has labels there."""
    layout = context.input(index) if not context.is_parameter(index) else context.parameter(index, ())
    whole = context.mode("") == "heads"
    if context.is_parameter(index) and whole and layout.rank > 2 and layout.size(layout.rank - 3) == heads > 1:
        layout = context.parameter(index, [layout.rank - 3])
    return insert_axes(layout, range(4 - layout.rank))


def _product(context: Context, scores: Layout, value: Layout, heads: int) -> Layout:
    """[batch, q heads, L, e] of [batch, q heads, L, S] and [batch, kv heads, S, e]."""
    shared = value.size(HEADS)
    assert isinstance(shared, int)
    batch, _, length, size = (*scores.sizes[:3], value.size(COLUMNS))
    left = _grouped(context, without(scores, 3), heads, shared)
    right = insert_axes(drop_axes(value, [POSITIONS]), [2, 3])
    joined = context.together([left, right])
    return context.reshaped(joined, [batch, heads, length, size])


@rule("RotaryEmbedding", domain="com.microsoft")
@rule("RotaryEmbedding", since=23)
def rotary(context: Context) -> None:
    """RotaryEmbedding turns pairs of columns of each head; X is [B, heads, L, d] or [B, L, heads * d].

    onnxruntime's has its operands in another order, and may have no number of heads: tables of half a head tell.
    """
    layout = context.input(0)
    for index in range(1, len(context.inputs)):
        unlabelled(context, index, "its values are turns")
    layout = fixed(context, layout, (0, POSITIONS if layout.rank == 4 else 1), "it is turned by its position")
    if layout.rank == 4:
        context.output(context.fix(layout, COLUMNS, "its columns are turned by their positions"))
        return
    given = context.integer("num_heads", 0)
    size = dims.divide(layout.size(2), given) if given else _turned(context)
    heads = dims.divide(layout.size(2), size) if size is not None else None
    if size is None or heads is None:
        raise Opaque("its heads don't divide its channels")
    split = context.reshaped(layout, [*layout.sizes[:2], heads, size])
    split = context.fix(split, 3, "its columns are turned by their positions")
    context.output(context.reshaped(split, layout.sizes))


def _turned(context: Context) -> Size | None:
    """The columns of a head of onnxruntime's RotaryEmbedding: its tables are [positions, columns / 2]."""
    if context.node.domain != "com.microsoft" or context.integer("rotary_embedding_dim", 0):
        return None
    half = context.input(2).size(1) if not context.is_parameter(2) else context.initializer(2).shape[1]
    return dims.multiply(half, 2)
