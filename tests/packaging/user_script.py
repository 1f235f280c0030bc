"""What a user writes with chanc: type-checked against the installed wheel, and run with it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

import chanc
from chanc.analysis import Group
from chanc.errors import ChancError
from chanc.passes import FoldBatchNorm, ResizeWidths
from chanc.rewriter.importance import Evidence
from chanc.testing.graphs import Graph


def spread(group: Group, evidence: Evidence) -> NDArray[np.float64]:
    """An importance of one's own."""
    return evidence.total(group, lambda rows: rows.std(axis=1, dtype="float64"))


def network() -> onnx.ModelProto:
    """image [1, 3, 6, 6] -> [1, 4]."""
    graph = Graph(seed=0)
    x = graph.input("x", [1, 3, 6, 6]).conv(8).bn().relu().conv(12).relu()
    return graph.model(x.gap().flatten().gemm(4))


def main(folder: Path) -> None:
    """Analyse, shrink, prune, time."""
    onnx.save(network(), folder / "in.onnx")
    analysis = chanc.analyze(folder / "in.onnx")
    sizes: Mapping[str, int] = {group.id: group.size for group in analysis.groups if group.resizable}
    half = chanc.rewrite(folder / "in.onnx", scale=0.5, importance=spread)
    changed: dict[str, tuple[int, int]] = half.trace.groups
    chanc.save(half.model, folder / "half.onnx")
    small = chanc.prune(folder / "in.onnx", max_macs="60%")
    params: int = small.steps[-1].params
    fast: float = chanc.latency(folder / "half.onnx")[0].latency.median_s
    FoldBatchNorm()(ResizeWidths(scale=2.0)(chanc.load(folder / "in.onnx")))
    try:
        chanc.rewrite(folder / "in.onnx", {"nothing": 3})
    except ChancError as error:
        print(error)
    print(sizes, changed, params < analysis.params, fast > 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
