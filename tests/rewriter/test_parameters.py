from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnx_ir as ir

from chanc.ir import load
from chanc.oracles import check_shrink
from chanc.rewriter import rewrite
from chanc.rewriter.edits import AxisEdit
from chanc.rewriter.transfer import Method
from chanc.rewriter.transfer._common import Tensor, Use, take
from chanc.testing.graphs import Graph


def shared_norms(blocks: int) -> onnx.ModelProto:
    """A chain of convolutions whose norms all share four vectors, as exporters write equal ones."""
    graph = Graph()
    x = graph.input("image", [1, 3, 4, 4], dynamic={0: "n"})
    vectors = [graph.vector(12, 0.5, 1.5) for _ in range(4)]
    for _ in range(blocks):
        x = x.conv(12, 1).op("BatchNormalization", *vectors).relu()
    return graph.model(x.conv(3, 1))


def held(model: onnx.ModelProto) -> list[str]:
    return [tensor.name for tensor in model.graph.initializer]


def test_uses_that_are_cut_alike_part_together() -> None:
    model = shared_norms(4)
    first, second, *others = [n.input[1] for n in model.graph.node if n.op_type == "Conv"]
    vector = next(n.input[1] for n in model.graph.node if n.op_type == "BatchNormalization")
    small = rewrite(model, {first: {"keep": [0, 1]}, second: {"keep": [0, 1]}, others[0]: {"keep": [4, 5]}}).model
    read = [n.input[1] for n in small.graph.node if n.op_type == "BatchNormalization"]
    assert read == [f"{vector}.own", f"{vector}.own", f"{vector}.own.1", vector]
    assert set(held(small)) - set(held(model)) == {
        f"{n.input[k]}.own{end}" for n in model.graph.node[1:2] for k in range(1, 5) for end in ("", ".1")
    }


def test_the_last_use_keeps_the_tensor() -> None:
    model = shared_norms(2)
    small = rewrite(model, scale=0.5).model
    one, two = (n.input[1] for n in small.graph.node if n.op_type == "BatchNormalization")
    assert (one, two) == (f"{two}.own", two)
    assert two in held(model)
    assert set(check_shrink(model).groups.values()) == {(12, 6)}


def test_parting_constants_takes_four_times_the_steps_for_four_times_the_nodes(lines_run: Callable[..., int]) -> None:
    some, more = load(shared_norms(30)), load(shared_norms(120))
    rewrite(some, scale=0.5)  # what is imported and built at the first call
    assert len(rewrite(more, scale=0.5).model.graph.initializers) > 120 * 5
    assert lines_run(lambda: rewrite(more, scale=0.5)) <= 4 * lines_run(lambda: rewrite(some, scale=0.5))


def test_parts_are_there_for_a_transfer_that_looks_at_them_where_units_only_go() -> None:
    graph = Graph()
    x = graph.input("image", [1, 3, 4, 4])
    model = graph.model(x.conv(6, 1).relu().concat(x.conv(4, 1).bn()).conv(3, 1))
    seen: list[AxisEdit] = []

    def look(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
        seen.extend(edits)
        return take(tensor, edits)

    trace = rewrite(model, scale=0.5, transfer=Method("look", look)).trace
    joined = next(edit for edit in seen if len(edit.parts) == 2)
    assert joined.source.size == 5
    assert not any(edit.repeats for edit in seen)
    for edit in seen:
        for part in edit.parts:
            assert (edit.source[part.new] == part.old[part.source]).all()
    told = [{axis: operand.groups[axis] for axis in operand.axes} for operand in trace.operands]
    assert told == [{edit.axis: tuple(part.group for part in edit.parts)} for edit in seen]


def test_vectors_of_one_size_have_one_shape_that_nobody_can_change() -> None:
    small = rewrite(load(shared_norms(1)), scale=0.5).model
    shapes = [value.shape for value in small.graph.initializers.values() if value.shape == ir.Shape([6])]
    assert len(shapes) > 1
    assert all(shape is shapes[0] and shape.frozen for shape in shapes)
