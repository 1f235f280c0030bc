"""chanc in a PassManager, before onnxscript's rewrite rules and onnx_ir's own passes.

    python examples/toolchains/onnxscript_rules.py

Rules that fold BatchNorm come last: a network that shall be trained, or searched, wants it.
"""

from __future__ import annotations

import onnx_ir as ir
from network import answer, apart, image, network, widths
from onnx_ir.passes import PassManager
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, RemoveUnusedNodesPass
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules.common import fuse_batchnorm_into_conv_rule

import chanc
from chanc.passes import FindGroups, Normalize, ResizeWidths


def main() -> None:
    """Shrink and fold in one pipeline, and compare with the shrunk network as chanc alone gives it."""
    pipeline = PassManager([
        Normalize(), FindGroups(), ResizeWidths(scale=0.45),
        RewritePass([fuse_batchnorm_into_conv_rule]), CommonSubexpressionEliminationPass(), RemoveUnusedNodesPass(),
    ])  # fmt: skip
    done = ir.serde.serialize_model(pipeline(ir.serde.deserialize_model(network())).model)
    alone = chanc.rewrite(network(), scale=0.45).model
    norms = sum(node.op_type == "BatchNormalization" for node in done.graph.node)
    far = apart(answer(alone, image()), answer(done, image()))
    print(f"PassManager: widths {widths(done)}, {norms} BatchNormalizations, largest difference {far:.1e}")


if __name__ == "__main__":
    main()
