"""Sizes that a user gives for open axes: an analysis, a count or a check is then made at these.

An open axis is called by the name of its dimension, which holds wherever that stands, or by "<input>:<axis>" where it
has none. What is written keeps its open axes: `bind` says what it replaced, `release` puts it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count, takewhile

import onnx_ir as ir

from chanc.errors import ModelError
from chanc.ir.names import values_of
from chanc.ir.nodes import subgraphs

Sizes = Mapping[str, int]
"""The size of open axes, each at least 1."""
Axis = int | ir.SymbolicDim
Opened = Mapping[str, Mapping[int, Axis] | None]
"""The open axes that were given sizes, by the name of the value; None for a value that had no shape."""


LONGEST = 120
"""Characters of a dimension's name that is read as an expression."""


def names_in(name: str) -> frozenset[str]:
    """The names in a dimension's name that is an expression, as `past + length`; none in one that isn't.

    A stranger chose it: a power may have more digits than any memory holds, so that none is worked out.
    """
    if "**" in name or len(name) > LONGEST:
        return frozenset()
    try:
        return frozenset(ir.SymbolicDim(name).free_symbols() - {name})
    except (ValueError, TypeError, ArithmeticError):  # reads like an expression, and isn't one
        return frozenset()


def worked_out(name: str, values: Mapping[str, int]) -> int | None:
    """What a dimension's name says with values for the names in it; None where it says no number above 0."""
    if "**" in name or len(name) > LONGEST:
        return None
    try:
        found = ir.SymbolicDim(name).evaluate(dict(values))
    except (ValueError, TypeError, ArithmeticError):
        return None
    return found if isinstance(found, int) and found > 0 else None


def sizes_of(model: ir.Model, dims: Sizes | None = None, shapes: Mapping[str, Sequence[int]] | None = None) -> Sizes:
    """The sizes of open axes that follow from those of dimensions, by name, and from shapes of inputs, by input.

    Raises ModelError for a dimension or an input that the model doesn't have, for a size under 1, for a shape that
    doesn't fit the input's, and for two sizes of one dimension.
    """
    inputs = {value.name or "": value for value in model.graph.inputs if value.name not in model.graph.initializers}
    found = dict(dims or {})
    known = {key for value in inputs.values() for _, key in _open_axes(value)}
    for name in found:
        if name not in known and not _of_shapeless(inputs, name):
            raise ModelError(f"no open axis of the model's inputs is called '{name}'; {_listed(known)}")
    for name, shape in (shapes or {}).items():
        if name not in inputs:
            raise ModelError(f"the model has no input '{name}'; it has {', '.join(inputs)}")
        for key, size in _from_shape(inputs[name], shape):
            if found.setdefault(key, size) != size:
                raise ModelError(f"the axes called '{key}' can't be {found[key]} and {size} at once")
    for name, size in found.items():
        if size < 1:
            raise ModelError(f"the size of '{name}' must be at least 1, not {size}")
    return found


def _of_shapeless(inputs: Mapping[str, ir.Value], name: str) -> bool:
    """Whether "<input>:<axis>" names an axis of an input that has no shape at all."""
    owner, _, axis = name.rpartition(":")
    return owner in inputs and inputs[owner].shape is None and axis.isdecimal()


def _listed(names: Iterable[str]) -> str:
    return f"there are {', '.join(sorted(names))}" if names else "there are none"


def _from_shape(value: ir.Value, sizes: Sequence[int]) -> Iterator[tuple[str, int]]:
    """The open axes of an input, and what a given shape makes of them."""
    given = ",".join(map(str, sizes))
    if value.shape is None:
        yield from ((f"{value.name}:{axis}", size) for axis, size in enumerate(sizes))
        return
    if len(value.shape) != len(sizes):
        raise ModelError(f"the shape {given} has {len(sizes)} axes, input '{value.name}' has {len(value.shape)}")
    opened = dict(_open_axes(value))
    for axis, (old, size) in enumerate(zip(value.shape, sizes, strict=True)):
        if axis in opened:
            yield opened[axis], size
        elif old != size:
            raise ModelError(f"the shape {given} doesn't fit input '{value.name}', which has {old} on axis {axis}")


def _open_axes(value: ir.Value) -> Iterator[tuple[int, str]]:
    """The axes of a value that are of any size, and what they are called; some exporters write them as 0 or -1."""
    for axis, size in enumerate(value.shape or ()):
        name = size.value if isinstance(size, ir.SymbolicDim) else None
        if not isinstance(size, int) or size <= 0:
            yield axis, name if name not in (None, "", "?") else f"{value.name}:{axis}"


def bind(model: ir.Model, sizes: Sizes) -> Opened:
    """Give the open axes of a model their sizes, in place: those of inputs, and of all else of that name."""
    opened: dict[str, dict[int, Axis] | None] = {}
    for value in _values(model) if sizes else ():
        name = value.name or ""
        if value.shape is None:
            bare = given_shape(name, sizes)
            if bare and value.is_graph_input():
                opened[name], value.shape = None, ir.Shape(bare)
            continue
        old = {axis: value.shape[axis] for axis, key in _open_axes(value) if key in sizes}
        if old:
            new = {axis: sizes[key] for axis, key in _open_axes(value) if key in sizes}
            opened[name] = old
            value.shape = ir.Shape([new.get(axis, size) for axis, size in enumerate(value.shape)])
    return opened


def given_shape(name: str, sizes: Sizes) -> list[int | None]:
    """The shape that sizes give an input which has none; the first axis may be left open, as a batch."""
    first = sizes.get(f"{name}:0")
    rest = [sizes[key] for key in takewhile(sizes.__contains__, (f"{name}:{axis}" for axis in count(1)))]
    return [first, *rest] if first is not None or rest else []


def per_sample(model: ir.Model, sizes: Sizes) -> Sizes:
    """The sizes without those of a batch, which a training chooses for itself."""
    batches = {key for value in model.graph.inputs for axis, key in _open_axes(value) if axis == 0}
    batches |= {f"{value.name}:0" for value in model.graph.inputs}
    return {name: size for name, size in sizes.items() if name not in batches}


def release(model: ir.Model, opened: Opened) -> None:
    """Open the axes again, in place, where their values still are; other axes stay as they are."""
    for value in _values(model) if opened else ():
        axes = opened.get(value.name or "", {})
        if axes is None:
            value.shape = None
        elif axes and value.shape is not None:
            value.shape = ir.Shape([axes.get(axis, size) for axis, size in enumerate(value.shape)])


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in (model.graph, *subgraphs(model.graph)):
        yield from (value for value in values_of(graph) if value.const_value is None)


def others(sizes: Sizes) -> tuple[Sizes, Sizes]:
    """Two other choices of sizes for the same axes: half and double, 2 and 3 for what is 1."""
    smaller = {name: size // 2 if size > 1 else 2 for name, size in sizes.items()}
    return smaller, {name: 2 * size if size > 1 else 3 for name, size in sizes.items()}
