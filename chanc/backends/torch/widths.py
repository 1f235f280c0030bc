"""The table of widths: constructor arguments that count the channels of one group become one entry, `WIDTHS["conv1"]`.

A group gets an entry only if every place that depends on its width is such an argument; otherwise changing the entry
would break the network, and the numbers are written where they stand.
"""

from __future__ import annotations

import re

from chanc.backends.torch.program import Program, Submodule

_COUNT = re.compile(r"((?:groups=)?)(\d+)")


def tabulate(program: Program, reached: set[int]) -> dict[int, tuple[str, int]]:
    """Replace the arguments in place by tokens `\\0w<group>\\0`; returns group -> (name, width)."""
    groups: dict[int, tuple[str, int]] = {}
    submodules = [submodule for mid, submodule in program.submodules.items() if mid in reached]
    for submodule in submodules:
        for position, vid in submodule.widths.items():
            group = program.channels[vid]
            if position == 1 and group not in program.escaped and group not in groups and _produces(submodule):
                groups[group] = (".".join(submodule.path), _number(submodule.args[1]))
    for group in list(groups):
        places = [(s, p) for s in submodules for p, vid in s.widths.items() if program.channels[vid] == group]
        if any(_number(submodule.args[position]) != groups[group][1] for submodule, position in places):
            del groups[group]
            continue
        for submodule, position in places:
            submodule.args[position] = _COUNT.sub(rf"\g<1>\0w{group}\0", submodule.args[position])
    return groups


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
