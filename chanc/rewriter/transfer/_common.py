"""What transfer methods share: what one is, the registry, values at the sources of new positions, and fresh ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.analysis.disjoint_set import IntArray
from chanc.errors import PlanError
from chanc.ops import Fill
from chanc.registry import Registry
from chanc.rewriter.edits import AxisEdit, Part

Tensor = NDArray[np.generic]
TABLE_DEVIATION = 0.02
SLICE = 1 << 18
"""Entries of a weight that are worked on at a time."""
BLOCK = 1 << 20
"""Bytes of rows that are moved at a time."""


class Use(NamedTuple):
    """How a tensor is used.

    fill: what a fresh one is filled with, None where nobody trains it. fan_in: from its shape. zero: what a stored 0
    is, broadcast to the old tensor: the zero point of a quantised one.
    """

    fill: Fill | None = None
    fan_in: Callable[[tuple[int, ...]], int] = math.prod
    zero: Tensor | None = None


KEPT = Use()
NOWHERE: Mapping[int, IntArray] = MappingProxyType({})


def take(
    tensor: Tensor, edits: Sequence[AxisEdit], empty: Mapping[int, IntArray] = NOWHERE, zero: Tensor | None = None
) -> Tensor:
    """A new tensor with the source's value at every position; 0 at those of axes that are `empty`.

    Or what `zero`, that of `Use`, has there. A large tensor is filled some rows at a time: what is in between stays in
    the processor's cache.
    """
    sources = {edit.axis: edit.source for edit in edits}
    if tensor.nbytes < BLOCK or not edits:
        taken = _cleared(_along(tensor[sources.pop(0)] if 0 in sources else tensor, sources), empty)
    else:
        taken = (np.zeros if 0 in empty else np.empty)(resized(tensor, edits), tensor.dtype)
        filled = np.delete(np.arange(len(taken)), empty.get(0, ()))
        rows = sources.pop(0)[filled] if 0 in sources else filled
        inside = {axis: places for axis, places in empty.items() if axis}
        for start, part in row_blocks(tensor, rows):
            taken[filled[start : start + len(part)]] = _cleared(_along(part, sources), inside)
    return taken if zero is None or not empty else _cleared(taken, empty, take(zero, edits))


def resized(tensor: Tensor, edits: Sequence[AxisEdit]) -> tuple[int, ...]:
    """The shape of the new tensor."""
    sizes = {edit.axis: edit.source.size for edit in edits}
    return tuple(sizes.get(axis, size) for axis, size in enumerate(tensor.shape))


def _along(tensor: Tensor, sources: Mapping[int, IntArray]) -> Tensor:
    for axis, source in sources.items():
        tensor = np.take(tensor, source, axis=axis)
    return tensor


def _cleared(tensor: Tensor, empty: Mapping[int, IntArray], nothing: Tensor | None = None) -> Tensor:
    """The tensor, changed: 0, or what is in `nothing`, at positions of axes."""
    for axis, places in empty.items():
        place = (slice(None),) * axis + (places,)
        tensor[place] = 0 if nothing is None else nothing[place]
    return tensor


def row_blocks(tensor: Tensor, rows: IntArray) -> Iterator[tuple[int, Tensor]]:
    """Copies of rows of a tensor, as many at a time as a cache holds, and where in `rows` they begin.

    By an index, not by `np.take`, which copies the whole tensor first where that lies at an odd place in a file.
    """
    step = max(BLOCK * tensor.shape[0] // max(tensor.nbytes, 1), 1)
    for start in range(0, rows.size, step):
        yield start, tensor[rows[start : start + step]]


def draw(tensor: Tensor, use: Use, rng: np.random.Generator, shape: tuple[int, ...], whole: tuple[int, ...]) -> Tensor:
    """What a part of this shape of a trained tensor begins with, as its operator's spec (`chanc.ops`) says.

    tensor: the old one. whole: the new one's shape. Weights are drawn normal with variance 2 / fan-in (He et al. 2015),
    tables of vectors with deviation 0.02, biases are 0, norms scale by 1. Quantised weights are drawn from the old
    ones, so that their scales still fit.
    """
    if not isinstance(use.fill, str):
        return np.full(shape, use.fill, tensor.dtype)
    if not ir.DataType.from_numpy(tensor.dtype).is_floating_point():
        return tensor.ravel()[rng.integers(max(tensor.size, 1), size=shape)]
    deviation = TABLE_DEVIATION if use.fill == "normal" else np.sqrt(2.0 / use.fan_in(whole))
    if tensor.dtype == np.float64:
        return rng.standard_normal(shape) * deviation
    drawn = np.empty(math.prod(shape), tensor.dtype)
    for start in range(0, drawn.size, SLICE):
        some = drawn[start : start + SLICE]
        numbers = rng.standard_normal(some.size, dtype=np.float32)
        np.multiply(numbers, np.float32(deviation), out=some, casting="unsafe")
    return drawn.reshape(shape)


def alone(part: Part) -> bool:
    """Whether the first copy of a part keeps its consumers' weights: others can't have shares."""
    return not part.divisible


def share_out(
    taken: Tensor,
    edits: Sequence[AxisEdit],
    share: Callable[[Part], NDArray[np.float64]],
    whole: Callable[[Part], bool] = alone,
) -> Tensor:
    """What was taken, with consumers' weights shared out among copies: `share` is the part of each new unit, [n'].

    Copies add up to the weight to the last bit. A part that stays whole isn't shared. Changes `taken`, a slice at a
    time: what is in between takes eight times as much memory as what it is made of.
    """
    for edit in edits:
        for part in edit.parts if edit.role == "consumer" and edit.repeats else ():
            if part.repeats and not whole(part):
                again = part.copies > 1
                part = replace(part, new=part.new[again], source=part.source[again])
                shares = share(part)
                halves = taken.dtype.kind == "f" and (np.frexp(shares)[0] == 0.5).all()
                if halves:  # no digit is lost, and nothing is left for the last copy
                    _scale(taken, edit.axis, part.new, shares)
                    continue
                for values in _slices(np.moveaxis(taken, edit.axis, 0)):
                    shared = _exactly(values[part.new].astype(np.float64), part, shares, taken.dtype)
                    values[part.new] = shared.astype(taken.dtype)
    return taken


def _scale(taken: Tensor, axis: int, places: IntArray, by: NDArray[np.float64]) -> None:
    """Multiply what is at rows of places [n', k] along an axis by a number a row."""
    factors = np.ones(taken.shape[axis])
    factors[places] = by[:, None]
    np.multiply(taken, factors.astype(taken.dtype).reshape(-1, *[1] * (taken.ndim - 1 - axis)), out=taken)


def _slices(values: Tensor) -> Iterator[Tensor]:
    """Views of values [n, m, ...], cut along m, of about `SLICE` entries each."""
    if values.ndim == 1:
        yield values
        return
    step = max(SLICE * values.shape[1] // max(values.size, 1), 1)
    for start in range(0, values.shape[1], step):
        yield values[:, start : start + step]


def _exactly(
    values: NDArray[np.float64], part: Part, shares: NDArray[np.float64], dtype: np.dtype[np.generic]
) -> NDArray[np.float64]:
    """Shares of values [n', ...] that have no digit below the last one of the value; the last copy gets what is left.

    A sum of rounded shares would be off by a digit, of which a deep network may make a thousand. Halves are no trouble.
    """
    each = shares.reshape(-1, *[1] * (values.ndim - 1))
    shared = values * each
    whole = np.frexp(each)[0] == 0.5
    if not (whole | (each == 0)).all():
        digits = ml_dtypes.finfo(dtype).nmant  # type: ignore[no-untyped-call]
        digit = np.ldexp(1.0, np.frexp(values)[1] - 1 - digits)
        shared = np.where(whole, shared, np.rint(shared / digit) * digit)
    missing = np.zeros((part.old.shape[0], *values.shape[1:]))
    for turn in range(int(part.turn.max()) + 1):
        copies = part.turn == turn
        missing[part.source[copies]] -= shared[copies]
    last = part.turn == part.copies - 1
    shared[last] += missing[part.source[last]] + values[last]
    return shared


def first_alone(part: Part) -> NDArray[np.float64]:
    """Shares of copies r = 0, 1, ... of k: 1 for the first, (r - k / 2) / k^2 for the others, which cancel out.

    A second copy gets 0. Two others with 0 would be twins, with the same gradients for ever.
    """
    later = (part.turn - part.copies / 2) / part.copies**2.0
    return np.where(part.turn > 0, later, 1.0)


def unread(edits: Sequence[AxisEdit], whole: Callable[[Part], bool] = alone) -> dict[int, IntArray]:
    """By axis, the positions of second and later copies in consumers, for the parts that stay whole."""
    readers = [edit for edit in edits if edit.role == "consumer" and edit.repeats]
    return {edit.axis: repeated(filter(whole, edit.parts)) for edit in readers}


def repeated(parts: Iterable[Part]) -> IntArray:
    """The positions of all second and later copies."""
    return np.concatenate([np.empty(0, dtype=np.int64), *(part.later for part in parts)])


Transfer = Callable[[Tensor, Sequence[AxisEdit], Use, np.random.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class Method:
    """A transfer method.

    ordered: units are kept from the first on. fresh: every weight is drawn anew. draws: so are those of units that are
    new. keeps: the function stays where units are repeated; where all groups are scaled, those of which that isn't true
    are left alone. takes: where no unit is repeated, the values are those of `take`, and a large tensor may wait until
    it is asked for.
    """

    name: str
    apply: Transfer
    ordered: bool = False
    fresh: bool = False
    draws: bool = False
    keeps: bool = False
    takes: bool = False


TRANSFERS: Registry[Method] = Registry("transfer", "chanc.transfers", __package__ or "", error=PlanError)


def register(
    name: str,
    *,
    ordered: bool = False,
    fresh: bool = False,
    draws: bool = False,
    keeps: bool = False,
    takes: bool = False,
) -> Callable[[Transfer], Transfer]:
    """Decorator: make a function a transfer method, its flags those of `Method`. PlanError where the name is taken."""

    def add(apply: Transfer) -> Transfer:
        TRANSFERS.add(name, Method(name, apply, ordered, fresh, draws, keeps, takes), source=apply)
        return apply

    return add
