"""The losses of all groups at all ratios, and the plan that they allow."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest

import chanc
from chanc.data.dataset import Dataset
from chanc.errors import PlanError
from chanc.testing.graphs import Graph

pytest.importorskip("torch")


def test_every_group_at_every_ratio(model: ir.Model, data: Dataset) -> None:
    told: list[float] = []
    found = chanc.sensitivity(model, data, ratios=[0.25, 0.75], batches=1, importance="first", on_point=told.append)
    assert found.ratios == (0.25, 0.75)
    assert found.samples == 40
    assert [(curve.size, [point.width for point in curve.points]) for curve in found.curves] == [
        (8, [6, 2]), (6, [4, 2]),
    ]  # fmt: skip
    assert [point.keep for point in found.curves[0].points] == [(0, 1, 2, 3, 4, 5), (0, 1)]
    assert told == [0.25, 0.5, 0.75, 1.0]
    whole = chanc.sensitivity(model, data, ratios=[0.99], batches=1)
    assert [point.loss for curve in whole.curves for point in curve.points] == [whole.loss] * 2
    assert whole.planned.keep == {}


def test_the_plan_is_the_narrowest_before_the_loss_rises_too_far(model: ir.Model, data: Dataset) -> None:
    found = chanc.sensitivity(model, data, batches=1, max_rise=0.0, importance="l2")
    losses = {curve.group: [point.loss - found.loss for point in curve.points] for curve in found.curves}
    bound = sorted(rise for rises in losses.values() for rise in rises)[2]
    again = chanc.sensitivity(model, data, batches=1, max_rise=bound, importance="l2")
    for curve in again.curves:
        wanted: tuple[int, ...] = ()
        for point, rise in zip(curve.points, losses[curve.group], strict=True):
            if rise > bound:
                break
            wanted = point.keep
        assert again.planned.keep.get(curve.group, ()) == wanted
    assert again.planned.keep
    small = chanc.rewrite(model, again.planned.plan()).model
    analysis = chanc.analyze(small)
    assert (analysis.params, analysis.macs) == (again.planned.params[1], again.planned.macs[1])
    alone = chanc.sensitivity(small, data, batches=1)
    assert alone.loss == pytest.approx(again.planned.loss, rel=1e-4)


def test_without_labels(model: ir.Model, data: Dataset) -> None:
    nameless = dataclasses.replace(data, class_names=(), classes=0, train_labels=np.zeros(40, np.int64),
                                   test_labels=np.zeros(21, np.int64))  # fmt: skip
    found = chanc.sensitivity(model, nameless, batches=1, ratios=[0.5])
    assert found.score_name == "agreement"
    assert found.loss == pytest.approx(0, abs=1e-9)
    assert all(point.loss > 0 for curve in found.curves for point in curve.points)


def test_what_cannot_be_measured(model: ir.Model, data: Dataset) -> None:
    for ratios in ([], [0.0], [0.5, 1.0], [float("nan")]):
        with pytest.raises(PlanError, match="a ratio is a share of the channels"):
            chanc.sensitivity(model, data, ratios=ratios)
    with pytest.raises(PlanError, match="must be at least 0"):
        chanc.sensitivity(model, data, max_rise=float("nan"))
    graph = Graph(seed=0)
    x = graph.input("image", [2, 1, 6, 6], dynamic={0: "n"}).flatten().gemm(4)
    with pytest.raises(PlanError, match="no channel group of the model may change"):
        chanc.sensitivity(graph.ir(x), data, normalise="none")
