"""What the events of a masking search say: of each epoch the widths, the ranges that they lay in, and what they cost.

A *unit* is what shares one mask: a channel group, or the name of a tie. Figures are by unit unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chanc.errors import RunError
from chanc.runs.decode import decode
from chanc.runs.events import EpochEvent
from chanc.runs.record import Record, Timing

EPOCH = "epoch "
"""How the id of an epoch's timing begins."""


@dataclass(frozen=True)
class Mask:
    """The widths that a unit chooses from, in channels, and their weights, which come to 1 in most methods."""

    options: tuple[float, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class SupernetEpoch:
    """Where a masking search stood at the end of an epoch.

    widths: expected ones, in channels; low, high: the least and the largest option. costs, targets: expected and aimed
    at, by "macs", "params" and "latency_ms"; prices: the weight of each in the loss. losses: by "weights" and "masks"
    (of the two streams of batches) and "held_out". largest: "params" and "macs" of the widest network, and MACs
    "executed" forward in the epoch.
    """

    epoch: int
    score: float
    widths: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    costs: Mapping[str, float] = field(default_factory=dict)
    targets: Mapping[str, float] = field(default_factory=dict)
    prices: Mapping[str, float] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
    largest: Mapping[str, float] = field(default_factory=dict)
    masks: Mapping[str, Mask] = field(default_factory=dict)

    def place(self, unit: str) -> float | None:
        """Where a width lies in its range: 0 at the least option, 1 at the largest; None where there is one only."""
        low, high = self.low[unit], self.high[unit]
        return (self.widths[unit] - low) / (high - low) if high > low else None


def supernet_epochs(run: Record) -> tuple[SupernetEpoch, ...]:
    """The epochs of a masking search, none of another one. Raises RunError for an event that isn't one of them."""
    try:
        return tuple(_epoch(event) for event in run.of(EpochEvent) if "width" in event.metrics)
    except (KeyError, ValueError) as error:
        raise RunError(f"{run.path}: an epoch's event can't be read: {error}") from error


def epoch_timings(timing: Sequence[Timing]) -> list[Timing]:
    """The timings of a search's own epochs, each once: a run that was killed may have trained one again."""
    return list({line.id: line for line in timing if line.id.startswith(EPOCH)}.values())


def _epoch(event: EpochEvent) -> SupernetEpoch:
    of = event.metrics
    found = SupernetEpoch(
        event.id,
        event.score,
        of["width"],
        of["low"],
        of["high"],
        costs=of.get("cost", {}),
        targets=of.get("target", {}),
        prices=of.get("lambda", {}),
        losses=of.get("losses", {}),
        largest=of.get("supernet", {}),
        masks={unit: decode(Mask, mask) for unit, mask in event.state.get("alpha", {}).items()},
    )
    if not found.widths.keys() == found.low.keys() == found.high.keys():
        raise ValueError("its widths and its ranges are of other units")
    return found
