"""GroupNormalization before opset 21: a scale and a bias for each norm group, not for each channel.

ONNX's checker calls it deprecated; onnxruntime runs it.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from chanc.analysis import analyze
from chanc.backends import ort
from chanc.oracles import check_shrink, check_widen
from chanc.rewriter import rewrite
from chanc.testing.plans import check_all

CHANNELS = 8


def network(groups: int, opset: int) -> onnx.ModelProto:
    """Conv, GroupNormalization, depthwise Conv, Conv."""
    rng = np.random.default_rng(groups)
    shapes = {"w1": (CHANNELS, 3, 1, 1), "g": (groups,), "b": (groups,), "w2": (CHANNELS, 1, 3, 3), "w3": (4, 8, 1, 1)}
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name) for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c"]),
        helper.make_node("GroupNormalization", ["c", "g", "b"], ["n"], num_groups=groups, epsilon=1e-2),
        helper.make_node("Conv", ["n", "w2"], ["d"], group=CHANNELS),
        helper.make_node("Conv", ["d", "w3"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", [2, 3, 5, 5]), ("y", None))]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def operands(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}


@pytest.mark.parametrize("opset", [18, 20])
@pytest.mark.parametrize("groups", [2, 4, 8])
def test_whole_norm_groups_go_with_their_scale(groups: int, opset: int) -> None:
    model = network(groups, opset)
    group = analyze(model).group("w1")
    assert (group.size, group.step, group.exact) == (CHANNELS, CHANNELS // groups, True)
    assert check_shrink(model).operands
    assert check_widen(model).operands
    check_all(model, seed=groups)
    half = rewrite(model, {"w1": 4}).model
    assert operands(half)["g"] == operands(half)["b"] == (groups // 2,)


def test_a_single_norm_group_keeps_its_one_scale() -> None:
    """Any channel may go or come, and the scale of all of them stays one number."""
    model = network(1, 18)
    group = analyze(model).group("w1")
    assert (group.size, group.step, group.resizable, group.exact) == (CHANNELS, 1, True, False)
    for width in (3, 12):
        made = rewrite(model, {"w1": width}).model
        assert operands(made)["g"] == operands(made)["b"] == (1,)
        assert ort.run(made, ort.random_feeds(made), exact=True)[0].shape == (2, 4, 3, 3)
