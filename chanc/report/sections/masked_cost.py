"""What the network that a masking search expects would cost, epoch by epoch, and the losses weighed with that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chanc.report.colours import group_colour
from chanc.report.plots import Axis, Plot, Reference, Section, Series, scaled
from chanc.report.record import Record, finite
from chanc.report.sections import register
from chanc.report.sections._common import ONCE, OWN_EPOCH, ROLES
from chanc.runs.supernet import SupernetEpoch

COSTS = {"macs": "MACs", "params": "parameters", "latency_ms": "latency"}
LOSSES = {"weights": "weights' batches", "masks": "masks' batches", "held_out": "held-out images"}


@register("masked-cost", order=24)
def masked_cost_section(record: Record) -> Section | None:
    """Expected costs with their targets, the losses, and the weights of the costs."""
    epochs = record.masked
    if not epochs:
        return None
    plots = [_cost(name, epochs) for name in COSTS if name in epochs[-1].costs]
    losses = _lines([one.losses for one in epochs], LOSSES, epochs)
    plots += [Plot("masked-losses", "Losses", OWN_EPOCH, Axis("loss", "nats"), losses, note=ONCE)] if losses else []
    prices = _lines([one.prices for one in epochs], COSTS, epochs)
    plots += [Plot("masked-prices", "Weights of the costs", OWN_EPOCH, Axis("weight in the loss"), prices,
                   note=ONCE)] if prices else []  # fmt: skip
    text = "What the expected widths would cost, epoch by epoch, and the losses that a cost is weighed with."
    return Section("masked-cost", "Expected cost", text, plots) if plots else None


def _cost(name: str, epochs: Sequence[SupernetEpoch]) -> Plot:
    values, target = [one.costs.get(name) for one in epochs], epochs[-1].targets.get(name)
    divisor, word = scaled(max(value for value in (*values, target) if value is not None))
    if name == "latency_ms":
        divisor, word = 1.0, "ms"
    series = Series(COSTS[name], [one.epoch + 1 for one in epochs],
                    [None if value is None else value / divisor for value in values], ROLES["found"],
                    marker="circle" if len(epochs) < 2 else "")  # fmt: skip
    goal = [Reference("y", target / divisor, "target")] if target is not None else []
    return Plot(f"masked-{name}", COSTS[name], OWN_EPOCH, Axis(f"expected {COSTS[name]}", word), [series], goal,
                note=ONCE)  # fmt: skip


def _lines(
    figures: Sequence[Mapping[str, float]], titles: Mapping[str, str], epochs: Sequence[SupernetEpoch]
) -> list[Series]:
    """A line for each of `titles` that the figures of the epochs have a number of."""
    places = [one.epoch + 1 for one in epochs]
    rows = {name: [finite(of.get(name)) for of in figures] for name in titles}
    return [
        Series(titles[name], places, row, group_colour(index), marker="circle" if len(places) < 2 else "")
        for index, (name, row) in enumerate(rows.items())
        if any(value is not None for value in row)
    ]
