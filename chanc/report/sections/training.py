"""How the trials were trained: loss and top-1, epoch by epoch."""

from __future__ import annotations

from chanc.report.plots import Axis, Plot, Section, Series
from chanc.report.record import Record, finite, percent
from chanc.report.sections import register
from chanc.report.sections._common import EPOCH, ONCE, ROLES, on_images


@register("training", order=60)
def training_section(record: Record) -> Section | None:
    """Loss and top-1 over all epochs of the search."""
    epochs = record.epochs
    top1 = percent([finite(epoch.score) for epoch in epochs])
    loss = [finite(epoch.loss) for epoch in epochs]
    plots = []
    for key, axis, values in (("top1", Axis("top-1", "%"), top1), ("loss", Axis("training loss", "nats"), loss)):
        if any(value is not None for value in values):
            places = range(1, len(values) + 1)
            few = len(values) < 100
            errors = percent([record.trial_error(finite(epoch.score)) for epoch in epochs]) if key == "top1" else []
            series = Series(axis.label, places, values, ROLES["found"], marker="circle" if few else "",
                            errors=errors if few else [])  # fmt: skip
            plots.append(Plot(f"training-{key}", axis.label, EPOCH, axis, [series],
                              note=on_images(record) if few and key == "top1" else ONCE))  # fmt: skip
    text = "Each trial's training, one after the other." if record.trials else "The search's own training."
    return Section("training", "Training", text, plots) if plots else None
