"""Whom the found widths are compared with: networks of other proportions that cost as much.

uniform: the input's proportions; flat: all widths equal; random: each width's factor drawn at random, another network
for each seed. Each stands there twice: at the params of the found network, and at its MACs. baseline is the input
itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from chanc.errors import RunError
from chanc.runs.rows import COUNTERS
from chanc.study.methods.trial.random import Random
from chanc.study.space import WIDEST, Counter, Limits, Space, Widths, scale_to

ROLES = ("uniform", "flat", "random")
RIVALS = ("baseline", *ROLES)
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
    limits, drawn = Limits(1, WIDEST, round_to), {"found": [found] * turns}
    for name in named(compare):
        if name == "baseline":
            drawn[name] = [space.widths] * turns
            continue
        role, _, counter = name.partition("-")
        cost: Counter = "params" if counter == "params" else "macs"
        target = space.count(found, cost)
        if role == "random":
            sampler = Random(seed=seed, min_width=1, max_width=WIDEST, round_to=round_to, **{f"target_{cost}": target})
            drawn[name] = [sampler.draw(space, turn) for turn in range(turns)]
        else:
            shape = {gid: float(width) if role == "uniform" else 1.0 for gid, width in space.widths.items()}
            drawn[name] = [scale_to(space, limits, shape, target, cost)] * turns
    return drawn
