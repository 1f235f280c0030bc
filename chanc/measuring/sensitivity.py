"""What the widths of each channel group are worth: the loss where one keeps fewer channels, all else untouched."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from chanc import plugins
from chanc.analysis import Group
from chanc.analysis.disjoint_set import IntArray
from chanc.data import DataSource
from chanc.errors import ChancError, PlanError
from chanc.ir import load
from chanc.ir.sizes import Sizes, sizes_of
from chanc.measuring.scoring import judge
from chanc.rewriter.plan import Sizing, channels_of, resizings

if TYPE_CHECKING:
    from chanc.rewriter.importance import Gathered
    from chanc.training.evaluation import Evaluation
    from chanc.training.sensitivity import Shrinkable
    from chanc.training.task import Task

RATIOS = (0.25, 0.5, 0.75)
BATCHES, BATCH = 4, 64
"""How many batches the loss is measured on, and samples of each."""
MAX_RISE = 0.05
Units = Mapping[str, Sequence[IntArray]]
"""By group, the numbers of the units that stay, at one ratio after another."""


@dataclass(frozen=True)
class Point:
    """A group at a width: the channels that stay, as a plan has them, and loss and score then."""

    width: int
    keep: tuple[int, ...]
    loss: float
    score: float


@dataclass(frozen=True)
class Curve:
    """A group's points, one a ratio, the widest first; or the reason why it has none."""

    group: str
    size: int
    points: tuple[Point, ...]
    reason: str = ""


@dataclass(frozen=True)
class Planned:
    """The least widths whose own loss rises by no more than `max_rise`, and the model with all of them together.

    keep: by group, the channels that stay, as a plan of `chanc.rewrite` has them. loss, score: NaN where each group can
    shrink and all together can't. params, macs: before and after.
    """

    max_rise: float
    keep: Mapping[str, tuple[int, ...]]
    loss: float
    score: float
    params: tuple[int, int]
    macs: tuple[int, int]

    def plan(self) -> dict[str, dict[str, list[int]]]:
        """What `chanc.rewrite` takes."""
        return {name: {"keep": list(channels)} for name, channels in self.keep.items()}


@dataclass(frozen=True)
class Sensitivity:
    """Loss and score of a model on `samples` of its training data, and of each of its groups the curve.

    ratios: the shares of channels that were asked for, ascending. told: a line on what the model was given.
    """

    loss: float
    score: float
    score_name: str
    samples: int
    ratios: tuple[float, ...]
    importance: str
    told: str
    curves: tuple[Curve, ...]
    planned: Planned


def sensitivity(
    model: Any,
    data: DataSource,
    *,
    ratios: Sequence[float] = RATIOS,
    max_rise: float = MAX_RISE,
    importance: str = "taylor",
    task: str | Task = "classification",
    data_root: str | os.PathLike[str] | None = None,
    batches: int = BATCHES,
    normalise: str | None = None,
    scale_pixels: str | None = None,
    device: str = "auto",
    seed: int = 0,
    dims: Sizes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    on_point: Callable[[float], None] | None = None,
) -> Sensitivity:
    """Measure the loss of a model at some widths of one group after another, and what they allow together.

    data, task: as for `train`; without labels the loss is how far the model is from what it said before. ratios: of a
    group's channels that stay, above 0 and below 1; those of the highest `importance` (as for `rewrite`, judged by the
    same data). max_rise: the rise of the loss that the plan allows each group on its own, in units of the task's loss
    (nats of a classification). batches: of 64 training samples each, drawn by the seed. normalise, scale_pixels: as for
    `train`. dims, shapes: as for `rewrite`. on_point: is told which share of the work is done.

    Raises: ModelError for a model that PyTorch can't express or train, or of whose input can't be told what it was made
    for; DataError for data that don't fit it; PlanError for ratios that can't be and where no group may change;
    MissingDependencyError without PyTorch.
    """
    plugins.require("torch", "a sensitivity", "torch")
    from chanc.tasks import fed
    from chanc.training.evidence import gather
    from chanc.training.options import InputOptions
    from chanc.training.sensitivity import Shrinkable

    shares = _checked(ratios, max_rise)
    loaded = load(model)
    sizes = sizes_of(loaded, dims, shapes)
    dataset, what, told = fed(
        loaded, data, partial(judge, task), InputOptions(normalise, scale_pixels), root=data_root, sizes=sizes,
        device=device, seed=seed,
    )  # fmt: skip
    net = Shrinkable(loaded, dataset, what, device=device, batches=batches, batch_size=BATCH, seed=seed, sizes=sizes)
    if not any(group.resizable for group in net.analysis.groups):
        raise PlanError("no channel group of the model may change: `chanc analyze --deps` says why")
    seen = gather(loaded, dataset, what, device=device, batches=batches, seed=seed, activations=True, sizes=sizes)
    base = net.at({})
    units = _units(net, shares, importance, seen, seed)
    curves = tuple(_curves(net, units, base, on_point))
    planned = _planned(net, curves, units, base, max_rise)
    return Sensitivity(
        base.loss, base.score, what.score_name, net.feed.samples, shares, importance, told, curves, planned
    )


def _checked(ratios: Sequence[float], max_rise: float) -> tuple[float, ...]:
    wrong = [ratio for ratio in ratios if not 0 < ratio < 1]
    if wrong or not ratios:
        told = f", not {wrong[0]}" if wrong else ""
        raise PlanError(f"a ratio is a share of the channels, above 0 and below 1{told}")
    if not max_rise >= 0:
        raise PlanError(f"the rise of the loss that a plan allows must be at least 0, not {max_rise}")
    return tuple(sorted(set(ratios)))


def _units(net: Shrinkable, ratios: Sequence[float], importance: str, seen: Gathered, seed: int) -> Units:
    """By group, the units that stay at each ratio, the most first: those that a rewrite would keep."""
    found: dict[str, list[IntArray]] = {group.id: [] for group in net.analysis.groups if group.resizable}
    for ratio in sorted(ratios, reverse=True):
        rng = np.random.default_rng(seed)
        for one in resizings(net.analysis, None, ratio, importance, Sizing(), rng, seen):
            found[one.group.id].append(np.flatnonzero(one.copies))
    return found


def _curves(net: Shrinkable, units: Units, base: Evaluation, tell: Callable[[float], None] | None) -> Iterator[Curve]:
    for number, (name, choices) in enumerate(units.items()):
        group, points = net.analysis.group(name), list[Point]()
        try:
            for k, kept in enumerate(choices):
                points.append(_point(net, group, kept, points[-1] if points else None, base))
                if tell is not None:
                    tell((number + (k + 1) / len(choices)) / len(units))
        except ChancError as error:
            yield Curve(name, group.size, (), str(error))
        else:
            yield Curve(name, group.size, tuple(points))


def _point(net: Shrinkable, group: Group, kept: IntArray, last: Point | None, base: Evaluation) -> Point:
    """The group with these units; of a narrow one the next ratio may leave the same."""
    width = kept.size * group.step
    if last is not None and last.width == width:
        return last
    found = net.at({group.id: kept}) if width < group.size else base
    return Point(width, tuple(channels_of(group, kept)), found.loss, found.score)


def _planned(net: Shrinkable, curves: Sequence[Curve], units: Units, base: Evaluation, max_rise: float) -> Planned:
    """The narrowest point of each curve before the loss first rises by more, all of them in one network."""
    chosen: dict[str, Point] = {}
    for curve in curves:
        for point in curve.points:
            if not point.loss - base.loss <= max_rise:
                break
            if point.width < curve.size:
                chosen[curve.group] = point
    kept = {name: next(some for some in units[name] if some.size * net.analysis.group(name).step == point.width)
            for name, point in chosen.items()}  # fmt: skip
    found = _together(net, kept) if kept else base
    before, after = net.analysis.cost, net.analysis.cost_at({name: point.width for name, point in chosen.items()})
    return Planned(
        max_rise, {name: point.keep for name, point in chosen.items()}, found.loss, found.score,
        (int(before.params), int(after.params)), (int(before.macs), int(after.macs)),
    )  # fmt: skip


def _together(net: Shrinkable, kept: Mapping[str, IntArray]) -> Evaluation:
    try:
        return net.at(kept)
    except ChancError:
        return dataclasses.replace(net.at({}), loss=math.nan, score=math.nan)
