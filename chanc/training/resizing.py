"""A network in training at other widths: new channels stand behind the old ones, and the optimizer goes along.

    weights, statistics   kept; new rows by the layer's init, norms 1, 0, 0, 1, columns that read new channels 0
    momentum              kept, 0 for what is new

The module stays the same object where it can (`chanc.backends.torch.resize`). Where its forward holds sizes that change
(a channel shuffle) it is built anew: then the optimizer's state begins anew, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import onnx_ir as ir
import torch
from torch.optim import Optimizer

from chanc.backends.torch import build
from chanc.backends.torch.resize import resize_module
from chanc.errors import ModelError
from chanc.ir import copy_model
from chanc.rewriter import Rewrite, rewrite
from chanc.training.module import Trainable, to_device


def resized(
    net: Trainable, widths: Mapping[str, int], optimizer: Optimizer | None, sizes: Mapping[str, int] | None = None
) -> Trainable:
    """The network at these widths, by group; random values come from torch's generator. `sizes`: of open axes.

    Raises: ModelError for a group that can't have its width.
    """
    done = first_channels(net.graph, widths, sizes, "select")
    try:
        built = resize_module(net.built, net.graph, done, optimizer=optimizer, grow="init")
    except ModelError:
        return _built_anew(net, widths, optimizer, sizes)
    return dataclasses.replace(net, built=built, graph=done.model)


def first_channels(
    model: ir.Model, widths: Mapping[str, int], sizes: Mapping[str, int] | None, transfer: str, seed: int = 0
) -> Rewrite:
    """The model rewritten to these widths, its first channels kept. Raises: ModelError where a group can't follow."""
    plan = {name: {"first": width} for name, width in widths.items()}
    done = rewrite(model, plan, transfer=transfer, seed=seed, dims=sizes, fold=False)
    for name, reason in done.trace.left.items():
        raise ModelError(f"group '{name}' can't have {widths[name]} channels: {reason}")
    return done


def _built_anew(
    net: Trainable, widths: Mapping[str, int], optimizer: Optimizer | None, sizes: Mapping[str, int] | None
) -> Trainable:
    trained = copy_model(net.graph)
    net.built.write_back(trained)
    done = first_channels(trained, widths, sizes, "grow", seed=int(torch.randint(2**31, ()).item()))
    device = next(net.module.parameters()).device
    made = to_device(dataclasses.replace(net, built=build(done.model), graph=done.model), device)
    made.module.train(net.module.training)
    if optimizer is not None:
        optimizer.state.clear()
        optimizer.param_groups[0]["params"] = list(made.module.parameters())
    return made
