"""The comparison of a run: baseline, found, uniform and random widths, in numbers and in one honest sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chanc.report.record import Record, Row, best_trial

COLUMNS = ("", "params", "MACs", "top-1 (%)", "latency (ms)", "params / baseline", "MACs / baseline")
# widths of other params tell nothing of each other's accuracy
EQUAL_COST = 0.10


def comparison(record: Record) -> tuple[list[Row], str]:
    """Return the rows to compare and a note on them.

    Those of the final training; without one, the costs of the original network, and the first and the best trial.
    """
    if record.rows:
        return list(record.rows), ""
    best = best_trial(record)
    if best is None:
        return [], ""
    first = record.measured[0]
    rows = _original(record)
    rows += [{**first, "name": f"start (trial {first.get('trial', 0)})"}] if first is not best else []
    rows.append({**best, "name": f"best (trial {best.get('trial', 0)})"})
    return rows, "After the few epochs of a trial; there was no final training."


def _original(record: Record) -> list[Row]:
    """Return the row of the original network from the settings, which hold its params and MACs but no accuracy."""
    for place in record.config.values():
        graph = place.get("graph") if isinstance(place, Mapping) else None
        if isinstance(graph, Mapping) and "params" in graph:
            return [{"name": "baseline", "params": graph["params"], "macs": graph.get("macs")}]
    return []


def verdict(rows: Sequence[Row]) -> list[str]:
    """Return one sentence on each rival: by how much the found widths beat it, or that they don't."""
    found = next((row for row in rows if row.get("name") == "found"), None)
    if found is None or top1(found) is None:
        return []
    sentences = []
    for rival in rows:
        theirs, ours = top1(rival), top1(found)
        if rival is found or theirs is None or ours is None:
            continue
        sentences.append(f"{_judged(ours - theirs, rival, found)}{_cost(rival, found)}.")
    return sentences


def top1(row: Row) -> float | None:
    """Return a row's top-1 in percent (a fraction is up to 1), None where it was not measured."""
    value = row.get("top1")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value * 100 if value <= 1 else float(value)


def row_cells(row: Row | None, rows: Sequence[Row] = ()) -> list[str]:
    """Return a row's texts, for the columns of `COLUMNS`; the columns' names for None."""
    if row is None:
        return list(COLUMNS)
    base = next((other for other in rows if str(other.get("name")).startswith("baseline")), None)
    accuracy, latency = top1(row), row.get("latency_s")
    spread = _spread(row)
    return [
        str(row.get("name", "")),
        _count(row.get("params")),
        _count(row.get("macs")),
        "–" if accuracy is None else f"{accuracy:.2f}" + (f" ± {spread:.2f}" if spread else ""),
        f"{latency * 1e3:.2f}" if isinstance(latency, int | float) else "–",
        _ratio(row, base, "params"),
        _ratio(row, base, "macs"),
    ]


def _judged(gain: float, rival: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    noise = max(_spread(rival) or 0.0, _spread(found) or 0.0)
    name = rival.get("name")
    if abs(gain) < 0.005:
        return f"Found widths are on a par with {name}"
    size = f"{abs(gain):.2f} percentage points"
    within = f" (within the spread of {noise:.2f})" if abs(gain) <= noise else ""
    if gain > 0:
        return f"Found widths beat {name} by {size}{within}"
    return f"Found widths do not beat {name}: {size} lower{within}"


def _cost(rival: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    theirs, ours = rival.get("params"), found.get("params")
    if not theirs or not ours:
        return ""
    ratio = ours / theirs
    return " at equal params" if abs(ratio - 1) <= EQUAL_COST else f" with {ratio:.2f} times its params"


def _spread(row: Mapping[str, Any]) -> float | None:
    value = row.get("top1_std", row.get("top1_spread"))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value * 100 if (row.get("top1") or 0) <= 1 else float(value)


def _count(value: Any) -> str:
    return f"{int(value):,}" if isinstance(value, int | float) else "–"


def _ratio(row: Row, base: Row | None, key: str) -> str:
    if base is None or not row.get(key) or not base.get(key):
        return "–"
    return f"{row[key] / base[key]:.3f}"
