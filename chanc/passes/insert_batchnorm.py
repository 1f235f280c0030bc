"""BatchNormalization after every bare convolution: a model whose norms were folded by its exporter trains again.

With z = W x the convolution without its bias b, and m, v the mean and variance of z over the calibration data,

    BN(z) = s (z - m) / sqrt(v + epsilon) + t,  s = sqrt(v + epsilon),  t = m + b

is z + b: the function is as before, the statistics are those of the data, and the bias has moved into the norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import PassResult

from chanc.passes._edit import Array, Editor, batch_norm, content, float64, is_op, parameter_stem
from chanc.passes._moments import Feeds, Moments, measure
from chanc.passes.base import Pass

CONVOLUTIONS = ("Conv", "ConvTranspose")
NORMS = ("BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization", "LRN")


@dataclass(frozen=True, eq=False)
class InsertBatchNorm(Pass):
    """Put a BatchNormalization behind every convolution that has none.

    calibration: batches of the model's inputs, {input name: array}; a few hundred images do. epsilon, momentum: of the
    new norms (momentum as ONNX counts it: 0.9 is PyTorch's 0.1).

    A convolution is left alone where a norm reads it already, where its weight is not constant, and where it is 1x1
    with a single pixel of output an image (the gates of squeeze-and-excitation, classifiers): a batch says too little
    there. The tensor that others read keeps its name, the convolution's own output gets a new one. Parameters are
    named `<name of the convolution's weight, less .weight>.bn.weight` (`bias`, `running_mean`, `running_var`).

    Raises ModelError where the model does not run on the batches, DataError where there is none.
    """

    calibration: Sequence[Feeds]
    epsilon: float = 1e-5
    momentum: float = 0.9

    def call(self, model: ir.Model) -> PassResult:
        """Insert in place."""
        bare = [node for node in model.graph if _is_bare(node)]
        for node in bare:
            set_type(node)
        moments = measure(model, [node.outputs[0] for node in bare], self.calibration)
        editor = Editor(model)
        changed = False
        for node in bare:
            found = moments[node.outputs[0].name or ""]
            if found.pixels > 1 or not _is_pointwise(node):
                self._insert(editor, node, found)
                changed = True
        return PassResult(model, changed)

    def _insert(self, editor: Editor, node: ir.Node, found: Moments) -> None:
        output = node.outputs[0]
        bias = float64(node.inputs[2]) if len(node.inputs) > 2 else None
        mean = found.mean
        if bias is not None:
            mean = mean - bias
            editor.set_input(node, 2, None)
            node.resize_inputs(2)
        scale = np.sqrt(found.variance + self.epsilon)
        name = output.name or ""
        output.name = editor.free(f"{name}.conv")
        vectors = (scale, found.mean, mean, found.variance)
        norm = batch_norm(
            editor, output, f"{parameter_stem(node)}.bn", vectors, epsilon=self.epsilon, momentum=self.momentum
        )
        put_between(editor, output, norm, name)


def insert_batchnorm(model: ir.Model, calibration: Sequence[Feeds]) -> bool:
    """Insert in place, as `InsertBatchNorm`; says whether anything changed."""
    return InsertBatchNorm(calibration)(model).modified


def put_between(editor: Editor, value: ir.Value, norm: ir.Node, name: str) -> None:
    """Put `norm`, which reads `value`, between it and all its other readers; its output gets that name."""
    result, maker = norm.outputs[0], value.producer()
    assert maker is not None
    value.replace_all_uses_with(result, replace_graph_outputs=True)
    norm.replace_input_with(0, value)
    result.name = name
    editor.graph.insert_after(maker, norm)


def _is_bare(node: ir.Node) -> bool:
    if not is_op(node, *CONVOLUTIONS) or _weight(node) is None:
        return False
    return not any(is_op(use.node, *NORMS) for use in node.outputs[0].uses())


def _is_pointwise(node: ir.Node) -> bool:
    weight = _weight(node)
    return weight is not None and all(extent == 1 for extent in weight.shape[2:])


def _weight(node: ir.Node) -> Array | None:
    return content(node.inputs[1])


def set_type(node: ir.Node) -> None:
    """The type of the output is that of the weight, where shapes were never inferred."""
    output, weight = node.outputs[0], _weight(node)
    if output.type is None and weight is not None:
        output.type = ir.TensorType(ir.DataType.from_numpy(weight.dtype))
