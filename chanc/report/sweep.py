"""The report of a sweep: every method's widths against their cost, seeds put together (CONet, figure 6).

It has the sections of a run for which a sweep has data.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from chanc.report.plots import Section
from chanc.report.record import Record
from chanc.report.sections import sections
from chanc.report.swept import swept, word
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
    places = [path.parent for path in sorted(folder.glob("*/cell.json"))]
    cells = [swept(place, cell) for place in places if (cell := read_cell(place)) is not None]
    return Record(folder, asked or {}, rows=tuple(_rows([cell.result for cell in cells])), cells=tuple(cells))


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
    said = {"accuracy": "One point a setting, the mean over its cells (seeds)."}
    return [dataclasses.replace(section, text=said.get(section.id, section.text)) for section in sections(record)]


def _rows(cells: Sequence[CellResult]) -> list[Row]:
    settings: dict[tuple[str, str], list[CellResult]] = {}
    for cell in cells:
        label = ", ".join(f"{key} {word(value)}" for key, value in cell.axes.items())
        settings.setdefault((cell.algo, label), []).append(cell)
    rows = _baselines(settings)
    for (algo, label), found in settings.items():
        for name in dict.fromkeys(name for cell in found for name in cell.rows if name != "baseline"):
            shown = algo if name == "found" else name
            said = label if name == "found" else f"as large as {algo} {label}".strip()
            rows.append(_mean(shown, said, [cell for cell in found if name in cell.rows], name))
    return rows


def _baselines(settings: Mapping[tuple[str, str], Sequence[CellResult]]) -> list[Row]:
    """The original network: one row for all settings by which it was trained alike, cells sharing its trainings.

    Settings that train it otherwise, by another final recipe for one, have a row each.
    """
    kinds: list[tuple[str, list[CellResult], dict[str, float]]] = []
    for (algo, label), cells in settings.items():
        own = [cell for cell in cells if "baseline" in cell.rows]
        scores = {seed: score for cell in own for seed, score in _trainings(cell, "baseline").items()}
        alike = next((kind for kind in kinds if all(kind[2].get(seed, score) == score
                                                    for seed, score in scores.items())), None)  # fmt: skip
        if alike is not None:
            alike[1].extend(own)
            alike[2].update(scores)
        elif own:
            kinds.append((f"{algo} {label}".strip(), own, scores))
    said = "the original network"
    return [_mean("baseline", said if len(kinds) == 1 else f"{said} as in {label}", cells, "baseline", scores)
            for label, cells, scores in kinds]  # fmt: skip


def _trainings(cell: CellResult, role: str) -> Mapping[str, float]:
    """The top-1 of a role's trainings by their seeds, or of the one that has no seed on record."""
    row = cell.rows[role]
    return row.scores or ({cell.cell: row.top1} if row.top1 is not None else {})


def _mean(
    name: str, label: str, cells: Sequence[CellResult], role: str, trainings: Mapping[str, float] | None = None
) -> Row:
    """One row of a role in several cells, whose accuracies are its scores where no trainings are given."""
    results = [cell.rows[role] for cell in cells]
    by_cell = {cell.cell: top1 for cell in cells if (top1 := cell.rows[role].top1) is not None}
    by_cell = dict(trainings) if trainings is not None else by_cell
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
