"""The report of a pruning: what became of every width, where the cost went, and what each stage was worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chanc.analysis import Analysis, analyze
from chanc.analysis.layers import layers
from chanc.errors import RunError
from chanc.files import Json
from chanc.ir import load
from chanc.report.colours import depth_colour
from chanc.report.plots import Axis, Plot, Section, Series, scaled
from chanc.runs import INPUT, StepEvent, read_run
from chanc.runs.record import read_config

COLUMNS = ("step", "stage", "params", "MACs", "left of the MACs", "score")


@dataclass(frozen=True)
class PruningRecord:
    """What is drawn of a pruning. sizes: of open axes, at which it was counted."""

    path: Path
    config: Mapping[str, Json]
    steps: tuple[StepEvent, ...]
    sizes: Mapping[str, int]

    @property
    def edges(self) -> bool:
        """Whether edges went, and widths are those of what layers read."""
        settings = self.config["settings"]
        return isinstance(settings, dict) and settings.get("edges") is True

    def analysed(self, file: str) -> Analysis:
        """A model of the run."""
        return analyze(load(self.path / file), dims=self.sizes, fold=False)


def is_pruning(folder: Path) -> bool:
    """Say whether a folder holds the run of a pruning."""
    if not (folder / "config.json").is_file():
        return False
    settings = read_config(folder).get("settings")
    return isinstance(settings, dict) and settings.get("kind") == "prune"


def read_pruning(folder: Path) -> PruningRecord:
    """Read the run of a pruning. Raises RunError where a file is damaged."""
    run = read_run(folder)
    sizes = run.settings.get("sizes")
    known = {name: int(str(size)) for name, size in sizes.items()} if isinstance(sizes, dict) else {}
    config = {"settings": dict(run.settings), "environment": dict(run.environment)}
    return PruningRecord(run.path, config, run.steps, known)


def pruning_facts(record: PruningRecord) -> list[tuple[str, str]]:
    """Return what was asked for, and how far it got."""
    settings, environment = (record.config[name] for name in ("settings", "environment"))
    if not isinstance(settings, dict) or not isinstance(environment, dict):
        raise RunError(f"{record.path} is damaged: its settings are none")
    names = ("max_params", "max_macs", "max_latency", "task", "importance", "epochs")
    facts = [("model", str(environment.get("model", "")))]
    facts += [(name.replace("_", " "), str(settings[name])) for name in names if settings.get(name) is not None]
    facts += [("cut", "edges")] if record.edges else []
    return [*facts, ("steps", f"{len(record.steps)} of {settings.get('steps')}")]


def pruning_rows(record: PruningRecord) -> list[list[str]]:
    """Return the table of all stages of all steps."""
    whole = record.analysed(INPUT)
    rows = [["", "original", f"{whole.params:,}", f"{whole.macs:,}", "100.0 %", ""]]
    for event in record.steps:
        cost = [f"{event.params:,}", f"{event.macs:,}", f"{100 * event.macs / max(whole.macs, 1):.1f} %"]
        rows += [[str(event.id + 1), stage, *cost, f"{score:.4g}"] for stage, score in event.scores.items()]
    return rows


def pruning_sections(record: PruningRecord) -> list[Section]:
    """Return the pictures; none before the first step is done."""
    return [_scores(record), _widths(record), _costs(record)] if record.steps else []


def _scores(record: PruningRecord) -> Section:
    whole = record.analysed(INPUT).macs
    stages = list(dict.fromkeys(stage for event in record.steps for stage in event.scores))
    x = [100 * event.macs / max(whole, 1) for event in record.steps]
    lines = [
        Series(stage, x, [event.scores.get(stage) for event in record.steps], depth_colour(k, len(stages)),
               marker="circle", lead=stage == stages[-1])
        for k, stage in enumerate(stages)
    ]  # fmt: skip
    plot = Plot("scores", "Scores", Axis("MACs left", "%"), Axis("score"), lines)
    return Section("scores", "What each stage is worth", "The score on samples that were held out, step by step: after "
                   "the channels went, after the layers were refitted, after training.", [plot])  # fmt: skip


def _widths(record: PruningRecord) -> Section:
    groups = list(record.steps[0].before)
    x = list(range(1, len(groups) + 1))
    stages = [("before", record.steps[0].before)] + [(f"step {e.id + 1}", e.widths) for e in record.steps]
    lines = [
        Series(name, x, [widths.get(group) for group in groups], depth_colour(k, len(stages)), labels=groups,
               marker="circle", line=False, lead=k == len(stages) - 1)
        for k, (name, widths) in enumerate(stages)
    ]  # fmt: skip
    if record.edges:
        inputs = Axis("inputs", "channels", log=True)
        plot = Plot("inputs", "Inputs", Axis("layer, from first to last"), inputs, lines)
        return Section("inputs", "What layers read", "The inputs of every layer before and after; each dropped its "
                       "own, and channels that nothing reads went with what makes them.", [plot])  # fmt: skip
    width = Axis("width", "channels", log=True)
    plot = Plot("widths", "Widths", Axis("channel group, from first to last"), width, lines)
    return Section("widths", "Widths", "Every channel group before and after.", [plot])


def _costs(record: PruningRecord) -> Section:
    found = [("before", layers(record.analysed(INPUT))), ("after", layers(record.analysed(record.steps[-1].file)))]
    names = [layer.name for layer in found[0][1] if layer.counted and layer.macs]
    largest, word = scaled(max((layer.macs for layer in found[0][1] if layer.counted), default=1))
    lines = []
    for k, (name, of) in enumerate(found):
        macs = {layer.name: layer.macs / largest for layer in of if layer.counted}
        lines.append(Series(name, list(range(1, len(names) + 1)), [macs.get(layer) for layer in names],
                            depth_colour(k, 2), labels=names, marker="circle", lead=k == 1))  # fmt: skip
    plot = Plot("costs", "MACs", Axis("layer, from first to last"), Axis("MACs", word), lines)
    return Section("costs", "Where the cost went", "MACs of each layer before and after.", [plot])
