"""The expected widths of a masking search, and the ranges that they choose from (FlexCHarts, figure 1)."""

from __future__ import annotations

from collections.abc import Sequence

from chanc.report.colours import depth_colour
from chanc.report.plots import Axis, HeatMap, Plot, Section, Series, by_depth
from chanc.report.record import Record
from chanc.report.sections import register
from chanc.report.sections._common import GROUPS, ONCE, OWN_EPOCH
from chanc.runs.supernet import SupernetEpoch

SHOWN = 4
"""Units whose ranges are drawn, a picture each: bands would lie on one another."""
NEAR = 0.1
"""The part of a range, at either end, in which a width leans on its border."""
WIDTH = Axis("expected width", "channels")


@register("masked-widths", order=20)
def masked_width_section(record: Record) -> Section | None:
    """Expected width of each unit over the epochs, in the range that it chooses from."""
    epochs = record.masked
    if not epochs:
        return None
    units, places = list(epochs[0].widths), [one.epoch + 1 for one in epochs]
    rows = [[one.widths[unit] for one in epochs] for unit in units]
    parts = [[_share(one.place(unit)) for one in epochs] for unit in units]
    return Section(
        "masked-widths",
        "Width evolution",
        _leaning(units, epochs[-1]),
        [
            *(_range(rank, unit, units, epochs) for rank, unit in enumerate(_nearest(units, epochs[-1]), 1)),
            Plot("masked-widths", "Lines", OWN_EPOCH, WIDTH, by_depth(units, places, rows), ordered=GROUPS),
            HeatMap("masked-places", "Places in the ranges", OWN_EPOCH, Axis("channel group"),
                    Axis("place in its range", "%"), units, places, parts),
        ],
    )  # fmt: skip


def _range(rank: int, unit: str, units: Sequence[str], epochs: Sequence[SupernetEpoch]) -> Plot:
    places, colour = [one.epoch + 1 for one in epochs], depth_colour(units.index(unit), len(units))
    series = Series(
        unit, places, [one.widths[unit] for one in epochs], colour, marker="circle",
        low=[one.low[unit] for one in epochs], high=[one.high[unit] for one in epochs],
    )  # fmt: skip
    return Plot(f"masked-range-{rank}", f"Range of {unit}", OWN_EPOCH, WIDTH, [series], note=ONCE)


def _nearest(units: Sequence[str], last: SupernetEpoch) -> list[str]:
    """The units whose widths lie nearest to a border, the nearest first; one without a choice comes last."""
    return sorted(units, key=lambda unit: 1.0 if (gap := _gap(last, unit)) is None else gap)[:SHOWN]


def _leaning(units: Sequence[str], last: SupernetEpoch) -> str:
    near = [unit for unit in units if (gap := _gap(last, unit)) is not None and gap < NEAR]
    said = "Every width chooses from a range, the band. "
    if not near:
        return f"{said}None ends at a border of it."
    names = ", ".join(near[:3]) + (f" and {len(near) - 3} more" if len(near) > 3 else "")
    return (f"{said}{len(near)} of {len(units)} end in the last {NEAR:.0%} of it, where its border may hold them "
            f"back: {names}.")  # fmt: skip


def _gap(epoch: SupernetEpoch, unit: str) -> float | None:
    """How far a width lies from the nearest border, as a part of its range."""
    place = epoch.place(unit)
    return None if place is None else min(place, 1 - place)


def _share(place: float | None) -> float | None:
    return None if place is None else round(100 * place, 2)
