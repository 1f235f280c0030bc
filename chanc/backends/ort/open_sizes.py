"""Sizes of inputs whose shapes are open: one value for one name, wherever it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from chanc.backends.ort.told_sizes import Taken, taken
from chanc.errors import ModelError
from chanc.ir.sizes import given_shape, names_in, worked_out


def shapes(
    inputs: Sequence[ir.Value], batch: int, sizes: Mapping[str, int], default: int
) -> dict[str, tuple[int, ...]]:
    """A shape for each input.

    Args:
        inputs: inputs of a graph.
        batch: size of an open first axis.
        sizes: sizes of open axes by the name of the dimension, or by "<input>:<axis>".
        default: size of other open axes; one that what reads it fixes, as a convolution its channels, takes that, and a
            sum or product of other axes' names follows from them.

    Raises:
        ModelError: an input has no known rank, and nothing that reads it tells one.
    """
    open_shapes = {str(value.name): _shape(value, sizes) for value in inputs}
    needed = {str(value.name): _needed(value, len(open_shapes[str(value.name)]), batch) for value in inputs}
    named = {name: default for shape in open_shapes.values() for name in map(_name, shape) if name is not None}
    terms = {name: found for name in named if (found := names_in(name)) & (named.keys() - {name})}
    for key, shape in open_shapes.items():
        for axis, size in enumerate(shape):
            name, known = _name(size), needed[key][axis]
            if name is not None and name not in terms and known is not None and named[name] == default:
                named[name] = known
    named |= {name: size for name, size in sizes.items() if name not in terms}
    named |= {name: _evaluated(name, found, named, default) for name, found in terms.items()}
    named |= sizes
    return {
        key: tuple(_size(f"{key}:{axis}", size, needed[key][axis], named, default) for axis, size in enumerate(shape))
        for key, shape in open_shapes.items()
    }


def template(value: ir.Value, sizes: Mapping[str, int]) -> list[int | str | None]:
    """The shape of an input as far as it is given, or no choice: open axes have a name, or None.

    Empty for an unknown rank.
    """
    try:
        shape = _shape(value, sizes)
    except ModelError:
        return []
    needed = _needed(value, len(shape), 0)
    given = [sizes.get(f"{value.name}:{axis}", sizes.get(_name(size) or "")) for axis, size in enumerate(shape)]
    return [
        size if isinstance(size, int) and size > 0 else fixed or need or _name(size)
        for size, fixed, need in zip(shape, given, needed, strict=True)
    ]


def free_axes(inputs: Sequence[ir.Value], sizes: Mapping[str, int]) -> list[str]:
    """The open axes that may be of any size, as `shapes` takes them: no batch, and not fixed by what reads them."""
    low, high = (shapes(inputs, 1, sizes, default) for default in (2, 3))
    found: dict[str, None] = {}
    for value in inputs:
        for axis, (one, two) in enumerate(zip(low[str(value.name)], high[str(value.name)], strict=True)):
            name = _name(_shape(value, sizes)[axis])
            if one != two and not names_in(name or ""):
                found[name or f"{value.name}:{axis}"] = None
    return list(found)


def _shape(value: ir.Value, sizes: Mapping[str, int]) -> list[int | ir.SymbolicDim]:
    """The shape of an input; where it has none, one of open axes, as many as are given or as what reads it takes."""
    if value.shape is not None:
        return list(value.shape)
    rank = len(given_shape(str(value.name), sizes) or taken(value) or ())
    if not rank:
        raise ModelError(f"input {value.name!r} has no shape: its rank is unknown, so it can't be filled")
    return [ir.SymbolicDim(None)] * rank


def _needed(value: ir.Value, rank: int, batch: int) -> Taken:
    """The sizes of axes that are no choice: what reads the input takes them, and the first one is the batch."""
    found = taken(value)
    needed = found if found is not None and len(found) == rank else [None] * rank
    return [needed[0] or batch, *needed[1:]] if needed else []


def _size(key: str, size: int | ir.SymbolicDim, needed: int | None, named: Mapping[str, int], default: int) -> int:
    if isinstance(size, int) and size > 0:
        return size
    name = _name(size)
    if key in named:
        return named[key]
    return named[name] if name is not None else needed or default


def _name(size: int | ir.SymbolicDim) -> str | None:
    return None if isinstance(size, int) else size.value


def _evaluated(name: str, terms: frozenset[str], named: Mapping[str, int], default: int) -> int:
    return worked_out(name, {term: named.get(term, default) for term in terms}) or default
