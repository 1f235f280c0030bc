"""The report of a search run: one HTML page that holds everything, and the same plots as static images."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chanc.data.contract import recorded
from chanc.errors import ChancError
from chanc.files import Json, atomic_write_text
from chanc.report.colours import sequential
from chanc.report.embed import page
from chanc.report.plots import Section
from chanc.report.pruned import (
    COLUMNS as PRUNED_COLUMNS,
)
from chanc.report.pruned import (
    PruningRecord,
    is_pruning,
    pruning_facts,
    pruning_rows,
    pruning_sections,
    read_pruning,
)
from chanc.report.published import search_days
from chanc.report.record import Record, Tree, read_record
from chanc.report.sections import sections
from chanc.report.summary import COLUMNS, comparison, row_cells
from chanc.report.sweep import is_sweep, read_sweep, sweep_facts, sweep_sections
from chanc.runs import Row, verdict
from chanc.runs.edges import TRAINED
from chanc.runs.overhead import spent
from chanc.runs.supernet import epoch_timings

if TYPE_CHECKING:
    from chanc.report.graph import Reads

SCRIPTS = ["page.js", "plots.js", "graph.js", "boot.js"]


def write_report(run_dir: str | Path, path: Path | None = None) -> Path:
    """Write the report of a run, a pruning or a sweep and return its path: `report.html` in its directory, or `path`.

    Files that are missing are left out of the report. Raises RunError where `run_dir` is neither or a file in it is
    damaged, OSError where the page can't be written.
    """
    folder = Path(run_dir)
    if is_sweep(folder):
        text = _sweep_page(read_sweep(folder))
    else:
        text = _pruning_page(read_pruning(folder)) if is_pruning(folder) else _run_page(read_record(folder))
    page = path or folder / "report.html"
    atomic_write_text(page, text)
    return page


def write_images(run_dir: str | Path, folder: str | Path, kind: str = "png") -> list[Path]:
    """Write each plot of a run or a sweep, and the best model's groups, into `folder`, which is made if missing.

    kind: of the files, "png", "svg" or "pdf".

    Raises RunError as `write_report`, MissingDependencyError without matplotlib.
    """
    from chanc.report.static import draw_all

    source, target = Path(run_dir), Path(folder)
    if is_pruning(source):
        target.mkdir(parents=True, exist_ok=True)
        return draw_all(pruning_sections(read_pruning(source)), None, target, kind)
    swept = is_sweep(source)
    record = read_sweep(source) if swept else read_record(source)
    graph = None if swept else _best_graph(record)[0]
    target.mkdir(parents=True, exist_ok=True)
    return draw_all(sweep_sections(record) if swept else sections(record), graph, target, kind)


def _run_page(record: Record) -> str:
    graph, why_not = _best_graph(record)
    title = f"{record.setting('algo', 'Search')} on {Path(str(record.setting('model', record.path.name))).name}"
    rows, note = comparison(record)
    report = _report(record, rows, note, sections(record))
    report |= {"facts": _facts(record), "verdict": [*verdict(rows), *record.told], "no_graph": why_not}
    report["warnings"] = list(record.warnings)
    searched = bool(record.kept) and (record.path / TRAINED).is_file()
    shown = "What each layer reads of the network that was searched" if searched else "Channel groups of the best model"
    data = {"report": report, "network_title": shown}
    return page(title, data if graph is None else {**data, "graph": graph}, SCRIPTS)


def _sweep_page(record: Record) -> str:
    rows = [dataclasses.replace(row, name=f"{row.title} ({row.label})") for row in record.rows]
    report = _report(record, rows, "± is the standard error over n cells.", sweep_sections(record))
    report |= {"facts": sweep_facts(record), "verdict": [], "warnings": [], "no_graph": ""}
    return page(f"Sweep {record.path.resolve().name}", {"report": report}, SCRIPTS)


def _pruning_page(record: PruningRecord) -> str:
    rows = pruning_rows(record)
    report = {
        "command": "",
        "tables": [{"head": list(PRUNED_COLUMNS), "rows": rows, "note": "Scores are those on samples held out."}],
        "sections": [section.data() for section in pruning_sections(record)],
        "palette": sequential(),
        "settings": [[key, _text(value)] for key, value in _flat(record.config)],
        "facts": pruning_facts(record), "verdict": [], "warnings": [], "no_graph": "",
    }  # fmt: skip
    data = {"report": report, "network_title": "Channel groups of the pruned model"}
    graph = None
    if record.steps:
        graph, report["no_graph"] = _graph_of(record.path / record.steps[-1].file)
    return page(f"Pruning {record.path.resolve().name}", data if graph is None else {**data, "graph": graph}, SCRIPTS)


def _report(record: Record, rows: Sequence[Row], note: str, shown: Sequence[Section]) -> dict[str, Any]:
    cells = [row_cells(row, rows) for row in rows]
    return {
        "command": _command(record),
        "tables": [{"head": list(COLUMNS), "rows": cells, "note": note}] if cells else [],
        "sections": [section.data() for section in shown],
        "palette": sequential(),
        "settings": [[key, _text(value)] for key, value in _flat(record.config)],
    }


def _facts(record: Record) -> list[tuple[str, str]]:
    names = ("algo", "preset", "model", "data", "epochs", "gamma", "seed", "device", "version")
    facts = [(name, _text(record.setting(name))) for name in names if record.setting(name) is not None]
    wanted = record.setting("trials")
    done = f"{len(record.trials)} of {wanted}" if wanted else str(len(record.trials))
    facts.insert(1, ("epochs trained", str(len(record.whole))) if record.whole else ("trials", done))
    facts += [("input", text)] if (text := _pixels(record)) else []
    for kind in ("failed", "skipped"):
        trials = [str(trial.id) for trial in record.trials if getattr(trial, kind)]
        facts += [(f"{kind} trials", ", ".join(trials))] if trials else []
    facts += [("time", time.in_words())] if (time := spent(record.timing)).training else []
    peaks = [line.peak_bytes for line in epoch_timings(record.timing) if line.peak_bytes is not None]
    facts += [("peak memory", f"{max(peaks) / 2**20:,.0f} MiB")] if peaks else []
    published = search_days(record.subject, str(record.setting("algo", "")))
    if published:
        facts.append((f"published search cost, {published['source']}", f"{published['gpu_days']} GPU-days"))
    return facts


def _pixels(record: Record) -> str:
    """How the networks of the run take their pixels."""
    settings = record.config.get("settings")
    entries = settings if isinstance(settings, dict) else {}
    return str(recorded({name: value for name, value in entries.items() if isinstance(value, str)}, "NCHW") or "")


def _command(record: Record) -> str:
    command = record.setting("command", record.setting("argv"))
    return shlex.join(str(part) for part in command) if isinstance(command, list) else str(command or "")


def _flat(config: Tree, prefix: str = "") -> list[tuple[str, Json]]:
    rows: list[tuple[str, Json]] = []
    for key, value in config.items():
        name = f"{prefix}{key}"
        rows += _flat(value, f"{name}.") if isinstance(value, dict) and value else [(name, value)]
    return rows


def _text(value: Json, limit: int = 160) -> str:
    text = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _best_graph(record: Record) -> tuple[dict[str, Any] | None, str]:
    """Return the drawing of best.onnx, or None and the reason.

    Where readers dropped inputs, that of the model which they trained in: it still has the tensors that all read.
    """
    trained = record.path / TRAINED
    if record.kept and trained.is_file():
        return _graph_of(trained, record.kept)
    path = record.path / "best.onnx"
    return _graph_of(path) if path.is_file() else (None, "The run has no best.onnx yet.")


def _graph_of(path: Path, reads: Reads | None = None) -> tuple[dict[str, Any] | None, str]:
    from chanc.analysis import analyze
    from chanc.report.visualizer import model_graph

    try:
        return model_graph(analyze(path), reads), ""
    except ChancError as error:
        return None, f"{path.name} can't be drawn: {error}"
