"""The comparison of a run as a table: baseline, found, uniform and random widths."""

from __future__ import annotations

from collections.abc import Sequence

from chanc.report.record import Record, best_trial
from chanc.runs import Row, differences, points

COLUMNS = (
    "", "params", "MACs", "top-1 (%)", "n", "found is", "latency (ms)", "params / baseline", "MACs / baseline",
)  # fmt: skip
SPREAD = ("± is the standard error over n trainings of other seeds; what found is against a network is told by their "
          "paired differences, in percentage points, and can't be told within the 95 % interval.")  # fmt: skip


def comparison(record: Record) -> tuple[list[Row], str]:
    """Return the rows to compare and a note on them.

    Those of the final training; without one, the costs of the original network, and the first and the best trial.
    """
    if record.rows:
        return list(record.rows), SPREAD
    best = best_trial(record)
    if best is None:
        return [], ""
    first = record.measured[0]
    rows = _original(record)
    rows += [first.row(f"start (trial {first.id})")] if first is not best else []
    rows.append(best.row(f"best (trial {best.id})"))
    return rows, "After the few epochs of a trial, one training each (n = 1); there was no final training."


def _original(record: Record) -> list[Row]:
    """Return the row of the original network from the settings, which hold its params and MACs but no accuracy."""
    settings = record.config.get("settings")
    graph = settings.get("graph") if isinstance(settings, dict) else None
    if not isinstance(graph, dict):
        return []
    params, macs = graph.get("params"), graph.get("macs")
    return [Row("baseline", params, macs)] if isinstance(params, int) and isinstance(macs, int) else []


def row_cells(row: Row, rows: Sequence[Row] = ()) -> list[str]:
    """Return a row's texts, for the columns of `COLUMNS`; ratios are to the baseline among `rows`."""
    base = next((other for other in rows if other.name.startswith("baseline")), None)
    spread = f" ± {100 * row.top1_error:.2f}" if row.top1_error is not None else ""
    judged = differences(rows).get(row.name)
    return [
        row.title,
        _count(row.params),
        _count(row.macs),
        "–" if row.top1 is None else f"{100 * row.top1:.2f}{spread}",
        str(row.n) if row.n else "–",
        f"{judged.judgement}: {points(judged)}" if judged else "–",
        "–" if row.latency_s is None else f"{row.latency_s * 1e3:.2f}",
        _ratio(row.params, base.params if base else None),
        _ratio(row.macs, base.macs if base else None),
    ]


def _count(value: float | None) -> str:
    return "–" if value is None else f"{int(value):,}"


def _ratio(value: float | None, base: float | None) -> str:
    return f"{value / base:.3f}" if value and base else "–"
