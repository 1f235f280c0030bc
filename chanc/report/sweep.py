"""The report of a sweep: every method's widths against their cost, seeds put together (CONet, figure 6)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from chanc.report.plots import Section
from chanc.report.record import Record
from chanc.report.sections.accuracy import accuracy_section
from chanc.runs import Row
from chanc.runs.sweeps import CellResult, read_asked, read_cell


def is_sweep(folder: Path) -> bool:
    """Say whether a folder holds a sweep."""
    return (folder / "sweep.json").is_file()


def read_sweep(folder: Path) -> Record:
    """Read a sweep as a record without trials, whose rows are settings averaged over their cells.

    A row's name is the method, or the rival. Raises RunError where a file is damaged.
    """
    asked = read_asked(folder)
    cells = [cell for path in sorted(folder.glob("*/cell.json")) if (cell := read_cell(path.parent)) is not None]
    return Record(folder, asked or {}, rows=tuple(_rows(cells)))


def sweep_facts(record: Record) -> list[tuple[str, str]]:
    """Return what was swept, how far it got, and which cells failed."""
    cells = record.config.get("cells")
    asked = [str(name) for name in cells] if isinstance(cells, list) else []
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


def _rows(cells: Sequence[CellResult]) -> list[Row]:
    settings: dict[tuple[str, str], list[CellResult]] = {}
    for cell in cells:
        label = ", ".join(f"{key} {value}" for key, value in cell.options.items())
        settings.setdefault((cell.algo, label), []).append(cell)
    baselines = [cell for cell in cells if "baseline" in cell.rows]
    rows = [_mean("baseline", "the original network", baselines, "baseline")] if baselines else []
    for (algo, label), found in settings.items():
        for name in dict.fromkeys(name for cell in found for name in cell.rows if name != "baseline"):
            shown = algo if name == "found" else name
            said = label if name == "found" else f"as large as {algo} {label}".strip()
            rows.append(_mean(shown, said, [cell for cell in found if name in cell.rows], name))
    return rows


def _mean(name: str, label: str, cells: Sequence[CellResult], role: str) -> Row:
    """One row of a role in several cells, whose accuracies are its scores."""
    results = [cell.rows[role] for cell in cells]
    by_cell = {cell.cell: top1 for cell in cells if (top1 := cell.rows[role].top1) is not None}
    scores = list(by_cell.values())
    return Row(
        name=name,
        params=_average([row.params for row in results]),
        macs=_average([row.macs for row in results]),
        top1=_average(scores),
        top1_std=statistics.stdev(scores) if len(scores) > 1 else None,
        latency_s=_average([row.latency_s for row in results]),
        label=f"{label}{', ' if label else ''}{len(results)} cell{'s' if len(results) != 1 else ''}",
        scores=by_cell,
    )


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
