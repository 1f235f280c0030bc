"""Reading a run directory for the report: what is there is used, what is missing is left out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chanc.errors import RunError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """A run as it lies on disk.

    `trials` are the lines of trials.jsonl, `timing` those of timing.jsonl (seconds), `rows` the comparison after the
    final training: mappings with name, params, macs, top1 (a fraction) and latency_s (seconds), whichever are known.
    """

    path: Path
    config: Mapping[str, Any]
    trials: tuple[Row, ...]
    timing: tuple[Row, ...]
    rows: tuple[Row, ...]

    @property
    def groups(self) -> list[str]:
        """The group ids of all trials, in the order in which the run lists them (that of the graph)."""
        return list(dict.fromkeys(group for trial in self.trials for group in trial.get("widths") or {}))

    def setting(self, name: str, default: Any = None) -> Any:
        """Return a setting of the run, wherever config.json holds it: the outermost one of that name."""
        level: list[Mapping[str, Any]] = [self.config]
        while level:
            for place in level:
                if place.get(name) is not None and not isinstance(place[name], Mapping):
                    return place[name]
            level = [value for place in level for value in place.values() if isinstance(value, Mapping)]
        return default

    @property
    def subject(self) -> str:
        """The names that tell which network this is: the model's and the preset's."""
        return f"{self.setting('model', '')} {self.setting('preset', '')}"

    @property
    def numbers(self) -> list[int]:
        """The number of each trial."""
        return [number(trial, index) for index, trial in enumerate(self.trials)]

    @property
    def measured(self) -> list[Row]:
        """The trials that came to a top-1: neither failed nor skipped."""
        return [trial for trial in self.trials if isinstance(trial.get("top1"), int | float)]


def number(trial: Row, index: int) -> int:
    """Return a trial's number; `index` is its place in the file."""
    return int(trial.get("trial", index))


def get(row: Any, *keys: str) -> float | None:
    """Return the finite number at a path of keys, None where there is none."""
    for key in keys:
        row = row.get(key) if isinstance(row, Mapping) else None
    return finite(row)


def finite(value: Any) -> float | None:
    """Return `value` where it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def percent(values: Sequence[float | None]) -> list[float | None]:
    """Return accuracies as percentages, whether they come as fractions (none above 1) or as percentages."""
    known = [value for value in values if value is not None]
    factor = 100.0 if known and max(known) <= 1.0 else 1.0
    return [None if value is None else round(value * factor, 4) for value in values]


def read_record(run_dir: Path) -> Record:
    """Read a run directory. Raises RunError where `run_dir` is none, or a file in it is damaged."""
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise RunError(f"{run_dir} is not a run directory: {'a file' if run_dir.exists() else 'it does not exist'}")
    if not any((run_dir / name).is_file() for name in ("config.json", "trials.jsonl")):
        raise RunError(f"{run_dir} is not a run directory: it holds neither config.json nor trials.jsonl")
    config = read_json(run_dir / "config.json")
    trials = sorted(_read_lines(run_dir / "trials.jsonl"), key=lambda trial: int(trial.get("trial", 0)))
    return Record(
        path=run_dir,
        config=config if isinstance(config, Mapping) else {},
        trials=tuple(trials),
        timing=tuple(_read_lines(run_dir / "timing.jsonl")),
        rows=tuple(_comparison(run_dir)),
    )


def best_trial(record: Record) -> Row | None:
    """Return the trial that best.json names, else the measured one of the highest top-1, None before any."""
    stored = read_json(record.path / "best.json")
    number = stored.get("trial") if isinstance(stored, Mapping) else None
    named = [trial for trial in record.measured if number is not None and trial.get("trial") == number]
    return next(iter(named), None) or max(record.measured, key=lambda trial: float(trial["top1"]), default=None)


def _comparison(run_dir: Path) -> list[Row]:
    for name in ("comparison.json", "final.json"):
        stored = read_json(run_dir / name)
        if isinstance(stored, Mapping):
            stored = stored.get("rows", stored.get("comparison", stored))
        if isinstance(stored, Mapping):
            stored = [{"name": key, **row} for key, row in stored.items() if isinstance(row, Mapping)]
        rows = [row for row in stored or [] if isinstance(row, Mapping) and "name" in row]
        if rows:
            return rows
    return list(_read_lines(run_dir / "comparison.jsonl"))


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, None where there is none. Raises RunError where it is damaged."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise RunError(f"{path} is damaged: it is not JSON") from None


def _read_lines(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            # a run killed while it wrote leaves half a line at the end, and only there
            if number == len(lines):
                break
            raise RunError(f"{path} is damaged: line {number} is not JSON") from None
        if isinstance(row, Mapping):
            rows.append(row)
    return rows
