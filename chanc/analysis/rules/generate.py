"""Operators that make values from sizes or from nothing (ONNX Shape, ConstantOfShape, Range, ...): no channels."""

from __future__ import annotations

from chanc.analysis.dims import Size, unknown
from chanc.analysis.layout import Opaque, plain
from chanc.analysis.rules import rule
from chanc.analysis.sweep import Sweep


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


@rule("ConstantOfShape", "RandomNormal", "RandomUniform")
def constant_of_shape(sweep: Sweep) -> None:
    """ConstantOfShape and random tensors of a given shape."""
    known = sweep.constant(0) if sweep.value(0) is not None else None
    if known is None:
        given = sweep.integer_list("shape")
        if given is None:
            raise Opaque("its shape is computed while the model runs")
        sweep.output(plain(given, "a generated tensor"))
        return
    sizes: list[Size] = known.ravel().tolist()
    sweep.output(plain(sizes, "a generated tensor"))


@rule("RandomNormalLike", "RandomUniformLike", "Bernoulli")
def random_like(sweep: Sweep) -> None:
    """Noise of the shape of the input: its channels follow."""
    sweep.output(sweep.input(0))


@rule("Range")
def numbers(sweep: Sweep) -> None:
    """Range: a vector."""
    assert sweep.node is not None
    sweep.output(plain([unknown(f"{sweep.node.outputs[0].name}.0")], "a range"))
