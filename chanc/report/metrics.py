"""The table of `chanc analyze --metrics`: rank, condition and QC of every convolution (see `chanc.metrics.quality`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from chanc.metrics.quality import layers_quality
from chanc.ops import groups, weight_of
from chanc.terminal import printable

if TYPE_CHECKING:
    import onnx_ir as ir

    from chanc.analysis import Analysis


def metrics_table(analysis: Analysis) -> Table:
    """Return a row a measured convolution; depthwise ones are left out, the pointwise one speaks for them."""
    table = Table(pad_edge=False, box=None, header_style="bold")
    table.add_column("convolution", overflow="fold")
    for name in ("shape", "rank in", "rank out", "cond. in", "cond. out", "QC in", "QC out"):
        table.add_column(name, justify="right", no_wrap=True)
    weights = measured_weights(analysis)
    for name, quality in layers_quality(weights).items():
        shape = "x".join(str(n) for n in weights[name].shape)
        numbers = (
            quality.in_rank, quality.out_rank, quality.in_kappa, quality.out_kappa, quality.in_qc, quality.out_qc,
        )  # fmt: skip
        table.add_row(Text(printable(name)), shape, *(f"{number:.4f}" for number in numbers))
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
