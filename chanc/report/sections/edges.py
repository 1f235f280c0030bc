"""What a search dropped, step by step, and what became of its score (CNAS, figure 2b): inputs that layers read."""

from __future__ import annotations

from chanc.report.plots import Axis, HeatMap, Plot, Section, Series
from chanc.report.record import Record, finite, percent
from chanc.report.sections import register
from chanc.report.sections._common import ONCE, OWN_EPOCH, ROLES, on_images
from chanc.runs.edges import EdgeEpoch

LEFT = Axis("left", "%")
INPUTS, PARAMS = "#3b8ad9", ROLES["found"]


@register("edges", order=20)
def edge_section(record: Record) -> Section | None:
    """Inputs and params left by epoch, each layer's inputs, and the score by the params that are left."""
    epochs = record.edges
    if not epochs:
        return None
    places = [one.epoch + 1 for one in epochs]
    series = [
        Series(name, places, [_share(getattr(one, name), getattr(epochs[0], name)) for one in epochs], colour,
               marker="circle")
        for name, colour in (("inputs", INPUTS), ("params", PARAMS))
    ]  # fmt: skip
    layers = list(epochs[0].counts)
    shares = [[_share(one.counts.get(layer, 0), epochs[0].counts[layer]) for one in epochs] for layer in layers]
    return Section(
        "edges",
        "What the search dropped",
        _told(epochs[0], epochs[-1]),
        [
            Plot("edges-left", "Inputs and params", OWN_EPOCH, LEFT, series, note=ONCE),
            _scores(record),
            HeatMap("edges-layers", "By layer and epoch", OWN_EPOCH, Axis("layer that reads"),
                    Axis("inputs left", "%"), [layer.removesuffix(".weight") for layer in layers], places, shares),
        ],
    )  # fmt: skip


def _scores(record: Record) -> Plot:
    """The held-out score after each step: of the epoch before the first one, and of each that dropped inputs."""
    whole = [one for one in record.edges if one.inputs == record.edges[0].inputs]
    steps = [whole[-1], *record.edges[len(whole) :]]
    scores = [finite(one.score) for one in steps]
    series = Series("the search's own weights", [_share(one.params, steps[0].params) for one in steps], percent(scores),
                    PARAMS, [f"epoch {one.epoch + 1}, {one.inputs:,} inputs" for one in steps], marker="circle",
                    errors=percent([record.trial_error(score) for score in scores]))  # fmt: skip
    return Plot("edges-score", "Score by size", Axis("params left", "%"), Axis("held-out top-1", "%"), [series],
                note=on_images(record))  # fmt: skip


def _told(first: EdgeEpoch, last: EdgeEpoch) -> str:
    return (f"Of {first.inputs:,} inputs {last.inputs:,} are left, of {first.params:,} params {last.params:,}. "
            "An input is a channel that one layer reads; each layer drops inputs of its own.")  # fmt: skip


def _share(left: int, first: int) -> float | None:
    return round(100 * left / first, 2) if first else None
