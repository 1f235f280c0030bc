"""Small models for tests, written as text (ONNX's textual syntax, `onnx.parser`) with random weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as nh
import onnx.parser
import onnx.shape_inference
from numpy.typing import NDArray

Array = NDArray[np.generic]
Weight = Array | np.generic | Sequence[int]
IR_VERSIONS = ((11, 6), (15, 8), (19, 9), (21, 10), (23, 11), (24, 12))


def build(
    inputs: str,
    outputs: str,
    body: str,
    weights: Mapping[str, Weight] | None = None,
    *,
    opset: int = 17,
    domains: Sequence[str] = (),
    seed: int = 0,
) -> onnx.ModelProto:
    """A checked model from its nodes as text, for example `y = Conv <pads = [1, 1, 1, 1]> (x, w, b)`.

    Args:
        inputs: typed, for example `float[N,3,8,8] x`.
        outputs: typed, for example `float y`; shapes that are left out are inferred.
        body: one node a line.
        weights: initializers: an array, or a shape to be filled. Names that start with `var` get values above zero
            (variances), all others normal ones scaled by the root of the fan-in.
        opset: of the standard domain.
        domains: custom domains that the nodes use.
        seed: of the random weights.

    Raises:
        onnx.parser.ParseError: the text is not a graph; onnx.checker.ValidationError: it is not a valid one.
    """
    graph = onnx.parser.parse_graph(f"g ({inputs}) => ({outputs}) {{ {body} }}")
    open_outputs = {value.name for value in graph.output if not value.type.tensor_type.shape.dim}
    for value in graph.output:
        if value.name in open_outputs:
            value.type.tensor_type.ClearField("shape")
    rng = np.random.default_rng(seed)
    for name, weight in (weights or {}).items():
        if isinstance(weight, (np.ndarray, np.generic)):
            array = np.asarray(weight)
        else:
            array = _random(name, tuple(int(n) for n in weight), rng)
        graph.initializer.append(nh.from_array(array, name))
    opsets = [oh.make_opsetid("", opset), *(oh.make_opsetid(domain, 1) for domain in domains)]
    version = next((version for limit, version in IR_VERSIONS if opset < limit), 13)
    model = oh.make_model(graph, opset_imports=opsets, ir_version=version)
    inferred = onnx.shape_inference.infer_shapes(model)
    for value, known in zip(model.graph.output, inferred.graph.output, strict=True):
        if value.name in open_outputs:
            value.CopyFrom(known)
    if not domains:
        onnx.checker.check_model(model)
    return model


def _random(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if name.startswith("var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    fan_in = math.prod(shape[1:]) if len(shape) > 1 else 1
    return (rng.standard_normal(shape) / math.sqrt(max(fan_in, 1))).astype(np.float32)
