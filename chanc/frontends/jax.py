"""ONNX from JAX by jax2onnx, without those of its optimisations that hinder channel work.

Runs in a worker: JAX is imported inside the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from chanc.frontends.foreign import Job, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

HINDERING = (
    # They move Transposes, one of them so that what comes out isn't valid; chanc moves them itself.
    "remove_redundant_transpose_reduce",
    "remove_redundant_transpose_add_forests",
    "remove_redundant_transpose_pairs",
    # Fresh weights are equal: they would be one weight.
    "common_subexpression_elimination",
)


def write_function(function: Callable[..., Any], shapes: Sequence[Sequence[int]], job: Job) -> None:
    """Write a function of arrays; shapes: of its inputs, without the batch."""
    require(jax="jax", jax2onnx="jax2onnx")
    import jax2onnx
    from jax2onnx.converter import ir_optimizations

    passes = ir_optimizations._OPTIMIZER_PASSES
    ir_optimizations._OPTIMIZER_PASSES = tuple(one for one in passes if one.name not in HINDERING)
    try:
        inputs = [("batch", *shape) for shape in shapes]
        proto = jax2onnx.to_onnx(function, inputs, opset=job.opset or 21)
    finally:
        ir_optimizations._OPTIMIZER_PASSES = passes
    job.path.write_bytes(proto.SerializeToString())


def answer(function: Callable[..., Any], examples: Sequence[Array]) -> list[Array]:
    """What a function computes."""
    import jax
    import numpy as np

    return [np.asarray(output) for output in jax.tree_util.tree_leaves(function(*examples))]
