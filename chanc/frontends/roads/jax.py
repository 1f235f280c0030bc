"""`jax:PACKAGE.MODULE:FACTORY`: a module of Flax NNX or Equinox.

NNX takes batches, Equinox single samples, and its layers with a state come as the pair of `eqx.nn.make_with_state`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from chanc.frontends.factories import made
from chanc.frontends.foreign import Foreign, Job, Written, require
from chanc.frontends.spec import FRONTENDS

if TYPE_CHECKING:
    from chanc.frontends.foreign import Array


def write(job: Job) -> Written:
    """Write a module, in inference."""
    require(jax="jax", jax2onnx="jax2onnx")
    from chanc.frontends.jax import answer, write_function

    nnx, equinox = _kinds("flax.nnx"), _kinds("equinox")
    model = made("jax", job.target, job.options, (*nnx, *equinox, tuple), "a module of Flax NNX or Equinox")
    flax = isinstance(model, nnx)
    function = _nnx(model) if flax else _equinox(model)
    examples = job.examples(())  # a module doesn't tell its input
    outputs = answer(function, examples)
    write_function(function, [example.shape[1:] for example in examples], job)
    norms = [] if flax or not isinstance(model, tuple) else _norms(*model)
    layout = {"layout": "NHWC" if flax else "NCHW"} if [example.ndim for example in examples] == [4] else {}
    return Written(examples, outputs, ("jax", "flax" if flax else "equinox", "jax2onnx"), norms, layout)


def _kinds(package: str) -> tuple[type, ...]:
    """A package's class of modules; none where it isn't installed."""
    if importlib.util.find_spec(package.partition(".")[0]) is None:
        return ()
    return (importlib.import_module(package).Module,)


def _nnx(model: Any) -> Callable[..., Any]:
    model.eval()
    return lambda *inputs: model(*inputs)


def _equinox(model: Any) -> Callable[..., Any]:
    """Of a batch; a state stays as it is."""
    import equinox
    import jax

    module, *state = model if isinstance(model, tuple) else (model,)
    module = equinox.nn.inference_mode(module)

    def one(*sample: Any) -> Any:
        said = module(*sample, *state)
        return said[0] if state else said

    return lambda *inputs: jax.vmap(one)(*inputs)


def _norms(module: Any, state: Any) -> list[Mapping[str, Array | float]]:
    """Those of Equinox, which jax2onnx writes as arithmetic."""
    import equinox
    import jax
    import numpy as np

    found: list[Mapping[str, Array | float]] = []
    for norm in jax.tree_util.tree_leaves(module, is_leaf=lambda part: isinstance(part, equinox.nn.BatchNorm)):
        if not isinstance(norm, equinox.nn.BatchNorm):
            continue
        mean, variance = state.get(norm.ema_state_index if norm.mode == "ema" else norm.batch_state_index)
        count = 0 if norm.mode == "ema" else int(state.get(norm.batch_counter))
        seen = 1 - norm.momentum**count if count else 1.0
        scale, bias = (np.ones(mean.shape), np.zeros(mean.shape)) if norm.weight is None else (norm.weight, norm.bias)
        vectors = {"scale": scale, "bias": bias, "mean": mean / seen, "variance": variance / seen}
        found.append({**{name: np.asarray(value) for name, value in vectors.items()}, "epsilon": norm.eps})
    return found


FRONTENDS.add("jax", Foreign(write, "jax:PACKAGE.MODULE:FACTORY"), help="A module of Flax NNX or Equinox.")
