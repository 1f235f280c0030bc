"""The networks that both oracles are tried on, each with random weights, by the functions that build them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

Build = Callable[[], onnx.ModelProto]


@dataclass(frozen=True, slots=True)
class Network:
    """One network, and what must be found of it.

    groups: so many groups may change, at least. share: of its weights, at least that part changes at half the widths.
    wide: the scale of the widening. stays: words of the reason for which widening leaves groups alone, empty where all
    must follow. day: it is tried by day, too.
    """

    name: str
    build: Build
    groups: int
    share: float = 0.99
    wide: float = 1.5
    stays: str = ""
    day: bool = False


NETWORKS: dict[str, Network] = {}


def network(
    name: str,
    *,
    groups: int,
    share: float = 0.99,
    wide: float = 1.5,
    stays: str = "",
    day: bool = False,
) -> Callable[[Build], Build]:
    """Put a network's builder into the list."""

    def put(build: Build) -> Build:
        if name in NETWORKS:
            raise ValueError(f"there are two networks '{name}'")
        NETWORKS[name] = Network(name, build, groups, share, wide, stays, day)
        return build

    return put
