"""BatchNormalization after every bare convolution: a model whose norms were folded by its exporter trains again.

With z = W x the convolution without its bias b, and m, v the mean and variance of z over the calibration data,

    BN(k z) = s (k z - k m) / sqrt(k^2 v + epsilon) + t,  s = sqrt(k^2 v + epsilon) / k,  t = m + b

is z + b for every factor k > 0 of a channel: the function is as before, the statistics are those of the data, and the
bias has moved into the norm. The gradient of k W goes with 1/k, so k says how far a step of training goes. Folding has
multiplied each channel by a number that is lost; k = 1 / (sqrt(3) |W|) gives it the norm of a fresh layer of PyTorch
(He et al. 2015 with a = sqrt(5)), where the usual learning rates are at home.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from chanc.boundary import boundary
from chanc.ops import Trait, has
from chanc.transforms._edit import (
    Array,
    Editor,
    batch_norm,
    content,
    float64,
    is_alone,
    kernel_of,
    parameter_stem,
    set_type,
)
from chanc.transforms._moments import Feeds, Moments, measure
from chanc.transforms.fold_batchnorm import scaled

FRESH_NORM = 3**-0.5
DEAD_NORM = 1e-10


@boundary("putting BatchNorm in")
def insert_batchnorm(
    model: ir.Model, calibration: Sequence[Feeds], *, epsilon: float = 1e-5, momentum: float = 0.9, biased: bool = False
) -> bool:
    """Put a BatchNormalization, in place, behind every convolution that has none; says whether there was one.

    calibration: batches of the model's inputs, {input name: array}; a few hundred images do. epsilon, momentum: of the
    new norms (momentum as ONNX counts it: 0.9 is PyTorch's 0.1). biased: only behind convolutions that have a bias, so
    that folding the norms again leaves as many parameters as there were.

    Each output channel of a convolution's weight is brought to the norm of a fresh one, unless other nodes read the
    weight, too. A convolution is left alone where a norm reads it already, where its weight is not constant, and where
    it is 1x1 with a single pixel of output an image (the gates of squeeze-and-excitation, classifiers): a batch says
    too little there. The tensor that others read keeps its name, the convolution's own output gets a new one.
    Parameters are named `<name of the convolution's weight, less .weight>.bn.weight`, `.bn.bias`, `.bn.running_mean`
    and `.bn.running_var`.

    Raises ModelError where the model does not run on the batches, DataError where there is none.
    """
    bare = [node for node in model.graph if _is_bare(node) and not (biased and _unbiased(node))]
    moments = measure(model, [node.outputs[0] for node in bare], calibration)
    editor = Editor(model)
    changed = False
    for node in bare:
        found = moments[node.outputs[0].name or ""]
        if found.pixels > 1 or not _is_pointwise(node):
            _insert(editor, node, found, epsilon, momentum)
            changed = True
    return changed


def _insert(editor: Editor, node: ir.Node, found: Moments, epsilon: float, momentum: float) -> None:
    output = node.outputs[0]
    name, stem = output.name or "", parameter_stem(node)
    set_type(node)
    bias = float64(node.inputs[2]) if len(node.inputs) > 2 else None
    mean = found.mean
    if bias is not None:
        mean = mean - bias
        editor.set_input(node, 2, None)
        node.resize_inputs(2)
    k = _rescale(editor, node)
    scale = np.sqrt(k**2 * found.variance + epsilon) / k
    output.name = editor.free(f"{name}.conv")
    vectors = (scale, found.mean, k * mean, k**2 * found.variance)
    norm = batch_norm(editor, output, f"{stem}.bn", vectors, epsilon=epsilon, momentum=momentum)
    put_between(editor, output, norm, name)


def put_between(editor: Editor, value: ir.Value, norm: ir.Node, name: str) -> None:
    """Put `norm`, which reads `value`, between it and all its other readers; its output gets that name."""
    result, maker = norm.outputs[0], value.producer()
    assert maker is not None
    value.replace_all_uses_with(result, replace_graph_outputs=True)
    norm.replace_input_with(0, value)
    result.name = name
    editor.graph.insert_after(maker, norm)


def _rescale(editor: Editor, node: ir.Node) -> Array:
    """Multiply each output channel of the weight with its k, [C]; ones where the weight is not this node's alone."""
    value, weight = node.inputs[1], _weight(node)
    assert value is not None and weight is not None
    norms = np.sqrt(_squares(node, weight.astype(np.float64)))
    k = np.divide(FRESH_NORM, norms, out=np.ones_like(norms), where=norms > DEAD_NORM)
    if not is_alone(value):
        return np.ones_like(k)
    product = scaled(node, weight.astype(np.float64), k)
    assert product is not None
    editor.replace(node, 1, product)
    return k


def _squares(node: ir.Node, weight: Array) -> Array:
    """The sum of squares of each output channel of a weight [O, I/g, ...], transposed [I, O/g, ...]."""
    if node.op_type == "Conv":
        return np.asarray((weight**2).reshape(len(weight), -1).sum(axis=1))
    groups = node.attributes.get_int("group", 1)
    parts = (weight**2).reshape(groups, -1, weight.shape[1], int(np.prod(weight.shape[2:])))
    return np.asarray(parts.sum(axis=(1, 3))).reshape(-1)


def _is_bare(node: ir.Node) -> bool:
    if kernel_of(node) is None or _weight(node) is None:
        return False
    return not any(has(use.node, Trait.NORM) for use in node.outputs[0].uses())


def _unbiased(node: ir.Node) -> bool:
    return len(node.inputs) < 3 or node.inputs[2] is None


def _is_pointwise(node: ir.Node) -> bool:
    weight = _weight(node)
    return weight is not None and all(extent == 1 for extent in weight.shape[2:])


def _weight(node: ir.Node) -> Array | None:
    return content(node.inputs[1])
