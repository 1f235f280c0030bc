"""Mean and variance of tensors over calibration data, in onnxruntime.

A batch gives n values a channel with their mean m and their mean squared deviation s; batches join by

    n = n1 + n2,  d = m2 - m1,  m = m1 + d n2/n,  s = (n1 s1 + n2 s2)/n + d^2 n1 n2/n^2

(Chan, Golub and LeVeque 1979), which loses nothing to cancellation as E[x^2] - E[x]^2 does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from chanc.errors import DataError
from chanc.ir import copy_model
from chanc.transforms._edit import Array, Editor, content, opset, set_type

Feeds = Mapping[str, Array]
_AXES_ARE_INPUTS = 18


@dataclass(frozen=True)
class Moments:
    """mean, variance: float64 [C], over `count` values a channel; `pixels` of them an image."""

    mean: Array
    variance: Array
    count: int
    pixels: int

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        share, away = other.count / count, other.mean - self.mean
        variance = self.variance * (1 - share) + other.variance * share + away**2 * share * (1 - share)
        return Moments(self.mean + away * share, variance, count, max(self.pixels, other.pixels))


def measure(model: ir.Model, values: Sequence[ir.Value], batches: Iterable[Feeds]) -> dict[str, Moments]:
    """Moments of convolutions' outputs [N, C, ...] in the main graph, by name, over batches of the model's inputs.

    They are reduced inside onnxruntime, so that no activation leaves it. Raises: ModelError where the model does not
    run on the batches; DataError where there is none.
    """
    from chanc.backends.ort import run, session

    if not values:
        return {}
    names = [value.name or "" for value in values]
    opened = session(_reduced(model, names))
    found: dict[str, Moments] = {}
    for feeds in batches:
        results = run(opened, feeds)
        for k, name in enumerate(names):
            mean, variance, shape = (np.asarray(array) for array in results[3 * k : 3 * k + 3])
            pixels = int(np.prod(shape[2:]))
            part = Moments(mean.astype(np.float64), variance.astype(np.float64), int(shape[0]) * pixels, pixels)
            found[name] = found[name] + part if name in found else part
    if not found:
        raise DataError("statistics need at least one batch of calibration data")
    return found


def _reduced(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """A copy whose outputs are mean, mean squared deviation and shape of each named value."""
    copy = copy_model(model)
    editor = Editor(copy)
    by_name = {value.name: value for node in copy.graph for value in node.outputs}
    outputs: list[ir.Value] = []
    for name in names:
        value = by_name[name]
        maker = value.producer()
        assert maker is not None
        set_type(maker)
        outputs += _statistics(editor, value, [0, *range(2, _rank(value))])
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(outputs)
    return copy


def _rank(value: ir.Value) -> int:
    maker = value.producer()
    weight = content(maker.inputs[1]) if maker is not None else None
    assert weight is not None
    return weight.ndim


def _statistics(editor: Editor, value: ir.Value, axes: list[int]) -> list[ir.Value]:
    def add(op: str, inputs: list[ir.Value], kind: ir.DataType, **attributes: object) -> ir.Value:
        output = ir.Value(name=editor.free(f"{value.name}.{op.lower()}"), type=ir.TensorType(kind))
        editor.graph.append(ir.node(op, inputs, attributes, outputs=[output]))  # type: ignore[arg-type]
        return output

    def mean(x: ir.Value, keep: int) -> ir.Value:
        if opset(editor.model) < _AXES_ARE_INPUTS:
            return add("ReduceMean", [x], kind, axes=axes, keepdims=keep)
        listed = editor.initializer("axes", np.array(axes), ir.DataType.INT64)
        return add("ReduceMean", [x, listed], kind, keepdims=keep)

    kind, x = ir.DataType.FLOAT, value
    if value.dtype == ir.DataType.DOUBLE:
        kind = ir.DataType.DOUBLE
    elif value.dtype not in (None, ir.DataType.FLOAT):
        x = add("Cast", [value], kind, to=int(kind))
    centred = add("Sub", [x, mean(x, 1)], kind)
    return [mean(x, 0), mean(add("Mul", [centred, centred], kind), 0), add("Shape", [value], ir.DataType.INT64)]
