"""The sections of a run's report. One section a file, which registers it.

A section is a function `(record) -> Section | None`: its plots, or None where the run has nothing to draw of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from chanc import plugins
from chanc.registry import Registry
from chanc.report.plots import Section
from chanc.report.record import Record

Maker = Callable[[Record], Section | None]
F = TypeVar("F", bound=Maker)


@dataclass(frozen=True)
class Placed:
    """What makes a section, and its place on the page: sections stand from the lowest order to the highest."""

    make: Maker
    order: int


PLOTS: Registry[Placed] = Registry("section of a report", "chanc.plots", __name__)


def register(name: str, *, order: int = 100) -> Callable[[F], F]:
    """Decorator: add a section to every report; chanc's own have the orders 10 to 60, and other ones come last.

    Raises ChancError where the name is another one's.
    """

    def add(make: F) -> F:
        PLOTS.add(name, Placed(make, order), source=make)
        return make

    return add


def sections(record: Record) -> list[Section]:
    """The sections of the report for which the run has data, in their order. Raises ChancError for one that fails."""
    found = []
    for name, placed in sorted(PLOTS.items(), key=lambda item: item[1].order):
        with plugins.guarded(f"the section {name} of the report"):
            section = placed.make(record)
        if section is not None:
            found.append(section)
    return found
