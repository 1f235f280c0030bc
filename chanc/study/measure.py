"""From the metrics of layers to those of channel groups.

A group's members are the in and out axes of convolutions along it; each counts once, an out axis with the layer's
out metric, an in axis with its in metric. Depthwise weights are not measured: the pointwise one speaks for the pair.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from chanc.ir.dtypes import FLOATS
from chanc.ops import weight_of
from chanc.runs.events import Metrics
from chanc.study.methods.protocol import GroupEpoch

if TYPE_CHECKING:
    from chanc.analysis import Analysis

LayerMetrics = Metrics
"""Initializer name -> {"in_rank", "out_rank", "in_kappa", "out_kappa", "in_qc", "out_qc"}."""


@dataclass(frozen=True)
class Member:
    """One axis of a convolution's weight, named by its initializer; mode is "in" or "out"."""

    initializer: str
    mode: str


def measured_weights(model: ir.Model) -> dict[str, bool]:
    """Initializers of the convolutions of an `onnx_ir.Model` that are measured -> whether O and I are swapped in them.

    A Conv's weight is W: [O, I/groups, k...], a ConvTranspose's [I, O/groups, k...].
    """
    found: dict[str, bool] = {}
    for node in model.graph:
        kernel = weight_of(node, 1)
        value = node.inputs[1] if kernel is not None and kernel.kernel and len(node.inputs) > 1 else None
        if kernel is None or value is None or value.dtype not in FLOATS or _is_depthwise(node):
            continue
        if value.name is not None and value.name in model.graph.initializers:
            found[value.name] = kernel.makes(node.attributes.data, 4) == (1,)
    return found


def _is_depthwise(node: ir.Node) -> bool:
    weight = node.inputs[1]
    grouped = node.attributes.get_int("group", 1) > 1
    return grouped and weight is not None and weight.shape is not None and weight.shape[1] == 1


def members(analysis: Analysis, weights: Iterable[str]) -> dict[str, tuple[Member, ...]]:
    """The measured members of every resizable group of an `Analysis`, by group id.

    weights: the initializers that are measured. An initializer that two nodes share counts once a node.
    """
    measured = set(weights)
    return {
        group.id: tuple(
            Member(operand.initializer, "out" if operand.role == "producer" else "in")
            for operand in group.members
            if operand.initializer in measured
        )
        for group in analysis.groups
        if group.resizable
    }


def group_epoch(groups: Mapping[str, Sequence[Member]], layers: LayerMetrics) -> dict[str, GroupEpoch]:
    """The groups' means at one epoch's end; a group without a measured member is left out."""
    return {
        gid: GroupEpoch(*(_mean(layers[one.initializer][f"{one.mode}_{name}"] for one in of)
                          for name in ("rank", "kappa", "qc")))
        for gid, of in groups.items()
        if of
    }  # fmt: skip


def group_metric(groups: Mapping[str, Sequence[Member]], epochs: Sequence[LayerMetrics]) -> dict[str, float]:
    """Mean over a group's members of each one's highest QC over the trial's epochs."""
    return {
        gid: _mean(max(layers[one.initializer][f"{one.mode}_qc"] for layers in epochs) for one in of)
        for gid, of in groups.items()
        if of and epochs
    }


def degenerate(groups: Mapping[str, Sequence[Member]], epochs: Sequence[LayerMetrics]) -> dict[str, float]:
    """The measured axes of which a single singular value was kept, as "layer (mode)", and in how many epochs.

    Its condition is 1, and its QC near the maximum of pi/2 without any merit.
    """
    axes = {one for of in groups.values() for one in of}
    found = Counter(f"{one.initializer} ({one.mode})" for layers in epochs for one in axes
                    if layers[one.initializer][f"{one.mode}_kappa"] == 1.0)  # fmt: skip
    return {name: float(found[name]) for name in sorted(found)}


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers)
