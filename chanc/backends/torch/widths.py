"""The table of widths: constructor arguments that count the channels of one group become one entry, `WIDTHS["conv1"]`.

A group gets an entry only if every place that depends on its width is such an argument; otherwise changing the entry
would break the network, and the numbers are written where they stand. What stands behind a Flatten is counted by the
entry of the group before it: `WIDTHS["conv1"] * 64`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from chanc.backends.torch.program import Program, Submodule

_COUNT = re.compile(r"((?:groups=)?)(\d+)")


def tabulate(program: Program, reached: set[int]) -> dict[int, tuple[str, int]]:
    """Replace the arguments in place by tokens `\\0w<group>\\0`; returns group -> (name, width)."""
    groups: dict[int, tuple[str, int]] = {}
    submodules = [submodule for mid, submodule in program.submodules.items() if mid in reached]
    for submodule in submodules:
        for position, vid in submodule.widths.items():
            group = program.channels[vid]
            free = group not in program.escaped and group not in groups and group not in program.flattened
            if position == 1 and free and _produces(submodule):
                groups[group] = (".".join(submodule.path), _number(submodule.args[1]))
    table = _Table(program, submodules)
    for group in list(groups):
        found, width = list(table.places(group, 1)), groups[group][1]
        places = [place for place in found if place is not None]
        if len(places) < len(found) or any(_number(s.args[p]) != width * times for s, p, times in places):
            del groups[group]
            continue
        for submodule, position, times in places:
            text = rf"\g<1>\0w{group}\0" + (f" * {times}" if times > 1 else "")
            submodule.args[position] = _COUNT.sub(text, submodule.args[position])
    return groups


class _Place(NamedTuple):
    """An argument that counts `times` as many channels as the group has."""

    submodule: Submodule
    position: int
    times: int


class _Table:
    """Which arguments count the channels of a group, and which groups lie behind its Flattens."""

    def __init__(self, program: Program, submodules: list[Submodule]) -> None:
        self.escaped = program.escaped
        self.counts: dict[int, list[tuple[Submodule, int]]] = defaultdict(list)
        for submodule in submodules:
            for position, vid in submodule.widths.items():
                self.counts[program.channels[vid]].append((submodule, position))
        self.behind: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for group, (source, factor) in program.flattened.items():
            self.behind[source].append((group, factor))

    def places(self, group: int, times: int) -> Iterator[_Place | None]:
        """The arguments of a group and of those behind it; None where something else depends on one of them."""
        if group in self.escaped:
            yield None
        for submodule, position in self.counts.get(group, ()):
            yield _Place(submodule, position, times)
        for behind, factor in self.behind.get(group, ()):
            yield from self.places(behind, times * factor)


def _produces(submodule: Submodule) -> bool:
    depthwise = any(arg.startswith("groups=") for arg in submodule.args) and len(submodule.widths) > 2
    return submodule.cls.startswith(("nn.Conv", "nn.Linear")) and not depthwise


def _number(arg: str) -> int:
    found = _COUNT.fullmatch(arg)
    return int(found[2]) if found else -1


def table_lines(groups: dict[int, tuple[str, int]]) -> list[str]:
    """The lines of the table; none where no group has an entry."""
    if not groups:
        return []
    lines = ["# Channels by the layer that makes them; layers that must agree share an entry.", "WIDTHS = {"]
    return [*lines, *(f'    "{name}": {width},' for name, width in groups.values()), "}"]
