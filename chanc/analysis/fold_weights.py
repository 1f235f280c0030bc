"""Weights that the graph computes from initializers alone, made constants for a rewrite.

    w' = g (w - mean(w)) / sqrt(var(w) + epsilon)        weight standardisation (Qiao et al. 2019)
    w' = g v / |v|                                       weight normalisation (Salimans and Kingma 2016)
    w' = w gamma / sqrt(var + epsilon)                   a branch that is reparametrised in the graph (Ding et al. 2021)

What is computed over all of a weight sees the channels that go; as a constant it doesn't. Sums, views and products of
weights scale with their operands and stay, and so do integers that are dequantised: their groups are exact as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx
import onnx_ir as ir

from chanc.analysis.findings import Array
from chanc.boundary import boundary
from chanc.ir.dtypes import FLOATS
from chanc.ir.initializers import constant, constant_shape, fed
from chanc.ir.nodes import bodies
from chanc.ops import Trait, has, spec_of
from chanc.ops.spec import NOWHERE

QUANTISED = ("DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear")


@boundary("the folding of weights")
def fold_weights(model: ir.Model, only: Collection[str] | None = None) -> tuple[str, ...]:
    """Fold, in place, such weights of a model in normal form; the names of the constants.

    A constant has the name of the initializer that it was made of, where that has no other use. `only` are the names
    of those to fold; None folds all.
    """
    found = {_name(root, cone): (root, cone) for root, cone in _computed(model)}
    chosen = {name: entry for name, entry in found.items() if only is None or name in only}
    arrays = _evaluated(model, chosen) if chosen else {}
    for name, array in arrays.items():
        root, cone = chosen[name]
        _replace(model.graph, name, root, cone, array)
    return tuple(arrays)


Cone = list[ir.Node]
"""The nodes that compute a value from initializers alone, in order."""


def _computed(model: ir.Model) -> Iterator[tuple[ir.Value, Cone]]:
    """The weights that activations meet and that are computed in a way that sees all of them, each with its cone."""
    cones: dict[ir.Value, Cone] = {}
    graph, open_to_feeds = model.graph, fed(model)
    for node in graph:
        cone = _cone(node, cones, open_to_feeds)
        if cone is not None:
            cones.update((output, cone) for output in node.outputs)
    for value, cone in cones.items():
        used = any(user.outputs[0] not in cones for user, _ in value.uses())
        if used and not value.is_graph_output() and _sees_all(value, cone) and _source(cone) is not None:
            yield value, cone


def _cone(node: ir.Node, cones: dict[ir.Value, Cone], open_to_feeds: Collection[ir.Value]) -> Cone | None:
    """The cone of what a node makes; None where it reads anything else than constants."""
    if node.domain not in ("", "ai.onnx") or node.op_type in QUANTISED or has(node, Trait.RANDOM) or bodies(node):
        return None
    inner: dict[ir.Node, None] = {}
    for value in node.inputs:
        if value is None or (value.const_value is not None and value not in open_to_feeds):
            continue
        if value not in cones:
            return None
        inner.update(dict.fromkeys(cones[value]))
    return [*inner, node]


def _sees_all(value: ir.Value, cone: Cone) -> bool:
    """Whether the cone computes over axes of a weight, or bends one that a product takes: halves don't add up."""
    curved = [node for node in cone if has(node, Trait.CURVED, Trait.NORM, Trait.REDUCTION) or spec_of(node) is None]
    return any(not has(node, Trait.ELEMENTWISE) for node in curved) or (bool(curved) and _multiplied(value))


def _multiplied(value: ir.Value) -> bool:
    """Whether the value is the weight of a product or convolution."""
    for user, index in value.uses():
        spec = spec_of(user)
        weights = spec.weights if spec is not None else ()
        if any(w.input == index and (w.makes is not NOWHERE or w.takes is not NOWHERE) for w in weights):
            return True
    return False


def _source(cone: Cone) -> ir.Value | None:
    """The largest floating-point initializer of a cone; None where there is none of more than one number."""
    read = [value for node in cone for value in node.inputs if value is not None and value.const_value is not None]
    sized = [value for value in read if value.dtype in FLOATS and _count(value) > 1]
    return max(sized, key=_count, default=None)


def _count(value: ir.Value) -> int:
    return int(np.prod(constant_shape(value), dtype=np.int64))


def _name(root: ir.Value, cone: Cone) -> str:
    """The name of the initializer that a cone is about, where nothing else reads it or what is made of it."""
    source = _source(cone)
    assert source is not None
    made = {source}
    for node in cone:
        if any(value in made for value in node.inputs):
            made.update(node.outputs)
    inside = set(cone)
    alone = all(user in inside for value in made if value is not root for user, _ in value.uses())
    return (source.name if alone and not source.is_graph_output() else root.name) or ""


def _evaluated(model: ir.Model, chosen: dict[str, tuple[ir.Value, Cone]]) -> dict[str, Array]:
    """What the weights are, by the reference implementation of the operators; without those that it can't compute."""
    from onnx.reference import ReferenceEvaluator

    found = {}
    for name, (root, cone) in chosen.items():
        graph = onnx.GraphProto(name="cone")
        feeds = {}
        for node in cone:
            graph.node.append(ir.serde.serialize_node(node))
            for value in node.inputs:
                if value is not None and value.const_value is not None:
                    feeds[value.name or ""] = value.const_value.numpy()
        graph.input.extend(onnx.helper.make_value_info(name, onnx.TypeProto()) for name in feeds)
        graph.output.append(onnx.helper.make_value_info(root.name or "", onnx.TypeProto()))
        imports = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
        proto = onnx.helper.make_model(graph, opset_imports=imports)
        try:
            array = np.asarray(next(iter(ReferenceEvaluator(proto).run(None, feeds))))
        except Exception:  # an operator that it lacks, or a type
            continue
        if array.size > 1 and array.dtype.kind == "f" and np.isfinite(array).all():
            found[name] = array
    return found


def _replace(graph: ir.Graph, name: str, root: ir.Value, cone: Cone, array: Array) -> None:
    """Put a constant in the place of what a cone makes; what nobody reads any more goes."""
    value = constant(name, array)
    for user, index in root.uses():
        user.replace_input_with(index, value)
    read = {value for node in cone for value in node.inputs if value is not None and value.const_value is not None}
    for node in reversed(cone):
        if node.graph is graph and not any(output.uses() or output.is_graph_output() for output in node.outputs):
            graph.remove(node, safe=True)
    for initializer in read:
        if not initializer.uses() and not initializer.is_graph_output() and not initializer.is_graph_input():
            graph.initializers.pop(initializer.name or "", None)
    graph.register_initializer(value)
