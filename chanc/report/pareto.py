"""Several runs in one picture: the accuracy of what they found against its cost, and what no other network beats."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chanc.errors import RunError
from chanc.files import atomic_write_text
from chanc.report.colours import depth_colour, group_colour, sequential
from chanc.report.embed import page
from chanc.report.plots import Axis, Marker, Plot, Section, Series, scaled
from chanc.report.published import reference_points
from chanc.report.record import Record, read_record
from chanc.report.run import SCRIPTS
from chanc.report.searches import COLUMNS as SEARCH_COLUMNS
from chanc.report.searches import NOTE, search_rows
from chanc.report.sections._common import GREY, look, published_series, spread
from chanc.report.sections.accuracy import row_series
from chanc.report.summary import COLUMNS, SPREAD, row_cells
from chanc.runs import Row, verdict


def write_pareto(folders: Sequence[Path], path: Path) -> Path:
    """Write the page of several runs. Raises RunError as `read_runs`, OSError where the page can't be written."""
    atomic_write_text(path, page("Accuracy against cost", {"report": _report(read_runs(folders))}, SCRIPTS))
    return path


def write_pareto_images(folders: Sequence[Path], target: Path, kind: str = "png") -> list[Path]:
    """The same pictures as files, "png", "svg" or "pdf". Raises MissingDependencyError without matplotlib."""
    from chanc.report.static import draw_all

    records = read_runs(folders)
    target.mkdir(parents=True, exist_ok=True)
    return draw_all([pareto_section(records)], None, target, kind)


def read_runs(folders: Sequence[Path]) -> list[Record]:
    """The runs, in the order given. Raises RunError for one without final trainings, and for one on other data."""
    records = [read_record(folder) for folder in folders]
    for record in records:
        if not record.rows:
            raise RunError(f"{record.path} has no final trainings: accuracies after a trial's few epochs don't compare "
                           f"from run to run (chanc search --resume --out {record.path} --final-epochs N)")  # fmt: skip
        if record.setting("data") != records[0].setting("data"):
            raise RunError(f"{record.path} is of the data set {record.setting('data')}, and {records[0].path} of "
                           f"{records[0].setting('data')}: their accuracies don't compare")  # fmt: skip
    return records


def pareto_section(records: Sequence[Record]) -> Section:
    """Top-1 against params and against MACs."""
    plots = [_plot(records, key, unit) for key, unit in (("params", "parameters"), ("macs", "MACs"))]
    text = "The dashed line joins the networks that none of lower cost beats, by their means."
    return Section("pareto", "Accuracy against cost", text, plots)


def _plot(records: Sequence[Record], key: str, unit: str) -> Plot:
    names = _names(records)
    series = [row_series(names[index], [row for row in record.rows if row.name == "found"], key,
                         depth_colour(index, len(records)), "diamond", line=False)
              for index, record in enumerate(records)]  # fmt: skip
    series += _rivals(records, key)
    series += _published(records, key)
    front = pareto_front([(x, y) for one in series if one.name != "published" for x, y in zip(one.x, one.y, strict=True)
                          if x is not None and y is not None])  # fmt: skip
    series.append(Series("none better", [x for x, _ in front], [y for _, y in front], GREY, dash=True))
    divisor, word = scaled(max((x for one in series for x in one.x if x is not None), default=1))
    lines = [dataclasses.replace(one, x=[x / divisor for x in one.x if x is not None]) for one in series if one.x]
    note = spread([row.n for record in records for row in record.rows])
    return Plot(f"pareto-{key}", unit, Axis(unit, word), Axis("top-1", "%"), lines, note=note)


def _rivals(records: Sequence[Record], key: str) -> list[Series]:
    """One series a role; the baselines of runs of one model are one network, trained again."""
    several = len({_model(record) for record in records}) > 1
    rows: dict[str, list[Row]] = {}
    for record, name in zip(records, _names(records), strict=True):
        for row in record.rows:
            if row.name != "found" and row.top1 is not None:
                title = f"baseline {_model(record)}" if several and row.name == "baseline" else row.title
                rows.setdefault(title, []).append(dataclasses.replace(row, label=f"of {name}, n = {row.n}"))
    return [row_series(title, of, key, *_look(title, of[0], list(rows)), line=False) for title, of in rows.items()]


def _model(record: Record) -> str:
    return Path(str(record.setting("model", ""))).stem


def _look(title: str, row: Row, titles: Sequence[str]) -> tuple[str, Marker]:
    """The colour and the marker of a rival; the baselines of several models have colours of their own."""
    colour, marker = look(row.name)
    baselines = [one for one in titles if one.startswith("baseline ")]
    return (group_colour(baselines.index(title)), marker) if title in baselines else (colour, marker)


def _published(records: Sequence[Record], key: str) -> list[Series]:
    """Networks of others, whose accuracy and cost are both known; how often they were trained is not."""
    data = Path(str(records[0].setting("data", ""))).name
    entries = {entry["label"]: entry for record in records for entry in reference_points(record.subject, data)}
    return published_series(list(entries.values()), key)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those of (cost, top-1) that no point of lower or equal cost reaches, by rising cost."""
    front: list[tuple[float, float]] = []
    for cost, top1 in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or top1 > front[-1][1]:
            front.append((cost, top1))
    return front


def _names(records: Sequence[Record]) -> list[str]:
    """The runs by the shortest ends of their paths that tell them apart."""
    parts = [record.path.resolve().parts for record in records]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            break
    return names


def _report(records: Sequence[Record]) -> dict[str, Any]:
    rows: list[list[str]] = []
    lines: list[str] = []
    warnings: list[str] = []
    for name, record in zip(_names(records), records, strict=True):
        rows += [[f"{name}: {title}", *cells] for title, *cells in (row_cells(row, record.rows) for row in record.rows)]
        lines += [f"{name}: {sentence}" for sentence in verdict(record.rows)]
        warnings += [f"{name}: {line}" for line in record.warnings]
    tables = [{"head": list(COLUMNS), "rows": rows, "note": SPREAD}]
    if searches := search_rows(records, _names(records)):
        tables.append({"head": list(SEARCH_COLUMNS), "rows": searches, "note": NOTE})
    facts = [("runs", str(len(records))), ("data", str(records[0].setting("data", "")))]
    return {
        "facts": facts,
        "command": "",
        "warnings": warnings,
        "verdict": lines,
        "tables": tables,
        "sections": [pareto_section(records).data()],
        "palette": sequential(),
        "settings": [],
        "no_graph": "",
    }
