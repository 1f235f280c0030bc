"""The table that ends a rewrite or a pruning: what a model cost before, and what it costs now."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir
    from rich.table import Table

    from chanc.backends.ort import Latency

Pair = tuple["ir.Model", str]
"""A model and its file."""


def costs(before: Pair, after: Pair, sizes: Mapping[str, int], *, timed: bool) -> Table:
    """Params, MACs of a sample, file and (timed) latency, the two run in turn; sizes: of open axes."""
    from chanc.analysis import analyze
    from chanc.ir.save import size_on_disk
    from chanc.report.tables import Figures, costs_table

    spreads: tuple[Latency | None, Latency | None] = (None, None)
    if timed:
        from chanc.measuring.timing import latency

        spent = latency(before[0], after[0], dims=sizes)[0]
        spreads = (spent.latency, spent.other)
    figures = []
    for (model, file), spread in zip((before, after), spreads, strict=True):
        found = analyze(model, dims=sizes)
        figures.append(Figures(found.params, found.macs, size_on_disk(model, file), spread))
    return costs_table(*figures)


def show(table: Table) -> None:
    """Print a table, as wide as the terminal, or 120 columns where there is none."""
    from rich.console import Console

    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)
