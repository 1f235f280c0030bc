"""Whom the found widths are compared with: networks of other proportions that cost as much.

uniform: the input's proportions; flat: all widths equal; random: each width's factor drawn at random, another network
for each seed. Each stands there twice: at the params of the found network, and at its MACs. baseline is the input
itself. Of edges, random draws other edges at the same share of the params, and tuned is what was found with the weights
that the search trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from chanc.errors import RunError
from chanc.runs import Decision
from chanc.runs.rows import COUNTERS
from chanc.study import shapes
from chanc.study.space import WIDEST, Counter, Limits, Shape, Space, Widths
from chanc.study.targets import project

ROLES = ("uniform", "flat", "random")
RIVALS = ("baseline", *ROLES)
TUNED = "tuned"
SPREAD = 4.0
"""How far the widths of a random network are from the input's proportions, as a factor."""

COSTS: tuple[Counter, ...] = ("params", "macs")


def named(compare: Sequence[str]) -> list[str]:
    """The rivals that are asked for, each once: uniform stands for uniform-params and uniform-macs.

    Raises RunError for one that there isn't.
    """
    names: list[str] = []
    for name in compare:
        role, _, counter = name.partition("-")
        if name not in RIVALS and (role not in ROLES or counter not in COUNTERS):
            raise RunError(f"there is nothing named {name!r} to compare with; there are {', '.join(RIVALS)}")
        names += [f"{name}-{counter}" for counter in COSTS] if name in ROLES else [name]
    return list(dict.fromkeys(names))


def rivals(
    space: Space, found: Widths, compare: Sequence[str], seed: int, round_to: int, turns: int = 1
) -> dict[str, list[Widths]]:
    """The widths of the found network and of its rivals, by name, for each of their `turns` final trainings."""
    counts: dict[Counter, int] = {cost: space.count(found, cost) for cost in COSTS} if compare else {}
    others = {name: [_widths(space, name, counts, seed, round_to, turn) for turn in range(turns)]
              for name in named(compare)}  # fmt: skip
    return {"found": [found] * turns, **others}


def edge_rivals(
    space: Space, found: Decision, counts: Mapping[Counter, int], drawn: Callable[[int], Decision] | None,
    compare: Sequence[str], seed: int, round_to: int, turns: int = 1,
) -> dict[str, list[Decision]]:  # fmt: skip
    """The edges that were found and their rivals, by name, for each of their `turns` final trainings.

    counts: what the found network costs. drawn: the random edges of a turn, of equal params; None: there are none.
    """
    made = {"found": [found] * turns}
    for name in named(compare):
        if name == "random-params" and drawn is not None:
            made[name] = [drawn(turn) for turn in range(turns)]
        elif not name.startswith("random-"):
            made[name] = [Decision(_widths(space, name, counts, seed, round_to, turn)) for turn in range(turns)]
    return made


def _widths(
    space: Space, name: str, counts: Mapping[Counter, int], seed: int, round_to: int, turn: int
) -> Widths:  # fmt: skip
    """The widths of a rival in one of its trainings."""
    if name == "baseline":
        return space.widths
    role, _, counter = name.partition("-")
    cost: Counter = "params" if counter == "params" else "macs"
    return project(space, Limits(1, WIDEST, round_to), _shape(space, role, seed, turn), {cost: counts[cost]})


def _shape(space: Space, role: str, seed: int, turn: int) -> Shape:
    if role == "random":
        return shapes.random(space, seed, turn, SPREAD)
    return shapes.uniform(space) if role == "uniform" else shapes.flat(space)
