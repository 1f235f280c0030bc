"""Sizes of inputs whose shapes are open: one value for one name, wherever it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from chanc.errors import ModelError
from chanc.ops import channels_taken, weight_of


def shapes(
    inputs: Sequence[ir.Value], batch: int, sizes: Mapping[str, int], default: int
) -> dict[str, tuple[int, ...]]:
    """A shape for each input.

    Args:
        inputs: inputs of a graph.
        batch: size of an open first axis.
        sizes: sizes of open axes by the name of the dimension, or by "<input>:<axis>".
        default: size of other open axes; a channel axis takes what the convolution behind it needs, and a sum or
            product of other axes' names follows from them.

    Raises:
        ModelError: an input has no known rank.
    """
    for value in inputs:
        if value.shape is None:
            raise ModelError(f"input {value.name!r} has no shape: its rank is unknown, so it can't be filled")
    named = {name: default for value in inputs for name in map(_name, value.shape or ()) if name is not None}
    terms = {name: found for name in named if (found := _terms(name)) & (named.keys() - {name})}
    for value in inputs:
        for axis, size in enumerate(value.shape or ()):
            name, known = _name(size), _needed(value, axis, batch)
            if name is not None and name not in terms and known is not None and named[name] == default:
                named[name] = known
    named |= {name: size for name, size in sizes.items() if name not in terms}
    named |= {name: _evaluated(name, found, named, default) for name, found in terms.items()}
    named |= sizes
    return {
        str(value.name): tuple(_size(value, axis, batch, named, default) for axis in range(len(value.shape or ())))
        for value in inputs
    }


def _size(value: ir.Value, axis: int, batch: int, named: Mapping[str, int], default: int) -> int:
    size = (value.shape or ())[axis]
    if isinstance(size, int) and size > 0:
        return size
    key, name = f"{value.name}:{axis}", _name(size)
    if key in named:
        return named[key]
    return named[name] if name is not None else _needed(value, axis, batch) or default


def _name(size: int | ir.SymbolicDim) -> str | None:
    return None if isinstance(size, int) else size.value


def _terms(name: str) -> frozenset[str]:
    """The names in an expression such as `past + length`; one name alone is none."""
    try:
        return ir.SymbolicDim(name).free_symbols() - {name}
    except ValueError:  # reads like an expression, and isn't one
        return frozenset()


def _evaluated(name: str, terms: frozenset[str], named: Mapping[str, int], default: int) -> int:
    found = ir.SymbolicDim(name).evaluate({term: named.get(term, default) for term in terms})
    return found if isinstance(found, int) and found > 0 else default


def _needed(value: ir.Value, axis: int, batch: int) -> int | None:
    """The size of an open axis that is no choice: the batch, or the channels that a convolution of `value` takes."""
    if axis == 0:
        return batch
    for node in value.consumers() if axis == 1 else ():
        kernel = weight_of(node, 1)
        weight = node.inputs[1] if kernel is not None and kernel.kernel else None
        if kernel is not None and weight is not None and weight.const_value is not None:
            return channels_taken(kernel, node.attributes, weight.const_value.shape.numpy())
    return None
