"""A model computed in float64, where rounding decides nothing: by PyTorch, else by ONNX's reference.

onnxruntime has no convolution in float64. The emitted module covers most operators and is fast; the reference is slow,
and knows what can't be emitted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir

from chanc import plugins
from chanc.ir import to_proto
from chanc.oracles.compare import Array
from chanc.oracles.outputs import Feeds, as_inputs, comparable
from chanc.oracles.precision import NARROW, recast

Computes = Callable[[ir.Model, Feeds], list[Array]]


def in_double(expected: Any, actual: Any, feeds: Feeds) -> tuple[list[Array], list[Array]] | None:
    """The outputs of two models, made comparable, both by the first that can compute them; None where neither can."""
    for compute in (_torch, _reference):
        try:
            return compute(_double(expected), feeds), compute(_double(actual), feeds)
        except Exception:  # whatever an operator raises in one of them, the other may know it
            continue
    return None


def _double(model: Any) -> ir.Model:
    return recast(comparable(model), NARROW, ir.DataType.DOUBLE)


def _torch(model: ir.Model, feeds: Feeds) -> list[Array]:
    torch = plugins.require("torch", "float64", "torch")
    from chanc.backends.torch import build

    given = as_inputs(model, feeds)
    module = build(model).module
    inputs = [torch.from_numpy(given[str(value.name)]) for value in model.graph.inputs if value.name in given]
    with torch.no_grad():
        found = module(*inputs)
    outputs: list[Any] = [found] if isinstance(found, torch.Tensor) else list(found)
    return [tensor.detach().numpy() for tensor in outputs]


def _reference(model: ir.Model, feeds: Feeds) -> list[Array]:
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(to_proto(model)).run(None, as_inputs(model, feeds)))
