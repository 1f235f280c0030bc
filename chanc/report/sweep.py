"""The report of a sweep: every method's widths against their cost, seeds put together (CONet, figure 6)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chanc.report.accuracy_plots import accuracy_section
from chanc.report.plots import Section
from chanc.report.record import Record, Row, finite, read_json

# what a finished cell records besides its settings
RESULT = ("cell", "seed", "trials", "widths", "rows")


def is_sweep(folder: Path) -> bool:
    """Say whether a folder holds a sweep."""
    return (folder / "sweep.json").is_file()


def read_sweep(folder: Path) -> Record:
    """Read a sweep as a record without trials, whose rows are settings averaged over their cells.

    A row has name (the method, or the rival), label, params, macs, top1, top1_std and latency_s. Raises RunError where
    a file is damaged.
    """
    asked = read_json(folder / "sweep.json")
    cells = [
        row for row in (read_json(path) for path in sorted(folder.glob("*/cell.json"))) if isinstance(row, Mapping)
    ]
    return Record(folder, asked if isinstance(asked, Mapping) else {}, (), (), tuple(_rows(cells)))


def sweep_facts(record: Record) -> list[tuple[str, str]]:
    """Return what was swept, how far it got, and which cells failed."""
    asked = [str(name) for name in record.config.get("cells") or []]
    done = [name for name in asked if (record.path / name / "cell.json").is_file()]
    failed = [name for name in asked if name not in done and (record.path / name / "error.txt").is_file()]
    facts = [("sweep of", str(record.config.get("model", ""))), ("cells", f"{len(done)} of {len(asked)}")]
    return [*facts, ("failed cells", ", ".join(failed))] if failed else facts


def sweep_sections(record: Record) -> list[Section]:
    """Return the sections of a sweep's report."""
    section = accuracy_section(record)
    if section is None:
        return []
    return [Section(section.id, section.title, "One point a setting, the mean over its cells (seeds).", section.plots)]


def _rows(cells: Sequence[Row]) -> list[Row]:
    settings: dict[str, list[Row]] = {}
    for cell in cells:
        label = ", ".join(f"{key} {value}" for key, value in cell.items() if key not in (*RESULT, "algo"))
        settings.setdefault(f"{cell.get('algo')}\n{label}", []).append(cell)
    rows: list[Row] = []
    baselines = [row for cell in cells if (row := _result(cell, "baseline"))]
    if baselines:
        rows.append(_mean("baseline", "the original network", baselines))
    for key, found in settings.items():
        algo, label = key.split("\n", 1)
        for name in ("found", "uniform", "random"):
            results = [row for cell in found if (row := _result(cell, name))]
            if results:
                shown = algo if name == "found" else name
                rows.append(_mean(shown, label if name == "found" else f"as large as {algo} {label}".strip(), results))
    return rows


def _result(cell: Row, name: str) -> Row | None:
    results = cell.get("rows")
    row = results.get(name) if isinstance(results, Mapping) else None
    return row if isinstance(row, Mapping) else None


def _mean(name: str, label: str, results: Sequence[Row]) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name}
    for key in ("params", "macs", "top1", "latency_s"):
        known = [value for result in results if (value := finite(result.get(key))) is not None]
        row[key] = statistics.fmean(known) if known else None
        if key == "top1" and len(known) > 1:
            row["top1_std"] = statistics.stdev(known)
    row["label"] = f"{label}{', ' if label else ''}{len(results)} cell{'s' if len(results) != 1 else ''}"
    return row
