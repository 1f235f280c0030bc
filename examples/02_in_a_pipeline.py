"""Run chanc's passes among others: `onnx_ir` pipelines take them as they are, graphsurgeon graphs go in and come out.

    python examples/02_in_a_pipeline.py
"""

from __future__ import annotations

import onnx
import onnx_graphsurgeon as gs
import onnx_ir as ir
import onnx_ir.passes.common as common
from onnx_ir.passes import PassManager

from chanc.passes import FindGroups, FoldBatchNorm, ResizeWidths
from chanc.testing.graphs import Graph


def network() -> onnx.ModelProto:
    """Three convolutions with BatchNorm, the second one in a residual block."""
    graph = Graph(seed=0)
    stem = graph.input("image", [1, 3, 16, 16]).conv(16).bn().relu()
    block = stem.conv(24).bn().relu().conv(16).bn()
    return graph.model((stem + block).relu().gap().flatten().gemm(10))


def main() -> None:
    """Shrink in a PassManager, then a TensorRT-style graph, and print the widths of the convolutions."""
    model = ir.serde.deserialize_model(network())
    pipeline = PassManager([FindGroups(), ResizeWidths(scale=0.5), FoldBatchNorm(), common.RemoveUnusedNodesPass()])
    result = pipeline(model)
    print("onnx_ir:", [node.inputs[1].shape[0] for node in result.model.graph if node.op_type == "Conv"])

    graph = ResizeWidths(scale=0.5)(gs.import_onnx(network()))
    print("graphsurgeon:", [node.inputs[1].shape[0] for node in graph.nodes if node.op == "Conv"])


if __name__ == "__main__":
    main()
