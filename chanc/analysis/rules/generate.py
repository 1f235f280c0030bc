"""Operators that make values from sizes or from nothing (ONNX Shape, ConstantOfShape, Range, ...): no channels."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.analysis.context import Context
from chanc.analysis.evaluate import is_fill
from chanc.analysis.findings import DATA_LIMIT
from chanc.analysis.layout import Layout, Opaque, plain
from chanc.analysis.rules import rule


@rule("Shape")
def shape(context: Context) -> None:
    """Shape: a vector of sizes; its content is read through by the context."""
    rank = context.input(0).rank
    start = context.integer("start", 0)
    end = context.integer("end", rank)
    context.output(plain([len(range(rank)[start:end])], "a shape"))


@rule("Size")
def size(context: Context) -> None:
    """Size: a scalar."""
    context.output(plain([], "a size"))


@rule("Constant")
def constant(context: Context) -> None:
    """Constant, where it is no initializer of the main graph: a number or a shape in a body, or a graph output."""
    held = next(iter(context.node.attributes.values()))
    if held.type == ir.AttributeType.TENSOR:
        array = held.as_tensor().numpy()
    elif held.type in (ir.AttributeType.INT, ir.AttributeType.INTS):
        array = np.array(held.value, dtype=np.int64)
    elif held.type in (ir.AttributeType.FLOAT, ir.AttributeType.FLOATS):
        array = np.array(held.value, dtype=np.float32)
    else:
        raise Opaque("it holds neither numbers nor a dense tensor")
    output = context.node.outputs[0]
    if array.dtype.kind in "iub" and array.size <= DATA_LIMIT:
        context.findings.data[output] = array
    context.output(plain(array.shape, f"constant '{output.name}'"))


@rule("ConstantOfShape")
def constant_of_shape(context: Context) -> None:
    """ConstantOfShape: of the shape of a tensor, it has its channels; of any other shape, it takes any width."""
    like = _shape_of(context)
    if like is not None:
        context.output(like)
        return
    why = "a generated tensor"
    fill = is_fill(context.node.outputs[0])
    context.output(context.filled(why) if fill else plain(context.numbers(0), why))


@rule("RandomNormal", "RandomUniform")
def random(context: Context) -> None:
    """Noise of a shape that is an attribute."""
    context.output(plain(context.integer_list("shape", ()) or (), "a generated tensor"))


def _shape_of(context: Context) -> Layout | None:
    """The layout of the tensor whose whole shape is the first input, if that is what it is."""
    value = context.value(0)
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "Shape" or "start" in node.attributes or "end" in node.attributes:
        return None
    source = node.inputs[0]
    return context.findings.layouts.get(source) if source is not None else None


@rule("RandomNormalLike", "RandomUniformLike", "Bernoulli")
def random_like(context: Context) -> None:
    """Noise of the shape of the input: its channels follow."""
    context.output(context.input(0))


@rule("Range")
def numbers(context: Context) -> None:
    """Range: a vector."""
    context.output(plain([context.unknown_size(0)], "a range"))
