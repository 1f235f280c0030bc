"""The plots of a search run: widths, metrics, cumulative metric, training, and those of its own modules, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chanc.report.acceptance_plots import acceptance_section
from chanc.report.accuracy_plots import ROLES, accuracy_section
from chanc.report.colours import oklch
from chanc.report.plots import Axis, HeatMap, Number, Plot, Section, Series, by_depth
from chanc.report.record import Record, finite, percent

TRIAL = Axis("trial")
EPOCH = "epoch of the search, all trials in a row"
MEAN = oklch(0.62, 0.15, 150)
DEPTH = "channel groups, first to last in the graph"
METRICS = {
    "in_qc": "QC of the in mode",
    "out_qc": "QC of the out mode",
    "in_rank": "rank of the in mode, R = N'/I",
    "out_rank": "rank of the out mode, R = N'/O",
    "in_kappa": "condition of the in mode, d₁/d_N'",
    "out_kappa": "condition of the out mode, d₁/d_N'",
}


def sections(record: Record) -> list[Section]:
    """Return the sections of the report for which the run has data."""
    makers: Sequence[Callable[[Record], Section | None]] = (
        accuracy_section,
        width_section,
        metric_section,
        cumulative_section,
        acceptance_section,
        training_section,
    )
    return [section for maker in makers if (section := maker(record)) is not None]


def width_section(record: Record) -> Section | None:
    """Width of each channel group over the trials (CONet, figure 5)."""
    groups = record.groups
    if not groups:
        return None
    rows = [[trial.widths.get(group) for trial in record.trials] for group in groups]
    lines = by_depth(groups, record.numbers, rows)
    width = Axis("width", "channels")
    logarithmic = Axis("width", "channels", log=True)
    return Section(
        "widths",
        "Width evolution",
        "The width of every channel group, trial by trial.",
        [
            Plot("widths", "Lines", TRIAL, width, lines, ordered=DEPTH),
            Plot("widths-log", "Lines, logarithmic", TRIAL, logarithmic, lines, ordered=DEPTH),
            HeatMap("widths-map", "Map", TRIAL, Axis("channel group"), logarithmic, groups, record.numbers, rows),
        ],
    )


def metric_section(record: Record) -> Section | None:
    """Metrics of each layer over the epochs of all trials (CONetV2, figures 10 and 11), and each group's mean."""
    epochs = [epoch for trial in record.trials for epoch in trial.epochs]
    places = list(range(1, len(epochs) + 1))
    layers = list(dict.fromkeys(layer for epoch in epochs for layer in epoch.metrics))
    plots: list[Plot | HeatMap] = []
    for metric, title in METRICS.items():
        rows = [[finite(epoch.metrics.get(layer, {}).get(metric)) for epoch in epochs] for layer in layers]
        if any(value is not None for row in rows for value in row):
            axis = Axis(title, "rad" if "qc" in metric else "", log="kappa" in metric)
            plots.append(_depth_plot(metric, f"Layers: {title}", EPOCH, axis, layers, places, rows))
    for key, title in (("group_metric", "mean QC of the group's layers"), ("momentum", "m, QC with momentum")):
        rows = [[finite(getattr(trial, key).get(group)) for trial in record.trials] for group in record.groups]
        if any(value is not None for row in rows for value in row):
            plots.append(
                _depth_plot(key, f"Groups: {title}", "trial", Axis(title), record.groups, record.numbers, rows)
            )
    if not plots:
        return None
    return Section("metrics", "Metric evolution", "What the search measures of the weights, layer by layer.", plots)


def cumulative_section(record: Record) -> Section | None:
    """The cumulative metric of each trial (CONetV2, equation 6, figure 12)."""
    places = record.numbers
    keys = list(dict.fromkeys(key for trial in record.trials for key in trial.cumulative))
    lines: list[Series] = []
    rows = [[finite(trial.cumulative.get(key)) for trial in record.trials] for key in keys]
    if len(keys) > 1:
        means = [_mean([row[index] for row in rows]) for index in range(len(places))]
        lines.append(Series("mean", places, means, MEAN, marker="circle", lead=True))
    lines += by_depth(keys, places, rows)
    if not any(value is not None for line in lines for value in line.y):
        return None
    plot = Plot(
        "cumulative",
        "Cumulative metric",
        TRIAL,
        Axis("cumulative metric"),
        lines,
        ordered=DEPTH if len(keys) > 1 else "",
        mapped=len(keys) > 1,
    )
    return Section(
        "cumulative", "Cumulative metric", "Each trial's cumulative metric (equation 6 of the paper).", [plot]
    )


def training_section(record: Record) -> Section | None:
    """Loss and top-1 over the epochs of all trials."""
    epochs = [epoch for trial in record.trials for epoch in trial.epochs]
    top1 = percent([finite(epoch.score) for epoch in epochs])
    loss = [finite(epoch.loss) for epoch in epochs]
    plots = []
    for key, axis, values in (("top1", Axis("top-1", "%"), top1), ("loss", Axis("training loss", "nats"), loss)):
        if any(value is not None for value in values):
            places = range(1, len(values) + 1)
            series = Series(axis.label, places, values, ROLES["found"], marker="circle" if len(values) < 100 else "")
            plots.append(Plot(f"training-{key}", axis.label, Axis(EPOCH), axis, [series]))
    return Section("training", "Training", "Each trial's training, one after the other.", plots) if plots else None


def _depth_plot(
    name: str,
    title: str,
    x: str,
    y: Axis,
    names: Sequence[str],
    places: Sequence[Number],
    rows: Sequence[Sequence[Number]],
) -> Plot:
    ordered = "layers, first to last in the graph" if title.startswith("Layers") else DEPTH
    return Plot(name, title, Axis(x), y, by_depth(names, places, rows), ordered=ordered, mapped=True)


def _mean(values: Sequence[Number]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
