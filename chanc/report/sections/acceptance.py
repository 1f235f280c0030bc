"""The acceptance function of simulated annealing (CONetV2, figure 8)."""

from __future__ import annotations

import math
from itertools import pairwise

from chanc.report.colours import depth_colour
from chanc.report.plots import Axis, Number, Plot, Section, Series
from chanc.report.record import Record, finite
from chanc.report.sections import register

ALPHA = 5.0
STEPS = [0.02 * step for step in range(51)]
CHANGE, ZETA = Axis("change of the group's metric, |dm|"), Axis("ζ, probability and added step")


@register("acceptance", order=50)
def acceptance_section(record: Record) -> Section | None:
    """The acceptance function of simulated annealing, zeta = exp(-1/(|dm| Temp)) (CONetV2, figure 8)."""
    if record.cells:
        return _by_alpha(record)
    if str(record.setting("algo", "")).lower() != "sa":
        return None
    total = round(finite(record.setting("trials")) or len(record.trials) or 35)
    given = finite(record.setting("alpha"))
    alpha = ALPHA if given is None else given
    again = alpha if record.setting("zeta") == "alpha-squared" else 1.0
    stops = sorted({0, total // 4, total // 2, 3 * total // 4, max(total - 1, 0)})
    lines = [
        _curve(
            f"trial {stop}: Temp {alpha * (total - stop) / total:.3g}",
            again * alpha * (total - stop) / total,
            depth_colour(index, len(stops)),
        )
        for index, stop in enumerate(stops)
    ]
    points = _accepted(record, alpha, total, again)
    plot = Plot("acceptance", "Acceptance", CHANGE, ZETA, [*lines, *([points] if points.x else [])])
    heat = "|dm|·Temp" if again == 1 else f"{alpha:g}·dm·Temp"
    text = f"ζ = exp(−1/({heat})), Temp = {alpha:g}·(T − t)/T with T = {total} trials; dots are this run's changes."
    if again != 1:
        text += " A falling metric is always pushed."
    return Section("acceptance", "Acceptance function of simulated annealing", text, [plot])


def _by_alpha(record: Record) -> Section | None:
    """The function in the first trial, for each alpha of a sweep; None where it has less than two."""
    axes = [cell.result.axes for cell in record.cells if cell.result.algo == "sa"]
    squared = {(float(one.get("alpha", ALPHA)), one.get("zeta") == "alpha-squared") for one in axes}
    if len(squared) < 2:
        return None
    lines = [
        _curve(f"alpha {alpha:g}{', squared' if again else ''}", alpha**2 if again else alpha,
               depth_colour(index, len(squared)))
        for index, (alpha, again) in enumerate(sorted(squared))
    ]  # fmt: skip
    text = "ζ = exp(−1/(|dm|·Temp)) in the first trial, where Temp = alpha; it falls to nothing with the trials."
    plot = Plot("acceptance", "Acceptance", CHANGE, ZETA, lines)
    return Section("acceptance", "Acceptance function of simulated annealing", text, [plot])


def _curve(name: str, heat: float, colour: str) -> Series:
    return Series(name, STEPS, [acceptance(step, heat) for step in STEPS], colour)


def acceptance(change: float, temperature: float) -> float:
    """Return zeta = exp(-1/(|dm| Temp)), in 0..1; 0 where nothing changed or nothing is left of the temperature."""
    heat = abs(change) * temperature
    return math.exp(-1.0 / heat) if heat > 0 else 0.0


def _accepted(record: Record, alpha: float, total: int, again: float) -> Series:
    xs: list[Number] = []
    ys: list[Number] = []
    labels = []
    for before, after in pairwise(record.trials):
        temperature = alpha * max(total - after.id, 0) / total
        for group in record.groups:
            old, new = before.momentum.get(group), after.momentum.get(group)
            if old is not None and new is not None:
                xs.append(abs(new - old))
                # the paper's print, where alpha enters twice, pushes every falling metric
                always = again != 1 and new < old
                ys.append(1.0 if always else acceptance(new - old, again * temperature))
                labels.append(f"trial {after.id}, {group}")
    return Series("this run", xs, ys, "#8a8f98", labels, line=False, marker="circle")
