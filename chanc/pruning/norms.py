"""BatchNorm lent to a network for a training: bare convolutions learn better behind one, and run faster without.

norms behind bare convolutions, of the statistics of the data -> training -> norms folded into the convolutions again
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from chanc.data import Data
from chanc.errors import ModelError, VerifyError
from chanc.ir import copy_model
from chanc.oracles import judge
from chanc.training.images import calibration
from chanc.transforms import fold_batchnorm, insert_batchnorm


def with_norms(
    model: ir.Model, data: Data, sizes: Mapping[str, int], train: Callable[[ir.Model], None], say: Callable[[str], None]
) -> ir.Model:
    """The model as `train`, which works in place, leaves it, trained with a norm behind each bare convolution.

    What comes out has the nodes and names of what came in. Where no norm can be put in, which is said, it is trained as
    it is.

    Raises: VerifyError where a norm changed what the model computes, put in or folded.
    """
    own, made = _norms(model), copy_model(model)
    try:
        lent = insert_batchnorm(made, calibration(model, data), biased=True)
    except ModelError as error:
        say(f"note: no BatchNorm is put in for the training: {error}")
        made, lent = copy_model(model), False
    if lent:
        _same(model, made, sizes)
    train(made)
    if not lent:
        return made
    folded = copy_model(made)
    fold_batchnorm(folded, but=own)
    _name_biases(folded, model)
    _same(made, folded, sizes)
    return folded


def _norms(model: ir.Model) -> set[str]:
    return {node.outputs[0].name or "" for node in model.graph if node.op_type == "BatchNormalization"}


def _name_biases(folded: ir.Model, own: ir.Model) -> None:
    """Give biases that folding made the names of those that were there."""
    names = {node.outputs[0].name: bias.name for node in own.graph if (bias := _bias(node)) is not None}
    for node in folded.graph:
        bias, name = _bias(node), names.get(node.outputs[0].name)
        if bias is not None and name is not None and name not in folded.graph.initializers:
            del folded.graph.initializers[bias.name or ""]
            bias.name = name
            folded.graph.register_initializer(bias)


def _bias(node: ir.Node) -> ir.Value | None:
    return node.inputs[2] if node.op_type in ("Conv", "ConvTranspose") and len(node.inputs) > 2 else None


def _same(one: ir.Model, other: ir.Model, sizes: Mapping[str, int]) -> None:
    verdict = judge(one, other, sizes=sizes)
    if verdict.agrees is False:
        raise VerifyError(f"a BatchNorm that was put in or folded changed what the model computes: {verdict}")
