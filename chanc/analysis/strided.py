"""Gather from a flattened tensor at computed positions: how exporters write a strided view (torch's as_strided).

The indices are a sum over their axes: a table of numbers along each axis of known size, a range times a step along one
of unknown size (the batch). Seen as digits over the factors of the flattened axis, each labelled factor is read along
one axis of the result, whole or in part; then the channels are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from chanc.analysis import dims
from chanc.analysis.dims import Dim, Size
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.findings import Findings
from chanc.analysis.layout import Factors, Field, Layout, factors_of


@dataclass(frozen=True, slots=True)
class Run:
    """0, step, 2 * step, ... along an axis of unknown size; `value` is the Range that counts it."""

    value: ir.Value
    size: Size
    step: int


Term = IntArray | Run
Terms = dict[int, Term]
"""What the indices add up from, by axis counted from the right (-1 is the last one)."""


@dataclass(frozen=True, slots=True)
class View:
    """`digits[k][a]` are the positions on factor k of the flattened axis that axis a (from the left) adds, [size of a].

    `runs` has the axes of unknown size: the range, and the one factor that it runs over.
    """

    sizes: tuple[Size, ...]
    digits: tuple[dict[int, IntArray], ...]
    runs: dict[int, tuple[Run, int]]

    def __repr__(self) -> str:
        return f"<View: {' x '.join(map(str, self.sizes))} of {len(self.digits)} factors>"


def find_view(findings: Findings, layout: Layout, index: ir.Value, rank: int) -> View | None:
    """How indices of that rank read the flattened tensor `layout` [size]; None where that is not understood."""
    terms = _terms(findings, index)
    factors = layout.axes[0]
    if terms is None or any(isinstance(size, Dim) for size in factors[1:]) or min(terms, default=-1) < -rank:
        return None
    strides = [int(str(dims.product(factors[k + 1 :]))) for k in range(len(factors))]
    digits: tuple[dict[int, IntArray], ...] = tuple({} for _ in factors)
    sizes: list[Size] = [1] * rank
    runs: dict[int, tuple[Run, int]] = {}
    for axis, term in ((axis + rank, term) for axis, term in terms.items()):
        if isinstance(term, Run):
            if factors[0] != term.size or term.step != strides[0] or runs:
                return None
            runs[axis] = (term, 0)
            sizes[axis] = term.size
            continue
        sizes[axis] = term.size
        rest = term
        for k, stride in enumerate(strides):
            if (rest // stride).any():
                digits[k][axis] = rest // stride
            rest = rest % stride
    found = View(tuple(sizes), digits, runs)
    return found if _fits(layout, found) else None


def _fits(layout: Layout, view: View) -> bool:
    """Whether digits never carry, and each labelled factor is read along one axis."""
    varying = {slot[1] for field in layout.fields for slot in field.slots}
    for k, (size, parts) in enumerate(zip(layout.axes[0], view.digits, strict=True)):
        run = any(factor == k for _, factor in view.runs.values())
        if any((part < 0).any() for part in parts.values()) or (run and (parts or k in varying)):
            return False
        if parts and (isinstance(size, Dim) or sum(int(part.max()) for part in parts.values()) >= size):
            return False
        if k in varying and len(parts) != 1:
            return False
    return True


def viewed(layout: Layout, view: View) -> Layout:
    """The layout of what is read."""
    fields = []
    for field in layout.fields:
        axes = sorted({axis for _, k in field.slots for axis in view.digits[k]})
        places = []
        for _, k in field.slots:
            ((axis, digits),) = view.digits[k].items()
            places.append(digits.reshape([-1 if a == axis else 1 for a in axes]))
        fields.append(Field(tuple((axis, 0) for axis in axes), field.labels[tuple(places)]))
    on = {axis for field in fields for axis in field.axes}
    sizes: list[Factors] = [(n,) if axis in on else factors_of(n) for axis, n in enumerate(view.sizes)]
    return Layout(tuple(sizes), tuple(fields), layout.why)


def _terms(findings: Findings, value: ir.Value | None) -> Terms | None:
    if value is None:
        return None
    known = findings.data.get(value)
    if known is None and value.const_value is not None:
        known = value.const_value.numpy()
    if known is not None:
        return _table(np.asarray(known, dtype=np.int64)) if known.dtype != object else None
    node = value.producer()
    if node is None or node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "Range":
        return _range(findings, node, value)
    inputs = [_terms(findings, v) for v in node.inputs[: 2 if node.op_type in ("Add", "Mul") else 1]]
    terms = [t for t in inputs if t is not None]
    if len(terms) < len(inputs):
        return None
    if node.op_type == "Add":
        return _sum(*terms)
    if node.op_type == "Mul":
        return _times(*terms)
    if node.op_type in ("Cast", "Identity"):
        return terms[0]
    return _moved(findings, node, terms[0]) if node.op_type in ("Reshape", "Unsqueeze") else None


def _table(array: IntArray) -> Terms | None:
    """Numbers that add up from one table an axis, of which the last holds what all have in common."""
    if not array.size:
        return None
    long = [axis for axis in range(array.ndim) if array.shape[axis] > 1] or [-1]
    found: Terms = {}
    total = np.full([1] * array.ndim, array.min())
    for axis in long:
        line = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)[:, 0] if array.ndim else array.reshape(1)
        line = line - line.min()
        if array.ndim:
            total = total + line.reshape([-1 if k == axis % array.ndim else 1 for k in range(array.ndim)])
        found[axis - array.ndim if axis >= 0 else axis] = line + (array.min() if axis == long[-1] else 0)
    return found if np.array_equal(np.broadcast_to(total, array.shape), array) else None


def _range(findings: Findings, node: ir.Node, value: ir.Value) -> Terms | None:
    """Range(0, limit, 1)."""
    known = [findings.data.get(v) if v is not None else None for v in node.inputs]
    numbers = [
        v.const_value.numpy() if found is None and v is not None and v.const_value is not None else found
        for v, found in zip(node.inputs, known, strict=True)
    ]
    parts = [array.ravel().tolist() for array in numbers if array is not None]
    if len(parts) != 3 or any(len(part) != 1 for part in parts) or parts[0] != [0] or parts[2] != [1]:
        return None
    return {-1: Run(value, parts[1][0], 1)}


def _sum(left: Terms, right: Terms) -> Terms | None:
    found = dict(left)
    for axis, term in right.items():
        mine = found.get(axis)
        if mine is None:
            found[axis] = term
        elif isinstance(mine, Run) or isinstance(term, Run):
            run, table = (mine, term) if isinstance(mine, Run) else (term, mine)
            if isinstance(table, Run) or table.any():
                return None
            found[axis] = run
        else:
            found[axis] = mine + term
    return found


def _times(left: Terms, right: Terms) -> Terms | None:
    """One side is a single number."""
    for terms, number in ((left, right), (right, left)):
        by = number.get(-1)
        if len(number) == 1 and not isinstance(by, Run) and by is not None and by.size == 1:
            n = int(by[0])
            return {
                axis: Run(t.value, t.size, t.step * n) if isinstance(t, Run) else t * n for axis, t in terms.items()
            }
    return None


def _moved(findings: Findings, node: ir.Node, terms: Terms) -> Terms | None:
    """A vector along another axis, by a Reshape or Unsqueeze of it."""
    source = findings.layouts.get(node.inputs[0]) if node.inputs[0] is not None else None
    layout = findings.layouts.get(node.outputs[0])
    if list(terms) != [-1] or source is None or source.rank != 1 or layout is None:
        return None
    long = [axis - layout.rank for axis in range(layout.rank) if layout.size(axis) != 1]
    return {long[0]: terms[-1]} if len(long) == 1 else None
