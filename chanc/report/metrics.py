"""The table of `chanc analyze --metrics`: rank, condition and QC of every convolution, and what other metrics find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from chanc.metrics.registry import Weights, measure
from chanc.ops import groups, weight_of
from chanc.report.tables import printable

if TYPE_CHECKING:
    import onnx_ir as ir

    from chanc.analysis import Analysis


HEADS = {"in_rank": "rank in", "out_rank": "rank out", "in_kappa": "cond. in", "out_kappa": "cond. out",
         "in_qc": "QC in", "out_qc": "QC out"}  # fmt: skip
"""Headings of the figures of `quality`; those of other metrics stand under their names."""


def metrics_table(analysis: Analysis, metrics: Sequence[str] = ("quality",)) -> Table:
    """Return a row a measured convolution; depthwise ones are left out, the pointwise one speaks for them.

    metrics: names of `chanc.metrics.registry.METRICS`.
    """
    weights = Weights(measured_weights(analysis))
    found = measure(metrics, weights)
    figures = list(dict.fromkeys(figure for layer in found.values() for figure in layer))
    table = Table(pad_edge=False, box=None, header_style="bold")
    table.add_column("convolution", overflow="fold")
    for head in ("shape", *(HEADS.get(figure, printable(figure)) for figure in figures)):
        table.add_column(head, justify="right", no_wrap=True)
    for name, layer in found.items():
        shape = "x".join(str(n) for n in weights[name].shape)
        cells = (f"{layer[figure]:.4f}" if figure in layer else "" for figure in figures)
        table.add_row(Text(printable(name)), shape, *cells)
    return table


def measured_weights(analysis: Analysis) -> dict[str, NDArray[np.generic]]:
    """The weights W: [O, I, ...] of all convolutions but depthwise ones, by initializer."""
    initializers = analysis.model.graph.initializers
    found: dict[str, NDArray[np.generic]] = {}
    for node in analysis.model.graph:
        value = _kernel(node)
        if value is None or value.const_value is None or value.name is None or value.name not in initializers:
            continue
        array = value.const_value.numpy()
        if groups(node.attributes) == 1 or array.shape[1] > 1:
            found[value.name] = array.astype(np.float32, copy=False)
    return found


def _kernel(node: ir.Node) -> ir.Value | None:
    """The weight of a convolution that makes channels along its first axis, in floating point."""
    weight = weight_of(node, 1)
    if weight is None or not weight.kernel or 0 not in weight.makes(node.attributes, 2):
        return None
    value = node.inputs[1]
    tensor = value.const_value if value is not None else None
    return value if tensor is not None and tensor.dtype.is_floating_point() else None
