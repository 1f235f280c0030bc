"""Operators that make values from sizes or from nothing (ONNX Shape, ConstantOfShape, Range, ...): no channels."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.analysis.dims import Dim, Size, unknown
from chanc.analysis.layout import Layout, Opaque, plain
from chanc.analysis.rules import rule
from chanc.analysis.sweep import DATA_LIMIT, Sweep


@rule("Shape")
def shape(sweep: Sweep) -> None:
    """Shape: a vector of sizes; its content is read through by the sweep."""
    rank = sweep.input(0).rank
    start = sweep.integer("start", 0)
    end = sweep.integer("end", rank)
    sweep.output(plain([len(range(rank)[start:end])], "a shape"))


@rule("Size")
def size(sweep: Sweep) -> None:
    """Size: a scalar."""
    sweep.output(plain([], "a size"))


@rule("Constant")
def constant(sweep: Sweep) -> None:
    """Constant, where it is no initializer of the main graph: a number or a shape in a body, or a graph output."""
    assert sweep.node is not None
    held = next(iter(sweep.node.attributes.values()))
    if held.type == ir.AttributeType.TENSOR:
        array = held.as_tensor().numpy()
    elif held.type in (ir.AttributeType.INT, ir.AttributeType.INTS):
        array = np.array(held.value, dtype=np.int64)
    elif held.type in (ir.AttributeType.FLOAT, ir.AttributeType.FLOATS):
        array = np.array(held.value, dtype=np.float32)
    else:
        raise Opaque("it holds neither numbers nor a dense tensor")
    output = sweep.node.outputs[0]
    if array.dtype.kind in "iub" and array.size <= DATA_LIMIT:
        sweep.data[output] = array
    sweep.output(plain(array.shape, f"constant '{output.name}'"))


@rule("ConstantOfShape", "RandomNormal", "RandomUniform")
def constant_of_shape(sweep: Sweep) -> None:
    """ConstantOfShape and random tensors of a given shape; of the shape of a tensor, they have its channels."""
    like = _shape_of(sweep)
    if like is not None:
        sweep.output(like)
        return
    known = sweep.constant(0) if sweep.value(0) is not None else None
    if known is None:
        given = sweep.integer_list("shape")
        if given is None:
            raise Opaque("its shape is computed while the model runs")
        sweep.output(plain(given, "a generated tensor"))
        return
    sizes: list[Size] = known.ravel().tolist()
    if any(isinstance(n, Dim) for n in sizes) and _reads_widths(sweep, sweep.value(0)):
        raise Opaque("its shape is computed while the model runs")
    sweep.output(plain(sizes, "a generated tensor"))


def _shape_of(sweep: Sweep) -> Layout | None:
    """The layout of the tensor whose whole shape is the first input, if that is what it is."""
    value = sweep.value(0)
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "Shape" or "start" in node.attributes or "end" in node.attributes:
        return None
    source = node.inputs[0]
    return sweep.layouts.get(source) if source is not None else None


def _reads_widths(sweep: Sweep, value: ir.Value | None) -> bool:
    """Whether numbers in a shape are computed from others that may change, so that they can't be told to stay."""
    node = value.producer() if value is not None else None
    if value is None or node is None:
        return False
    if node.op_type == "Concat":
        return any(_reads_widths(sweep, part) for part in node.inputs)
    known = sweep.data.get(value)
    return known is None or any(not isinstance(n, Dim) for n in known.ravel().tolist())


@rule("RandomNormalLike", "RandomUniformLike", "Bernoulli")
def random_like(sweep: Sweep) -> None:
    """Noise of the shape of the input: its channels follow."""
    sweep.output(sweep.input(0))


@rule("Range")
def numbers(sweep: Sweep) -> None:
    """Range: a vector."""
    assert sweep.node is not None
    sweep.output(plain([unknown(f"{sweep.node.outputs[0].name}.0")], "a range"))
