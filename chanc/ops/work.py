"""What operators compute: multiply-accumulates (MACs) and other operations, from the sizes of their operands.

A MAC is one multiplication with its addition in a convolution or a matrix product; biases are free. `other` is what
public counters (ptflops) count besides: 2 an element of a normalisation's output, 1 an element of an activation's
output, 1 an element of a pooling's input. Everything is for all that the operands hold, the batch included. Sizes may
be of any number type that adds and multiplies.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from chanc.ops.spec import Attributes, Number, Size, Work, WorkOf

Inputs = Sequence[Size | None]
Outputs = Sequence[Size]


def free(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
    """Nothing that is counted: elements are moved, added, compared."""
    return Work()


def convolution(weight: int = 1) -> WorkOf:
    """Conv, W: [O, I/group, k...] at input `weight`: (I/group) k... MACs an output element."""

    def work(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
        return Work(macs=prod(outputs[0]) * prod(_given(inputs, weight)[1:]))

    return work


def transposed_convolution(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
    """ConvTranspose, W: [I, O/group, k...]: (O/group) k... MACs an input element."""
    return Work(macs=prod(_given(inputs, 0)) * prod(_given(inputs, 1)[1:]))


def product(right: int = 1) -> WorkOf:
    """MatMul of A: [..., M, K] or [K], and B: [..., K, N] or [K] at input `right`: K MACs an output element."""

    def work(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
        matrix = _given(inputs, right)
        return Work(macs=prod(outputs[0]) * matrix[-2 if len(matrix) > 1 else 0])

    return work


def packed_product(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
    """MatMulNBits, A: [..., K], B packed: K MACs an output element."""
    return Work(macs=prod(outputs[0]) * _given(inputs, 0)[-1])


def gemm(right: int = 1) -> WorkOf:
    """Gemm, B: [K, N], or [N, K] with transB, at input `right`: K MACs an output element."""

    def work(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
        return Work(macs=prod(outputs[0]) * _given(inputs, right)[1 if _integer(attributes, "transB") else 0])

    return work


def fused_product(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
    """FusedMatMul, A: [..., M, K], or [..., K, M] with transA: K MACs an output element."""
    return Work(macs=prod(outputs[0]) * _given(inputs, 0)[-2 if _integer(attributes, "transA") else -1])


def einsum(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
    """Einsum: one MAC for each value of all letters and each product of two operands; a single operand is moved.

    More than two operands are counted as if all were multiplied in one loop, as the operator's definition does.
    """
    equation = attributes["equation"].as_string().replace(" ", "")
    terms = equation.split("->")[0].split(",")
    sizes: dict[str, Number] = {}
    for term, operand in zip(terms, inputs, strict=True):
        for letter, size in _letters(term, operand or ()):
            sizes[letter] = size if letter not in sizes or _is_one(sizes[letter]) else sizes[letter]
    return Work(macs=prod(sizes.values()) * (len(terms) - 1))


def recurrent(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
    """LSTM, GRU, RNN, X: [T, B, I], W: [D, G H, I], R: [D, G H, H]: each weight once a step and sample."""
    steps = prod(_given(inputs, 0)[:2])
    return Work(macs=steps * (prod(_given(inputs, 1)) + prod(_given(inputs, 2))))


def attention(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
    """Attention-23, Q: [B, H, L, d] or [B, L, H d], K: [.., S, ..]: Q K' and P V, S MACs an element of Q and of Y.

    Positions of past keys (input 4: [B, H, P, d]) are attended to as well.
    """
    keys = _given(inputs, 1)[-2] + _past(inputs, 4)
    return Work(macs=(prod(_given(inputs, 0)) + prod(outputs[0])) * keys)


def multi_head_attention(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
    """com.microsoft::MultiHeadAttention, query: [B, L, D] or packed [B, L, H, 3, d] without key, key: [B, S, D].

    A key of four axes is [B, H, S, d].
    """
    query, key = _given(inputs, 0), inputs[1] if len(inputs) > 1 else None
    keys = query[1] if key is None else key[1] if len(key) == 3 else key[2]
    return Work(macs=2 * prod(outputs[0]) * (keys + _past(inputs, 6)))


def grouped_attention(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
    """com.microsoft::GroupQueryAttention, Y: [B, L, H d]: Q K' and P V for L positions and those of past keys."""
    return Work(macs=2 * prod(outputs[0]) * (outputs[0][1] + _past(inputs, 3)))


def packed_attention(past: int = 4) -> WorkOf:
    """com.microsoft::Attention, X: [B, L, I], W: [I, 3 D], past: [2, B, H, P, d]: projection, then Q K' and P V."""

    def work(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
        data, weight = _given(inputs, 0), _given(inputs, 1)
        return Work(macs=prod(data) * weight[-1] + 2 * prod(outputs[0]) * (data[1] + _past(inputs, past, axis=3)))

    return work


def normalisation(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
    """Two operations an element of the output."""
    return Work(other=2 * prod(outputs[0]))


def activation(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
    """One operation an element of the output."""
    return Work(other=prod(outputs[0]))


def pooling(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
    """One operation an element of the input."""
    return Work(other=prod(_given(inputs, 0)))


def spatial_mean(attributes: Attributes, inputs: Inputs, outputs: Outputs) -> Work:
    """ReduceMean, ReduceMax: a global pooling in other words where all axes but the first two go, else nothing."""
    data, result = _given(inputs, 0), outputs[0]
    kept = len(result) == 2 or (len(result) == len(data) and all(_is_one(size) for size in result[2:]))
    spatial = len(data) > 3 and kept and _equal(result[1], data[1]) and not all(_is_one(size) for size in data[2:])
    return pooling(attributes, inputs, outputs) if spatial else Work()


def _given(inputs: Inputs, index: int) -> Size:
    """The size of an input that the operator's definition requires."""
    size = inputs[index]
    assert size is not None
    return size


def _past(inputs: Inputs, index: int, axis: int = 2) -> Number:
    """Positions of past keys that an attention reads besides its own."""
    past = inputs[index] if index < len(inputs) else None
    return 0 if past is None else past[axis]


def _letters(term: str, size: Size) -> list[tuple[str, Number]]:
    """Each letter of an operand with its length; the axes of an ellipsis are "...1", "...2", ... from the right."""
    head, dots, tail = term.partition("...")
    if not dots:
        return list(zip(term, size, strict=True))
    hidden = len(size) - len(head) - len(tail)
    names = [*head, *(f"...{hidden - k}" for k in range(hidden)), *tail]
    return list(zip(names, size, strict=True))


def _integer(attributes: Attributes, name: str) -> int:
    found = attributes.get(name)
    return 0 if found is None else found.as_int()


def _equal(one: Number, other: Number) -> bool:
    """Whether two sizes are the same; arrays of sizes, everywhere."""
    found = one == other
    return bool(found.all() if hasattr(found, "all") else found)


def _is_one(size: Number) -> bool:
    return isinstance(size, int) and size == 1
