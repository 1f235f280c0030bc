"""If without channels: its outputs have the shapes on which both branches agree. What a subgraph captures stays."""

from __future__ import annotations

import onnx_ir as ir

from chanc.analysis.dims import Size, unknown
from chanc.analysis.layout import plain
from chanc.analysis.rules import rule
from chanc.analysis.sweep import Sweep


@rule("If")
def branch(sweep: Sweep) -> None:
    """If: sizes that differ or aren't known are named after the output; a rank that isn't known stays so."""
    assert sweep.node is not None
    graphs = [a.as_graph() for a in sweep.node.attributes.values() if a.type == ir.AttributeType.GRAPH]
    for index, output in enumerate(sweep.node.outputs):
        if output.shape is not None:
            continue
        shapes = [graph.outputs[index].shape for graph in graphs]
        if any(shape is None or len(shape) != len(shapes[0] or ()) for shape in shapes):
            continue
        known = [tuple(n if isinstance(n, int) else None for n in shape or ()) for shape in shapes]
        sizes: list[Size] = [
            sizes[0] if sizes[0] is not None and len(set(sizes)) == 1 else unknown(f"{output.name}.{axis}")
            for axis, sizes in enumerate(zip(*known, strict=True))
        ]
        sweep.output(plain(sizes, f"the output of If '{output.name}'"), index)
