"""A sweep's axes one by one: accuracy and size against each option that it varies (the ablations of CONet).

A line joins the cells that differ in the option alone; a point is the mean over their seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chanc.report.colours import depth_colour
from chanc.report.plots import Axis, Plot, Section, Series, scaled
from chanc.report.record import Record
from chanc.report.sections import register
from chanc.report.sections._common import spread
from chanc.report.swept import SweptCell, mean_and_error, titled, varied, word

Line = tuple[str, tuple[tuple[str, str], ...]]
Reading = Callable[[SweptCell], float | None]
WIDE = 20.0
"""Values that are farther apart than this factor stand on a logarithmic axis."""


@register("axes", order=12)
def axes_section(record: Record) -> Section | None:
    """Accuracy, parameters and MACs of what the cells of a sweep found, against every option that varies."""
    names = varied(record.cells)
    plots = [plot for name in names for plot in _plots(name, names, record.cells)]
    text = "A line joins cells that differ in this option alone, and by their seeds, over which a point is the mean."
    return Section("axes", "Options of the sweep", text, plots) if plots else None


def _plots(name: str, names: Sequence[str], cells: Sequence[SweptCell]) -> list[Plot]:
    """Those of one option; sizes that are all alike are no picture."""
    own = [cell for cell in cells if name in cell.result.axes]
    final = any(cell.final is not None for cell in own)
    top1 = "top-1 after final training" if final else "held-out top-1 of the best trial"
    readings: list[tuple[str, Axis, Reading]] = [
        ("top1", Axis(top1, "%"), lambda cell: _percent(cell.final if final else cell.figures.get("score"))),
        *((key, Axis(unit), _count(key)) for key, unit in (("params", "parameters"), ("macs", "MACs"))),
    ]
    plots = []
    for key, y, read in readings:
        known = [(cell, value) for cell in own if (value := read(cell)) is not None]
        if known and (key == "top1" or len({value for _, value in known}) > 1):
            plots.append(_plot(name, [other for other in names if other != name], key, y, known))
    return plots


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _count(key: str) -> Reading:
    def read(cell: SweptCell) -> float | None:
        row = cell.result.rows.get("found")
        count: float | None = getattr(row, key) if row is not None else None
        return count

    return read


def _plot(name: str, others: Sequence[str], key: str, y: Axis, known: Sequence[tuple[SweptCell, float]]) -> Plot:
    x, place = _places(name, [cell for cell, _ in known])
    divisor, said = scaled(max(value for _, value in known)) if key != "top1" else (1.0, y.unit)
    lines: dict[Line, dict[float, list[float]]] = {}
    for cell, value in known:
        points = lines.setdefault(_line(cell, others), {})
        points.setdefault(place[word(cell.result.axes[name])], []).append(value / divisor)
    shown = [_series(of, lines[of], depth_colour(index, len(lines))) for index, of in enumerate(sorted(lines))]
    counts = [len(values) for points in lines.values() for values in points.values()]
    return Plot(f"axis-{name}-{key}", f"{name}: {y.label}", x, Axis(y.label, said), shown, note=spread(counts))


def _line(cell: SweptCell, others: Sequence[str]) -> Line:
    algo, options = cell.setting
    return algo, tuple((option, value) for option, value in options if option in others)


def _series(of: Line, points: dict[float, list[float]], colour: str) -> Series:
    xs = sorted(points)
    means = [mean_and_error(points[x]) for x in xs]
    labels = [f"n = {len(points[x])}" for x in xs]
    return Series(titled(*of), xs, [mean for mean, _ in means], colour, labels, line=len(xs) > 1, marker="circle",
                  errors=[error for _, error in means])  # fmt: skip


def _places(name: str, cells: Sequence[SweptCell]) -> tuple[Axis, dict[str, float]]:
    """Where the values stand on the axis: numbers at themselves, all others numbered as they come."""
    values = {word(cell.result.axes[name]): cell.result.axes[name] for cell in cells}
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values()):
        places = {said: float(value) for said, value in values.items()}
        low, high = min(places.values()), max(places.values())
        return Axis(name, log=low > 0 and high / low > WIDE), places
    numbered = {said: float(number) for number, said in enumerate(values, 1)}
    return Axis(f"{name}: " + ", ".join(f"{number:g} is {said}" for said, number in numbered.items())), numbered
