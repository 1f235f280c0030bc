"""What is left of the inputs from the first layer to the last (CNAS, table 1): by layer, by cell, by tensor.

A cell is what comes before the first number in a layer's name, with the number: cells.3, blocks.0, layer1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from chanc.report.plots import Axis, HeatMap, Number, Plot, Section, Series
from chanc.report.record import Record
from chanc.report.sections import register
from chanc.report.sections._common import GREY, ONCE, ROLES
from chanc.runs.edges import Part, parts

Counts = Mapping[str, tuple[int, int]]
"""Inputs at the end and at first, by layer, cell or tensor."""


@register("edge-cells", order=22)
def edge_cell_section(record: Record) -> Section | None:
    """Share of its inputs that each layer and each cell keeps, and of each tensor what the layers of a cell keep."""
    if not record.edges:
        return None
    first, last = record.edges[0].counts, record.edges[-1].counts
    layers = {name: (last.get(name, 0), count) for name, count in first.items()}
    cells = _summed(layers)
    plots: list[Plot | HeatMap] = [_shares("layers", layers), _shares("cells", cells), _counts(cells)]
    found = parts(record.edges, record.kept)
    plots += [_tensors(found)] if found else []
    least = min(layers, key=lambda name: layers[name][0] / max(layers[name][1], 1))
    text = (f"How much of what it could read each layer still reads at the end. The least keeps {layers[least][0]} of "
            f"{layers[least][1]}: {least}.")  # fmt: skip
    return Section("edge-cells", "What layers read", text, plots)


def cell_of(name: str) -> str:
    """The cell of a weight, a group or a node, by its name."""
    words = re.split(r"[./]", name.strip("/"))
    number = next((place for place, word in enumerate(words) if word[-1:].isdigit()), 0)
    return ".".join(words[: number + 1])


def _summed(layers: Counts) -> Counts:
    """A cell stands where its last layer does: what shrinks its input may come before the layers of the cell before."""
    found: dict[str, tuple[int, int]] = {}
    for name, (left, whole) in layers.items():
        before = found.pop(cell_of(name), (0, 0))
        found[cell_of(name)] = (before[0] + left, before[1] + whole)
    return found


def _shares(what: str, counts: Counts) -> Plot:
    """A point a layer or cell, in the order of the graph."""
    labels = [f"{name}: {left} of {whole}" for name, (left, whole) in counts.items()]
    values = [round(100 * left / whole, 2) if whole else None for left, whole in counts.values()]
    series = Series("inputs kept", range(1, len(counts) + 1), values, ROLES["found"], labels, marker="circle")
    return Plot(f"edge-{what}", f"By {what[:-1]}", Axis(f"{what}, first to last in the graph"),
                Axis("inputs kept", "%"), [series], note=ONCE)  # fmt: skip


def _counts(cells: Counts) -> Plot:
    """The paper's |x*| beside |x|."""
    places, names = range(1, len(cells) + 1), list(cells)
    series = [
        Series(title, places, [count[at] for count in cells.values()], colour, names, marker="circle", dash=at > 0)
        for at, title, colour in ((0, "at the end", ROLES["found"]), (1, "at first", GREY))
    ]
    return Plot("edge-counts", "Inputs of each cell", Axis("cells, first to last in the graph"), Axis("inputs"), series,
                note=ONCE)  # fmt: skip


def _tensors(found: list[Part]) -> HeatMap:
    """Rows: the cells whose layers read; columns: the tensors that they read, the cell's own ones first."""
    sums: dict[str, dict[str, tuple[int, int]]] = {}
    for part in found:
        cell = cell_of(part.reader)
        row = sums[cell] = sums.pop(cell, {})
        kept, of = row.get(part.group, (0, 0))
        row[part.group] = (kept + part.kept, of + part.of)
    most = max(map(len, sums.values()))
    values = [[*_read(cell, row), *[None] * (most - len(row))] for cell, row in sums.items()]
    return HeatMap("edge-tensors", "By cell and tensor", Axis("tensor that the cell's layers read, its own ones first"),
                   Axis("cell that reads"), Axis("read of it", "%"), list(sums), range(1, most + 1), values,
                   note="Of the layers that dropped anything.")  # fmt: skip


def _read(cell: str, row: Counts) -> list[Number]:
    """The share that is read of each tensor, those of the cell itself first."""
    own_first = sorted(row, key=lambda group: cell_of(group) != cell)
    return [round(100 * kept / of, 2) if of else None for kept, of in map(row.__getitem__, own_first)]
