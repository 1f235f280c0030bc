"""What a sweep leaves in its folder: sweep.json says what was asked, CELL/cell.json how a finished search came out.

    sweep.json       {"format": 2, "model": ..., "cells": [names], "common": the options that all cells share}
    CELL/cell.json   {"cell": name, "algo": ..., the method's options, "seed": ..., "trials": ..., "rows": {role: row},
                      "settings": the search's other options that the sweep varies}
    CELL/error.txt   why a search failed

The first two end in a checksum of their fields, "crc".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chanc.errors import RunError
from chanc.files import Json, plain
from chanc.runs.decode import decode
from chanc.runs.rows import Row
from chanc.runs.seal import read_json, read_sealed, write_sealed

SWEEP, CELL = "sweep.json", "cell.json"


@dataclass(frozen=True)
class CellResult:
    """How a finished cell came out; rows are the networks that were compared, by role.

    options are the method's, settings all other ones in which cells differ, by their names on the command line.
    """

    cell: str
    algo: str
    seed: int = 0
    trials: int = 0
    widths: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, Row] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def axes(self) -> dict[str, Any]:
        """What tells it from other cells, but for its method and seed."""
        return {**self.settings, **self.options}

    def flat(self) -> dict[str, Json]:
        """The content of cell.json, where the options stand among the other fields."""
        fields: dict[str, object] = {"cell": self.cell, "algo": self.algo, **self.options, "seed": self.seed}
        rows = {name: plain(row) for name, row in self.rows.items()}
        found = plain(fields | {"trials": self.trials, "widths": self.widths, "rows": rows}
                      | ({"settings": self.settings} if self.settings else {}))  # fmt: skip
        assert isinstance(found, dict)
        return found


def write_cell(path: Path, result: CellResult) -> None:
    """Mark a cell as finished: the last thing that is written of it."""
    write_sealed(path / CELL, result.flat())


def read_cell(path: Path) -> CellResult | None:
    """The result of a finished cell, None of another one. Raises RunError where it is damaged."""
    found = read_sealed(path / CELL)
    if found is None:
        return None
    try:
        return _cell(found)
    except ValueError as error:
        raise RunError(f"{path / CELL} is damaged: {error}") from None


def read_asked(folder: Path) -> dict[str, Json] | None:
    """What a sweep was asked for, None where a folder holds none. Raises RunError where it is damaged or too old."""
    found = read_json(folder / SWEEP)
    if isinstance(found, dict) and found.get("format") == 1:
        raise RunError(f"{folder} was made by an older chanc: it can't be gone on with")
    return read_sealed(folder / SWEEP)


def _cell(found: Mapping[str, Json]) -> CellResult:
    known = {entry.name for entry in dataclasses.fields(CellResult)} - {"options", "rows"}
    given = found.get("rows")
    rows: dict[str, Json] = given if isinstance(given, dict) else {}
    named: Json = {name: {"name": name, **row} for name, row in rows.items() if isinstance(row, dict)}
    options: Json = {name: value for name, value in found.items() if name not in known | {"rows"}}
    return decode(CellResult, {**{name: found[name] for name in known & found.keys()}, "rows": named,
                               "options": options})  # fmt: skip
