"""What a node is called: by a value that it makes, since node names are optional and need not differ."""

from __future__ import annotations

import onnx_ir as ir


def called(node: ir.Node) -> str:
    """The name of the node's first output that has one: a GRU whose sequence nobody reads has none for its first."""
    return next((value.name for value in node.outputs if value.name), "")
