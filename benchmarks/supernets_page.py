"""The page of `supernets.py`: where searches end that start elsewhere, and what FlexCHarts saves beside DMaskingNAS."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from supernets import ARMS, BATCH, COMPARED, KINDS, NETS, SCALES, SHARE, STARTS, STEPS

from chanc.runs.paired import difference, rank_correlation, standard_error

Row = Mapping[str, Any]
NEAR = 0.05
"""A search has arrived where its expected MACs are this near to the target."""
COSTS: Mapping[str, tuple[str, float]] = {
    "search_s": ("CPU seconds", 1), "executed": ("G MACs, forward", 1e-9), "held": ("memory counted, MB", 1e-6),
}  # fmt: skip
CLAIMED = {"search_s": "1.3 to 1.7", "executed": "", "held": "1.5 to 1.7"}
BESIDE = {
    "residual": "The residual network, FlexCHarts from a quarter of the widths; DMaskingNAS holds all widths up to "
                "twice the network's own.",
    "resnet18": "ResNet18 at an eighth of its widths, likewise.",
    "cells": "Cells of DARTS, each with a width of its own, FlexCHarts from the network's own widths; "
             "seven cells of twenty, and half of the paper's channels and of its steps.",
}  # fmt: skip


def page(rows: Sequence[Row]) -> str:
    """The whole page, as markdown."""
    head = [
        "# Searches inside one training",
        f"`python benchmarks/supernets.py --data-root DATA`: what is compared and how it is measured stands at its "
        f"head. What is found is brought to {SHARE:.0%} of the network's own MACs and trained from scratch. All "
        f"searches and trainings here took {sum(row['cpu_s'] for row in rows) / 60:.0f} minutes of one core.",
    ]
    return "\n\n".join([*head, *_starts(rows), *_beside(rows)]) + "\n"


def _length(net: str) -> str:
    """How long a supernet is searched in."""
    one = NETS[net]
    return (f"{one.epochs} epochs of {one.images:,} images in batches of {BATCH}, and {one.final_epochs} epochs for "
            "what is found")  # fmt: skip


def of(rows: Sequence[Row], arm: str) -> dict[str, Row]:
    """An arm's rows by seed."""
    return {str(row["seed"]): row for row in rows if row["arm"] == arm}


def spread(values: Sequence[float], form: str) -> str:
    """The mean, ± its standard error."""
    error = standard_error(values)
    return format(statistics.fmean(values), form) + ("" if error is None else f" ± {error:{form}}")


# Where a search starts


STARTED = {"residual": ("", "The residual network"), "resnet18": ("resnet18, ", "ResNet18 at an eighth of its widths")}
"""By supernet what its arms' names begin with, and its name in a sentence."""


def _starts(rows: Sequence[Row]) -> Iterator[str]:
    yield "## Where a search starts"
    yield (f"Widths in the order of the graph. *Cost* is what the search itself ended with, over the target; *arrived* "
           f"the first epoch that ends within {NEAR:.0%} of it. ± is a standard error.")  # fmt: skip
    for net, (before, title) in STARTED.items():
        if found := [row for row in rows if row["arm"] in ARMS and ARMS[row["arm"]].net == net]:
            yield from _started(found, net, before, title)


def _started(rows: Sequence[Row], net: str, before: str, title: str) -> Iterator[str]:
    own = " ".join(str(width) for width in rows[0]["own"].values())
    yield f"{title}, {_length(net)}; the target is {rows[0]['goal']:,} MACs, the network's own widths are {own}."
    lines = ["| search | seeds | cost | arrived | top-1 at the target | widths found, seed by seed |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    arms = [arm for arm, one in ARMS.items() if one.net == net and one.algo == "flexcharts"]
    lines += [_start(arm, list(found.values())) for arm in arms if (found := of(rows, arm))]
    yield "\n".join(lines)
    yield "\n".join(line for kind in KINDS for line in _pair(rows, before, kind))


def _start(arm: str, rows: Sequence[Row]) -> str:
    costs = [row["expected"][-1] / row["goal"] for row in rows]
    arrived = [next((str(epoch) for epoch, cost in enumerate(row["expected"], start=1)
                     if abs(cost / row["goal"] - 1) < NEAR), "never") for row in rows]  # fmt: skip
    widths = "<br>".join(" ".join(str(width) for width in row["widths"].values()) for row in rows)
    return (f"| {arm} | {len(rows)} | {spread(costs, '.2f')} | {', '.join(arrived)} "
            f"| {spread([row['score'] for row in rows], '.2%')} | {widths} |")  # fmt: skip


def _pair(rows: Sequence[Row], before: str, kind: str) -> Iterator[str]:
    """How alike the networks are that a kind of search finds from either side, seed by seed."""
    one, other = (of(rows, f"{before}{kind}, from {start}") for start in STARTS)
    seeds = [seed for seed in one if seed in other]
    scores = difference(*({seed: row["score"] for seed, row in side.items()} for side in (one, other)))
    if scores is None:
        return
    ranks = [_alike(one[seed]["widths"], other[seed]["widths"]) for seed in seeds]
    with_own = [_alike(side[seed]["widths"], side[seed]["own"]) for side in (one, other) for seed in seeds]
    error = "" if scores.error is None else f" ± {scores.error:.2%}"
    yield (f"- *{kind}*: rank correlation of the widths from {' and from '.join(STARTS)} {spread(ranks, '.2f')} "
           f"({', '.join(f'{rank:.2f}' for rank in ranks)}), between two seeds of one start "
           f"{' and '.join(_among(side) for side in (one, other))}, of all with the network's own "
           f"{spread(with_own, '.2f')}; "
           f"accuracy {scores.mean:+.2%}{error}{_within(scores.mean, scores.error)}.")  # fmt: skip


def _among(side: Mapping[str, Row]) -> str:
    """How alike the networks are that searches from one start find, on average over all pairs of seeds."""
    pairs = itertools.combinations(side.values(), 2)
    return f"{statistics.fmean(_alike(a['widths'], b['widths']) for a, b in pairs):.2f}"


def _alike(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    return rank_correlation(list(one.values()), [other[name] for name in one]) or 0.0


def _within(mean: float, error: float | None) -> str:
    return "" if error is None else f", {'within' if abs(mean) <= 2 * error else 'outside of'} two standard errors"


# FlexCHarts beside DMaskingNAS


def _beside(rows: Sequence[Row]) -> Iterator[str]:
    yield "## FlexCHarts beside DMaskingNAS"
    yield ("The same supernet, halves of the data, steps and target; only the parameterisation and the range differ. "
           "The ratios are DMaskingNAS over FlexCHarts, seed by seed.")  # fmt: skip
    for net, compared in COMPARED.items():
        if all(of(rows, arm) for arm in compared):
            yield from _pairs(rows, net)


def _pairs(rows: Sequence[Row], net: str) -> Iterator[str]:
    """One supernet: both methods, their ratios, where the time goes, and whether they are as accurate."""
    flex, dmask = (of(rows, arm) for arm in COMPARED[net])
    yield f"{BESIDE[net]} {_length(net).capitalize()}."
    names = " | ".join(name for name, _ in COSTS.values())
    lines = [f"| | seeds | top-1 | {names} |", f"|---|---|---|{'---|' * len(COSTS)}"]
    for arm in (arm for arm, one in ARMS.items() if one.net == net and one.aimed and "cost_weight" not in one.options):
        if found := list(of(rows, arm).values()):
            costs = (spread([row[key] * scale for row in found], ".1f") for key, (_, scale) in COSTS.items())
            top1 = spread([row["score"] for row in found], ".2%")
            lines.append(f"| {arm} | {len(found)} | {top1} | {' | '.join(costs)} |")
    yield "\n".join([*lines, _ratios(flex, dmask)])
    if measured := of(rows, STEPS[net]):
        yield "\n".join([
            "A step of the weights at the widest options of the last epoch (seed 0), CPU milliseconds, by turns:", "",
            "| all widths times | FlexCHarts | DMaskingNAS | ratio |", "|---|---|---|---|",
            *(f"| {scale} | {row['ms'][0]:.1f} | {row['ms'][1]:.1f} | {spread(row['ratios'], '.2f')} |"
              for scale in SCALES[net] if (row := measured.get(str(scale)))),
        ])  # fmt: skip
    scores = difference(*({seed: row["score"] for seed, row in found.items()} for found in (flex, dmask)))
    if scores is not None:
        error = "" if scores.error is None else f" ± {scores.error:.2%}"
        yield f"Accuracy of FlexCHarts over DMaskingNAS: {scores.mean:+.2%}{error}{_within(scores.mean, scores.error)}."


def _ratios(flex: Mapping[str, Row], dmask: Mapping[str, Row]) -> str:
    """DMaskingNAS over FlexCHarts, paired by seed."""
    seeds = [seed for seed in flex if seed in dmask]
    cells = []
    for key in COSTS:
        ratios = [dmask[seed][key] / flex[seed][key] for seed in seeds if flex[seed][key]]
        claimed = f" (paper: {CLAIMED[key]})" if CLAIMED[key] else ""
        cells.append(f"**{spread(ratios, '.2f')}**{claimed}" if ratios else "")
    return f"| ratio | {len(seeds)} | | {' | '.join(cells)} |"
