"""What a graph computes from its weights alone, as weights: exporters leave it where a framework keeps others.

Keras on torch turns each kernel from [kh, kw, I, O] in the graph, and computes what a norm multiplies by. Only a weight
with one reader is folded: of two readers each would train its own. Casts that change no type go as well.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
import onnx_ir as ir

from chanc.analysis.infer_shapes import infer_shapes
from chanc.boundary import boundary
from chanc.ir.initializers import constant, fed
from chanc.ir.nodes import bodies
from chanc.ops import Trait, has
from chanc.transforms._edit import Array, Editor, is_op

_KEPT = ("Constant", "DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear")
_SMALL = 1 << 16
"""Entries up to which a constant may grow beyond what it is made of."""


@boundary("the folding of constants")
def fold_constants(model: ir.Model) -> bool:
    """Fold a model in normal form, in place; says whether anything changed.

    A weight that is merely turned or cast keeps its name. The names of graph outputs stay.
    """
    if any(is_op(node, "Cast") for node in model.graph):
        infer_shapes(model)
    editor, open_to_feeds, changed = Editor(model), fed(model), False
    for node in list(model.graph):
        if any(output.is_graph_output() for output in node.outputs):
            continue
        source = node.inputs[0] if node.inputs else None
        if source is not None and is_op(node, "Cast") and source.dtype == node.attributes["to"].as_int():
            editor.bypass(node, source)
            changed = True
        elif (array := _computed(node, model, open_to_feeds)) is not None:
            _hold(editor, node, array)
            changed = True
    return changed


def _computed(node: ir.Node, model: ir.Model, open_to_feeds: Collection[ir.Value]) -> Array | None:
    """What a node makes of initializers; None where it reads another value, or nobody can say."""
    read = [value for value in node.inputs if value is not None]
    standard = node.domain in ("", "ai.onnx") and node.op_type not in _KEPT
    if not standard or not read or len(node.outputs) != 1 or has(node, Trait.RANDOM) or bodies(node):
        return None
    if any(value.const_value is None or value in open_to_feeds or not _own(value) for value in read):
        return None
    array = _evaluated(node, read, model)
    most = max(_SMALL, *(value.const_value.size for value in read if value.const_value is not None))
    return array if array is not None and array.size <= most else None


def _own(value: ir.Value) -> bool:
    """Whether a constant has a single reader, or is one number, which no layer trains."""
    return len(value.uses()) == 1 or (value.const_value is not None and value.const_value.size <= 1)


def _evaluated(node: ir.Node, read: list[ir.Value], model: ir.Model) -> Array | None:
    """By the reference implementation of the operator; None where it can't."""
    from onnx.reference import ReferenceEvaluator

    feeds = {value.name or "": value.const_value.numpy() for value in read if value.const_value is not None}
    graph = onnx.GraphProto(name="one", node=[ir.serde.serialize_node(node)])
    graph.input.extend(onnx.helper.make_value_info(name, onnx.TypeProto()) for name in feeds)
    graph.output.append(onnx.helper.make_value_info(node.outputs[0].name or "", onnx.TypeProto()))
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    try:
        proto = onnx.helper.make_model(graph, opset_imports=imports)
        return np.asarray(next(iter(ReferenceEvaluator(proto).run(None, feeds))))
    except Exception:  # an operator that it lacks, or a type
        return None


def _hold(editor: Editor, node: ir.Node, array: Array) -> None:
    """An initializer in place of a node, under the name of the one weight that it is made of."""
    made = node.outputs[0]
    weights = [value for value in node.inputs if value is not None and len(value.uses()) == 1 and _is_float(value)]
    name = (weights[0] if len(weights) == 1 else made).name or "folded"
    held = constant(name, array)
    made.replace_all_uses_with(held)
    editor.remove(node)
    held.name = name if name == made.name else editor.free(name)
    editor.graph.register_initializer(held)


def _is_float(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()
