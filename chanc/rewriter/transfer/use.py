"""How a tensor is used, as far as a transfer method asks: what a fresh one would hold."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

from chanc.ops import Fill


class Use(NamedTuple):
    """`fill`: what a fresh tensor is filled with, None where nobody trains it; `fan_in`: from its shape."""

    fill: Fill | None = None
    fan_in: Callable[[tuple[int, ...]], int] = prod


KEPT = Use()
