"""chanc between two steps of an onnx-graphsurgeon pipeline, as one writes them for TensorRT.

    python examples/toolchains/graphsurgeon_pipeline.py

Leave `fold_constants` and `toposort` of graphsurgeon for the end: chanc orders and folds by itself.
"""

from __future__ import annotations

import onnx
import onnx_graphsurgeon as gs
from network import answer, apart, image, network, widths

import chanc


def with_scores(graph: gs.Graph) -> gs.Graph:
    """A Softmax behind the last layer, as the new output."""
    (logits,) = graph.outputs
    scores = gs.Variable("scores", dtype=logits.dtype, shape=logits.shape)
    graph.nodes.append(gs.Node("Softmax", "to_scores", attrs={"axis": 1}, inputs=[logits], outputs=[scores]))
    graph.outputs = [scores]
    return graph


def without_norms(graph: gs.Graph) -> gs.Graph:
    """BatchNormalization folded, what is left over removed."""
    return chanc.passes.FoldBatchNorm()(graph).cleanup()


def main() -> None:
    """gs -> chanc -> gs -> onnx, and the same network halved by chanc alone."""
    graph = with_scores(gs.import_onnx(network()))
    half = without_norms(chanc.rewrite(graph, scale=0.5).model)
    done = onnx.shape_inference.infer_shapes(gs.export_onnx(half))
    alone = chanc.rewrite(gs.export_onnx(with_scores(gs.import_onnx(network()))), scale=0.5).model
    far = apart(answer(alone, image()), answer(done, image()))
    print(f"graphsurgeon: widths {widths(done)}, {len(half.nodes)} nodes, largest difference {far:.1e}")


if __name__ == "__main__":
    main()
