"""What the search measured: of each layer over the epochs of all trials (CONetV2, figures 10 and 11), and of groups."""

from __future__ import annotations

import re

from chanc.report.plots import Axis, HeatMap, Plot, Section
from chanc.report.record import Record, finite
from chanc.report.sections import register
from chanc.report.sections._common import EPOCH, GROUPS, LAYERS, TRIAL, depth_plot, drawable

FIGURES = {
    "in_qc": Axis("QC of the in mode", "rad"),
    "out_qc": Axis("QC of the out mode", "rad"),
    "in_rank": Axis("rank of the in mode, R = N'/I"),
    "out_rank": Axis("rank of the out mode, R = N'/O"),
    "in_kappa": Axis("condition of the in mode, d₁/d_N'", log=True),
    "out_kappa": Axis("condition of the out mode, d₁/d_N'", log=True),
}
"""What the metric `quality` measures, in the order of the plots; figures of other metrics stand under their names."""


@register("metrics", order=30)
def metric_section(record: Record) -> Section | None:
    """Metrics of each layer over all epochs of the search (CONetV2, figures 10 and 11), and each group's mean."""
    plots: list[Plot | HeatMap] = [*_layers(record), *_groups(record)]
    if not plots:
        return None
    return Section("metrics", "Metric evolution", "What the search measures of the weights, layer by layer.", plots)


def _layers(record: Record) -> list[Plot]:
    epochs = record.epochs
    places = list(range(1, len(epochs) + 1))
    layers = list(dict.fromkeys(layer for epoch in epochs for layer in epoch.metrics))
    there = dict.fromkeys(name for epoch in epochs for figures in epoch.metrics.values() for name in figures)
    plots = []
    for figure in dict.fromkeys([*FIGURES, *there]):
        rows = [[finite(epoch.metrics.get(layer, {}).get(figure)) for epoch in epochs] for layer in layers]
        axis = FIGURES.get(figure, Axis(figure))
        name = figure if figure in FIGURES else "figure-" + re.sub(r"[^\w.-]", "_", figure)
        if drawable(rows):
            plots.append(depth_plot(name, f"Layers: {axis.label}", EPOCH, axis, LAYERS, layers, places, rows))
    return plots


def _groups(record: Record) -> list[Plot]:
    plots = []
    for key, title in (("group_metric", "mean QC of the group's layers"), ("momentum", "m, QC with momentum")):
        rows = [[finite(getattr(trial, key).get(group)) for trial in record.trials] for group in record.groups]
        if drawable(rows):
            plots.append(
                depth_plot(key, f"Groups: {title}", TRIAL, Axis(title), GROUPS, record.groups, record.numbers, rows)
            )
    return plots
