"""The free check of every rule: the rewritten model, analysed again, must agree with what was done to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis
from chanc.analysis.dims import Dim
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.findings import Findings
from chanc.analysis.layout import Factors, Layout, axis_labels, merge
from chanc.analysis.run import visit_model
from chanc.analysis.solve import solve
from chanc.errors import VerifyError
from chanc.ir.nodes import called
from chanc.rewriter.axis_maps import Resize
from chanc.rewriter.parameters import Place


class Misfit(VerifyError):
    """The second analysis disagrees; `labels` are those, of the first one, at which it does."""

    def __init__(self, message: str, labels: IntArray) -> None:
        super().__init__(message)
        self.labels = labels


def check_against(
    before: Analysis,
    model: ir.Model,
    structure: dict[Place, IntArray],
    resize: Resize | None = None,
    unordered: Collection[ir.Value] = (),
) -> None:
    """Analyse the rewritten model as the first one was, and compare.

    Raises Misfit where the second analysis finds other sizes, or unites what does not descend from one channel.
    `structure` gives the old position of each new one for the parameter axes that changed; with `resize` the order of
    repeated blocks is compared between the parameters as well, but for `unordered` values.
    """
    findings = visit_model(model, before.findings.modes, before.findings.open_data)
    units = solve(findings)
    worse = [node for node in findings.opaque if node not in before.findings.opaque]
    if worse:
        node = worse[0]
        why = f"after the rewrite {node.op_type} '{called(node)}' is not understood: {findings.opaque[node]}"
        raise Misfit(why, around(before.findings, node))
    found = {(node, i, p.axis): p.labels for p in findings.parameters for node, i in p.uses}
    origin = _origin(before, structure) if resize is None or resize.grows else before.units.unit
    # All axes that had one line of labels and have one again say the same.
    seen: set[tuple[int, int, int]] = set()
    descent: list[IntArray] = []
    channel: list[IntArray] = []
    alone = [units.channel[p.labels] for p in findings.parameters if p.labels.size == 1]
    for parameter in before.findings.parameters:
        for node, index in parameter.uses:
            if node.graph is None:
                continue  # nothing read it
            labels = found.get((node, index, parameter.axis))
            source = structure.get((node, index, parameter.axis))
            size = parameter.labels.size if source is None else source.size
            if labels is None and size == 1:
                continue
            if labels is None or labels.size != size:
                why = f"after the rewrite {node.op_type} '{called(node)}' has another width at input {index}"
                raise Misfit(why, parameter.labels)
            key = (id(parameter.labels), id(source), id(labels))
            if key in seen:
                continue
            seen.add(key)
            channel.append(units.channel[labels])
            descent.append(origin[parameter.labels if source is None else parameter.labels[source]])
    if resize is not None:
        for old, labels in _blocks(before, findings, resize, unordered):
            if old.size != labels.size:
                raise Misfit("the rewritten model has a tensor of another width than its neighbours", old)
            channel.append(units.channel[labels])
            descent.append(origin[old])
    now, then = np.concatenate(channel), np.concatenate(descent)
    # An axis of one channel meets others by broadcasting, which says nothing of their order.
    told = ~np.isin(now, np.concatenate(alone)) if alone else np.ones(now.size, dtype=bool)
    _one_source(now[told], then[told])


def around(findings: Findings, node: ir.Node) -> IntArray:
    """The labels of all tensors that a node reads or makes."""
    uses = [(value, (node, index)) for index, value in enumerate(node.inputs) if value is not None]
    fields = [field for value, _ in uses for field in findings.fields_of(value)]
    fields += [field for value in node.outputs for field in findings.fields_of(value)]
    for value, use in uses:
        seen = findings.initializers.seen(value, use) if value.const_value is not None else None
        fields += seen.fields if seen is not None else ()
    return np.concatenate([np.empty(0, dtype=np.int64), *(field.labels.ravel() for field in fields)])


def _blocks(
    before: Analysis, findings: Findings, resize: Resize, unordered: Collection[ir.Value]
) -> Iterator[tuple[IntArray, IntArray]]:
    """(old labels, new labels) along each axis of an activation on which blocks of several positions are repeated."""
    if not resize.grows:
        return
    seen: set[tuple[int, int, Factors]] = set()
    for value, layout in before.findings.layouts.items():
        after = findings.layouts.get(value) if value not in unordered else None
        for field in layout.fields:
            axis = resize.axis(field)
            if axis is None or after is None or len(after.on(axis)) != 1 or len(layout.on(axis)) != 1:
                continue
            if any(isinstance(size, Dim) for size in (*layout.axes[axis], *after.axes[axis])):
                continue
            found = after.on(axis)[0]
            key = (id(field.labels), id(found.labels), layout.axes[axis])
            if key in seen:
                continue
            seen.add(key)
            units = resize.unit[_along(layout, axis)]
            if ((units[1:] == units[:-1]) & (resize.copies[units[1:]] > 1)).any():
                source = resize.source(layout, axis)
                assert source is not None
                yield _along(layout, axis)[source], _along(after, axis)


def _along(layout: Layout, axis: int) -> IntArray:
    (field,) = merge(layout, axis).on(axis)
    return axis_labels(field, axis)[:, 0]


def _origin(before: Analysis, structure: dict[Place, IntArray]) -> IntArray:
    """What must not be mixed: [labels]. A unit that is repeated keeps its channels apart; any other keeps its order."""
    repeated = np.zeros(before.units.unit.size, dtype=bool)
    seen: set[tuple[int, int]] = set()
    for parameter in before.findings.parameters:
        for node, index in parameter.uses:
            source = structure.get((node, index, parameter.axis))
            if source is not None and (id(parameter.labels), id(source)) not in seen:
                seen.add((id(parameter.labels), id(source)))
                again = np.flatnonzero(np.bincount(source, minlength=parameter.labels.size) > 1)
                repeated[before.units.unit[parameter.labels[again]]] = True
    return np.where(repeated[before.units.unit], before.units.channel, before.units.unit)


def _one_source(channel: IntArray, descent: IntArray) -> None:
    """Positions that are one channel now must all descend from one channel, or unit."""
    order = np.argsort(channel, kind="stable")
    channel, descent = channel[order], descent[order]
    mixed = (np.diff(channel) == 0) & (np.diff(descent) != 0)
    if mixed.any():
        both = np.concatenate([descent[1:][mixed], descent[:-1][mixed]])
        raise Misfit("the rewritten model would mix channels: its order can't be kept at these widths", both)
