"""Which channels anything reads, where some consumers don't take all of theirs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis
from chanc.analysis.disjoint_set import IntArray
from chanc.rewriter.edges.cuts import is_cut
from chanc.rewriter.edges.lines import line, units_of
from chanc.rewriter.edges.plan import Mask, Place

Columns = Mapping[Place, Mask]
"""The columns of a weight that are kept, by its node and input: [size]."""


def read_units(analysis: Analysis, columns: Columns, behind: Mask | None = None) -> Mask:
    """Whether a unit is read by something that makes other channels of it, or none, out of it: [labels].

    A consumer reads the columns that are kept of its weight, a Cut what is kept of the units `behind` it, a node that
    passes channels on reads none itself.
    """
    unit = analysis.units.unit
    read = np.zeros(unit.size, dtype=bool)
    taken: dict[ir.Node, list[IntArray]] = {}
    for parameter in analysis.findings.parameters:
        if parameter.role == "consumer":
            units = unit[parameter.labels]
            for place in parameter.uses:
                taken.setdefault(place[0], []).append(units)
                read[units[columns[place]] if place in columns else units] = True
    for value in analysis.findings.layouts:
        _mark(analysis, value, taken, read)
        maker = value.producer()
        if maker is not None and is_cut(maker) and behind is not None:
            before, after = (line(analysis, end) for end in (maker.inputs[0], value))
            read[before[behind[after]]] = True
    for value in analysis.findings.sequences:
        read[units_of(analysis, value)] = True
    return read


def _mark(analysis: Analysis, value: ir.Value, taken: Mapping[ir.Node, list[IntArray]], read: Mask) -> None:
    """Mark what the readers of a value neither take by a weight nor pass on."""
    mine = units_of(analysis, value)
    if not mine.size:
        return
    if value.is_graph_output():
        read[mine] = True
    for node, _ in value.uses():
        if is_cut(node) or node.op_type == "Shape":
            continue
        passed = [*taken.get(node, ()), *(units_of(analysis, output) for output in node.outputs)]
        read[np.setdiff1d(mine, np.concatenate(passed))] = True
