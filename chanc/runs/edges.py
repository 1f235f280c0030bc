"""What the events of a search say that drops inputs layer by layer: what was left after each epoch, and at the end.

A *reader* is a weight by "<node's first output>:<input>", as in `Decision.edges`; units are by reader and group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from chanc.errors import RunError
from chanc.runs.events import EpochEvent
from chanc.runs.record import Record, best

TRAINED = "edges/trained.onnx"
"""What the search trained, as a model that reads everything, zeros in what was dropped; in the run's folder."""
Units = Mapping[str, Mapping[str, tuple[int, ...]]]


@dataclass(frozen=True)
class EdgeEpoch:
    """Where such a search stood at the end of an epoch.

    inputs, params: left in all; counts: inputs left of each weight, by its name. cut: units dropped before the epoch.
    """

    epoch: int
    score: float
    inputs: int
    params: int
    counts: Mapping[str, int]
    cut: Units = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """Units of a group that a reader has kept, of those that it once read."""

    reader: str
    group: str
    kept: int
    of: int


def edge_epochs(run: Record) -> tuple[EdgeEpoch, ...]:
    """The epochs of a search that drops inputs, none of another one. Raises RunError for an event that isn't one."""
    try:
        return tuple(_epoch(event) for event in run.of(EpochEvent) if "left" in event.metrics)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.path}: an epoch's event can't be read: {error}") from error


def kept_units(run: Record) -> Units:
    """What readers kept of each group, of those that dropped anything; nothing before the search's end."""
    found = best(run)
    return found.decision.edges if found is not None else {}


def parts(epochs: tuple[EdgeEpoch, ...], kept: Units) -> list[Part]:
    """Each group of each reader that dropped anything, as the run lists them (in the order of the graph)."""
    dropped = Counter({
        (reader, group): sum(len(one.cut.get(reader, {}).get(group, ())) for one in epochs)
        for reader, groups in kept.items() for group in groups
    })  # fmt: skip
    return [
        Part(reader, group, len(units), len(units) + dropped[reader, group])
        for reader, groups in kept.items() for group, units in groups.items()
    ]  # fmt: skip


def _epoch(event: EpochEvent) -> EdgeEpoch:
    left, cut = event.metrics["left"], event.state.get("cut", {})
    return EdgeEpoch(
        event.id,
        event.score,
        int(left["inputs"]),
        int(left["params"]),
        {name: int(count) for name, count in event.metrics["inputs"].items()},
        {reader: {group: tuple(units) for group, units in groups.items()} for reader, groups in cut.items()},
    )
