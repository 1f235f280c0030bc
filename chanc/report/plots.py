"""Plots as data: what the page's script and matplotlib draw is described once, here and in `sections`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chanc.report.colours import depth_colour

Number = float | int | None
Marker = Literal["", "circle", "square", "diamond", "triangle"]


@dataclass(frozen=True)
class Axis:
    """An axis: what it shows and in which unit ("" for a count or a ratio)."""

    label: str
    unit: str = ""
    log: bool = False

    @property
    def text(self) -> str:
        """The axis's name with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True)
class Series:
    """A line or a set of points. `labels`: one text a point for the tooltip. `dash`: a guide, not a measurement.

    `lead`: stands out from the other lines, in front of them. `errors`: half the length of each point's error bar, None
    for a point that has none. `low`, `high`: the borders of a band that the line runs in.
    """

    name: str
    x: Sequence[Number]
    y: Sequence[Number]
    colour: str
    labels: Sequence[str] = ()
    line: bool = True
    marker: Marker = ""
    dash: bool = False
    lead: bool = False
    errors: Sequence[Number] = ()
    low: Sequence[Number] = ()
    high: Sequence[Number] = ()


@dataclass(frozen=True)
class Reference:
    """A reference line at a value of one axis, with its source."""

    axis: Literal["x", "y"]
    value: float
    label: str
    source: str = ""


@dataclass(frozen=True)
class Plot:
    """Lines and points in one pair of axes.

    `ordered`: what the series are, where they stand in an order (depth) that the colours show. `mapped`: the page also
    offers the series as a heat map.
    """

    id: str
    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    references: Sequence[Reference] = ()
    ordered: str = ""
    mapped: bool = False
    note: str = ""

    def data(self) -> dict[str, Any]:
        """Return the plot as JSON data for the page: xs where all series share their x, six digits a number."""
        first = self.series[0].x if self.series else []
        shared = _short(first) if all(line.x is first for line in self.series) else None
        return {
            "kind": "lines",
            "id": self.id,
            "title": self.title,
            "note": self.note,
            "ordered": self.ordered,
            "mapped": self.mapped,
            "x": {"text": self.x.text, "log": self.x.log},
            "y": {"text": self.y.text, "log": self.y.log},
            "xs": shared,
            "series": [
                {**vars(line), "x": None if shared is not None else _short(line.x), "y": _short(line.y),
                 "errors": _short(line.errors), "low": _short(line.low), "high": _short(line.high)}
                for line in self.series
            ],
            "references": [vars(reference) for reference in self.references],
        }


@dataclass(frozen=True)
class HeatMap:
    """A table of values as colours: `values[row][column]`. `value`: what the colour shows."""

    id: str
    title: str
    x: Axis
    y: Axis
    value: Axis
    rows: Sequence[str]
    columns: Sequence[Number]
    values: Sequence[Sequence[Number]]
    note: str = ""

    def data(self) -> dict[str, Any]:
        """Return the heat map as JSON data for the page."""
        return {
            "kind": "heat",
            "id": self.id,
            "title": self.title,
            "note": self.note,
            "x": {"text": self.x.text},
            "y": {"text": self.y.text},
            "value": {"text": self.value.text, "log": self.value.log},
            "rows": list(self.rows),
            "columns": list(self.columns),
            "values": [_short(row) for row in self.values],
        }


@dataclass(frozen=True)
class Section:
    """A heading of the report with one or more plots; several are views of the same matter, shown one at a time."""

    id: str
    title: str
    text: str
    plots: Sequence[Plot | HeatMap]

    def data(self) -> dict[str, Any]:
        """Return the section as JSON data for the page."""
        return {"id": self.id, "title": self.title, "text": self.text, "plots": [plot.data() for plot in self.plots]}


def scaled(largest: float) -> tuple[float, str]:
    """Return the divisor and the word that make counts up to `largest` short: (1e6, "millions")."""
    for divisor, word in ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands")):
        if largest >= divisor:
            return divisor, word
    return 1.0, ""


def by_depth(names: Sequence[str], xs: Sequence[Number], rows: Sequence[Sequence[Number]]) -> list[Series]:
    """Return one line a name, coloured from the first to the last."""
    return [
        Series(name, xs, row, depth_colour(index, len(names)), marker="circle" if len(xs) < 2 else "")
        for index, (name, row) in enumerate(zip(names, rows, strict=True))
    ]


def _short(values: Sequence[Number]) -> list[Number]:
    return [float(f"{value:.6g}") if isinstance(value, float) else value for value in values]
