"""The weights of the widths that a unit chooses from, before and after a masking search (FlexCHarts, figure 3)."""

from __future__ import annotations

from collections.abc import Sequence

from chanc.report.colours import depth_colour
from chanc.report.plots import Axis, Plot, Section, Series
from chanc.report.record import Record
from chanc.report.sections import register
from chanc.report.sections._common import ONCE
from chanc.runs.supernet import SupernetEpoch

SHOWN = 4


@register("masks", order=22)
def mask_section(record: Record) -> Section | None:
    """The weight of each width at the first and at the last epoch, of a few units from the first to the last."""
    epochs = [one for one in record.masked if one.masks]
    if not epochs:
        return None
    units = list(epochs[-1].masks)
    shown = [units[round(index * (len(units) - 1) / max(SHOWN - 1, 1))] for index in range(min(SHOWN, len(units)))]
    ends = epochs[:1] if len(epochs) == 1 else [epochs[0], epochs[-1]]
    series = [_series(unit, units, one, first=one is not ends[-1]) for unit in shown for one in ends]
    plot = Plot("masks", "Weights", Axis("width", "channels"), Axis("weight of the width"), series, note=ONCE)
    text = "How much each width counted. Dashed: after the first epoch; solid: after the last."
    return Section("masks", "Weights of the widths", text, [plot])


def _series(unit: str, units: Sequence[str], epoch: SupernetEpoch, *, first: bool) -> Series:
    mask, colour = epoch.masks[unit], depth_colour(units.index(unit), len(units))
    return Series(f"{unit}, epoch {epoch.epoch + 1}", mask.options, mask.weights, colour,
                  marker="" if first else "circle", dash=first)  # fmt: skip
