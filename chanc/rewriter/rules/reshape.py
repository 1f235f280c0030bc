"""Reshape, Expand and Tile: target shapes that hold widths, and copies of copies."""

from __future__ import annotations

import numpy as np

from chanc.analysis.dims import Dim, Size
from chanc.errors import IllegalMove
from chanc.rewriter.rules import rule
from chanc.rewriter.shape_inputs import follow, reads_resized
from chanc.rewriter.site import Site


@rule("Reshape")
def reshape(site: Site) -> None:
    """The target gets the new sizes; 0 and -1 stay where they still say the same."""
    data, result = site.layout(0), site.result()
    old, new = result.sizes, site.sizes(result)
    given = site.node.attributes.get("shape")
    known = site.constant(1) if given is None else np.array(given.as_ints(), dtype=object)
    if known is None:
        raise IllegalMove(f"Reshape '{site.node.outputs[0].name}' has a target that isn't known")
    asked = known.ravel().tolist()
    before = data.sizes if data is not None else _constant_sizes(site)
    after = site.sizes(data) if data is not None else before
    target = [_entry(site, n, k, old, new, before, after) for k, n in enumerate(asked)]
    # What is computed stays so; a computed size that is another now is left to be inferred.
    other = [k for k, n in enumerate(target) if isinstance(n, Dim) and n != asked[k]]
    if len(other) == 1 and -1 not in target:
        target[other[0]] = -1
    if target == asked and not (given is None and site.computed(1) and reads_resized(site, site.node.inputs[1])):
        return
    numbers = _written(site, target, after)
    if given is None and (numbers is None or (site.findings.open_data is not None and site.computed(1))):
        follow(site, 1, target)
    elif numbers is None:
        raise IllegalMove(f"Reshape '{site.node.outputs[0].name}' has several sizes that aren't known")
    elif given is not None:
        site.set_attribute("shape", numbers)
    else:
        site.set_input(1, np.array(numbers, dtype=np.int64))


def _constant_sizes(site: Site) -> tuple[Size, ...]:
    value = site.node.inputs[0]
    assert value is not None and value.shape is not None
    return tuple(int(n) for n in value.shape)  # type: ignore[arg-type]


def _entry(
    site: Site,
    asked: Size,
    k: int,
    old: tuple[Size, ...],
    new: tuple[Size, ...],
    before: tuple[Size, ...],
    after: tuple[Size, ...],
) -> Size:
    """One entry of the target: as it was where that still gives the new size."""
    if asked == -1:
        return -1
    if asked == 0 and not site.attribute("allowzero", 0):
        return 0 if k < len(after) and after[k] == new[k] else new[k]
    return asked if old[k] == new[k] else new[k]


def _written(site: Site, target: list[Size], after: tuple[Size, ...]) -> list[int] | None:
    """The target in integers: one unknown may be -1, others copies (0) of the input's sizes; None for any more."""
    numbers: list[int] = []
    for k, size in enumerate(target):
        if not isinstance(size, Dim):
            numbers.append(size)
        elif -1 not in target and -1 not in numbers:
            numbers.append(-1)
        elif k < len(after) and after[k] == size and not site.attribute("allowzero", 0):
            numbers.append(0)
        else:
            return None
    return numbers


@rule("Expand")
def expand(site: Site) -> None:
    """An entry that repeats a channel axis as it is gets the new size."""
    result = site.result()
    known = site.constant(1)
    if known is None:
        return
    asked = known.ravel().tolist()
    offset = result.rank - len(asked)
    new = site.sizes(result)
    target = [n if n == 1 else new[k + offset] for k, n in enumerate(asked)]
    if site.computed(1):
        follow(site, 1, target)
    elif target != asked:
        site.set_input(1, np.array(site.integers(tuple(target)), dtype=np.int64))


@rule("Tile")
def tile(site: Site) -> None:
    """A block that reaches from one repeat of an axis into the next is put in order behind it."""
    data, known = site.layout(0), site.constant(1)
    if data is None or known is None or known.dtype == object:
        return
    given = {}
    for axis, times in enumerate(known.ravel().tolist()):
        here = site.source(data, axis) if times > 1 and data.on(axis) else None
        if here is not None:
            given[axis] = (np.arange(times)[:, None] * int(str(data.size(axis))) + here).ravel()
    site.reorder(given)
