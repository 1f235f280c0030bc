"""What random graphs found: each case is the smallest graph that went wrong."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from chanc.analysis import analyze
from chanc.rewriter import rewrite
from chanc.testing import blocks
from chanc.testing.graphs import Graph
from chanc.testing.plans import Trial, check_trial


def _image(graph, channels=3, size=8):
    return graph.input("image", [2, channels, size, size], dynamic={0: "n"})


def _reasons(model):
    return {group.reason for group in analyze(model).groups if not group.resizable}


def test_columns_of_a_grouped_transposed_convolution_under_whole_norm_groups(check):
    """Columns and rows of [2, 2] channels are one unit, whose copies would not stand in the groups' order."""
    graph = Graph(opset=21)
    x = blocks.group_norm(_image(graph).conv(4).conv_transpose(4, groups=2), 2, "node")
    model = graph.model(x.conv(3, 1))
    assert any("one unit fills its groups" in reason for reason in _reasons(model))
    check(model)


def test_columns_of_a_grouped_convolution_before_whole_groups(check):
    graph = Graph()
    model = graph.model(_image(graph).conv(6).conv(4, 1, groups=2).conv(2, 1, groups=2).conv(3, 1))
    assert any("one unit fills its groups" in reason for reason in _reasons(model))
    check(model)


def test_odd_depthwise_multiplier_before_columns(check):
    """5 channels, each made into two, seen as 2 groups of 5: all hang together."""
    graph = Graph()
    model = graph.model(_image(graph).conv(5).depthwise(multiplier=2).conv(4, 1, groups=2))
    check(model)


def test_roll_added_to_itself(check):
    """x + roll(x) by a step without a common divisor makes all channels one."""
    graph = Graph()
    x = _image(graph).conv(16)
    model = graph.model((x + x.slice(1, 7, 16).concat(x.slice(1, 0, 7))).flatten().gemm(7))
    assert any("combined with itself" in reason for reason in _reasons(model))
    check(model)


def test_stack_with_an_input_of_one_channel(check):
    """A Concat doesn't broadcast along its other axes: one channel beside the input's one stays."""
    graph = Graph()
    x = _image(graph, 1)
    stacked = x.unsqueeze(1).concat(x.conv(1, 1).unsqueeze(1), axis=1).reduce("ReduceSum", 1, keep=False)
    model = graph.model(stacked.conv(4, 1).conv(3, 1))
    assert any("joined with values that are not channels" in reason for reason in _reasons(model))
    check(model)


def test_pixels_are_not_the_scale_that_their_channels_have():
    """What stays because it meets pixels isn't said to meet the constant of a norm along another axis."""
    graph = Graph(opset=17)
    pixels = graph.input("x", [1, 3, 5, 5]).conv(6).reshape(1, 6, 25).transpose(0, 2, 1)
    normed = graph.op("LayerNormalization", pixels, graph.vector(6, 0.5, 1.5), graph.vector(6))
    channels = graph.input("z", [1, 3, 6]).transpose(0, 2, 1).linear(25).transpose(0, 2, 1)
    model = graph.model((normed + channels).linear(2))
    reasons = _reasons(model)
    assert any("combined with values that are not channels" in reason for reason in reasons)
    assert not any("constant" in reason for reason in reasons)


def test_kernel_of_one_number_used_twice(check):
    """Its output axis at one use and its input axis at the next are edited alike, and are not one axis."""
    graph = Graph()
    x = _image(graph, 1)
    weight = graph.weight(1, 1, 1, 1)
    model = graph.model(x.conv(1, 1, weight=weight).relu().conv(1, 1, weight=weight))
    check(model)


def test_kernel_of_one_number_that_grows_along_both_axes_at_two_uses(check):
    graph = Graph()
    weight = graph.weight(1, 1, 1, 1)
    x = _image(graph, 1).conv(1, 1)
    model = graph.model(x.conv(1, 1, weight=weight).relu().conv(1, 1, weight=weight, bias=False).conv(5, 1))
    check(model)


@pytest.mark.parametrize("wide", [5, 2])
def test_gate_of_one_channel_on_what_shrinks_to_one(wide):
    """[N, C] * [N, 1] with C = 1 after the rewrite: the two still come from different channels."""
    graph = Graph()
    x = _image(graph).conv(wide)
    first, second = x.split(1, wide - 1)
    model = graph.model((second * second.conv(1, 1)).concat(first, x).conv(3, 1))
    plan = {group.id: 1 for group in analyze(model).groups if group.resizable and group.step == 1}
    check_trial(model, Trial("to one", "shrink", plan))


def test_expanded_channel_that_shrinks_to_one():
    graph = Graph()
    x = _image(graph).conv(8)
    model = graph.model(x.conv(1, 1).op("Expand", graph.integers([1, 6, 1, 1])).conv(3, 1))
    plan = {group.id: 1 for group in analyze(model).groups if group.resizable and group.step == 1}
    check_trial(model, Trial("to one", "shrink", plan))


def test_only_the_values_of_an_attention_are_read(check):
    """A row of [3, heads, width] is cut out and its axis squeezed: it can't grow along that."""
    graph = Graph()
    x = graph.input("tokens", [2, 9, 6], dynamic={0: "n"}).linear(10)
    parts = x.linear(6).reshape(0, 9, 3, 1, 2).transpose(2, 0, 3, 1, 4)
    values = parts.gather([2], 0).squeeze(0)
    model = graph.model(values.transpose(0, 2, 1, 3).reshape(0, 9, 2).linear(4))
    check(model)


def test_attention_of_one_head(check):
    graph = Graph()
    x = graph.input("tokens", [2, 9, 6], dynamic={0: "n"}).linear(10)
    model = graph.model((x + blocks.attention(x, 1, width=4)).linear(5))
    check(model)


def test_nodes_that_nothing_reads(check):
    """They go when shapes are folded, and the second analysis doesn't miss them."""
    graph = Graph()
    x = _image(graph).conv(8)
    x.conv(6, 1).relu()
    model = graph.model(blocks.shuffle(x, 2, open_sizes=True).conv(3, 1))
    result = rewrite(model, scale=0.5)
    assert result.changed
    check(model)


def test_rounding_that_makes_a_group_grow_is_no_shrink(check):
    """12 channels in steps of 3 go to 24 where multiples of 8 are asked for: the trial leaves them out."""
    graph = Graph()
    x = graph.input("tokens", [2, 9, 6], dynamic={0: "n"}).linear(16)
    model = graph.model(blocks.attention(x, 1, width=4).linear(5))
    sizes = {group.step for group in analyze(model).groups if group.resizable}
    assert max(sizes) > 1
    check(model)


def test_split_halves_added(check):
    """The neighbours that a stride adds up may still shrink and grow."""
    graph = Graph()
    x = _image(graph).conv(12)
    model = graph.model((x.slice(1, 0, 12, 2) + x.slice(1, 1, 12, 2)).conv(3, 1))
    (group,) = [group for group in analyze(model).groups if group.resizable]
    assert (group.size, group.step) == (12, 2)
    assert np.array_equal(group.operands[0].indices, np.arange(12).reshape(6, 2))
    check(model)


def test_a_kernel_that_makes_no_channels():
    graph = Graph()
    kernel = graph.weight(0, 3, 1, 1)
    model = graph.model(graph.input("x", [1, 3, 6, 6]).op("Conv", kernel))
    assert [group.size for group in analyze(model).groups] == [3]


@pytest.fixture
def grows(check):
    """All that goes through both oracles may change, and grows."""

    def look(model):
        plan = {g.id: {"scale": 2.0} for g in analyze(model).groups if g.resizable and g.exact and g.scalable}
        assert plan
        check(model)
        return check_trial(model, Trial("twice", "widen", plan, {"transfer": "widen"}))

    return look


def test_space_to_depth_repeats_a_line_that_ends_as_it_begins(grows):
    """Units A B C A, four times over: the A at an end and the A that follows it are two, not a block."""
    graph = Graph()
    x = _image(graph).conv(6)
    first, second = x.split(4, 2)
    wide = first.op("SpaceToDepth", blocksize=2)
    model = graph.model(wide.conv(3, 1), second.conv(3, 1), blocks.shuffle(x, 2).gap().flatten().gemm(5))
    assert "w_1#0" in {group.id for group in analyze(model).groups if group.resizable}
    grows(model)


@pytest.mark.parametrize("before", [0, 2])
def test_whole_groups_of_padded_channels(before, grows):
    """A group holds channels and zeros: its copies have zeros of their own, which a Pad can't put between."""
    graph = Graph()
    x = _image(graph).conv(8)
    padded = x.op("Pad", graph.integers([0, before, 0, 0, 0, 2 - before, 0, 0]))
    groups = padded.channels // 5
    model = graph.model(padded.conv(groups, 1, groups=groups).conv(3, 1), x.conv(3, 1))
    grows(model)


def test_roll_by_one_and_then_a_shuffle(grows):
    """The last channel and the first are one block, joined from two slices."""
    graph = Graph()
    x = _image(graph).conv(6)
    rolled = x.slice(1, 5, 6).concat(x.slice(1, 0, 5))
    model = graph.model(blocks.shuffle(rolled, 3).mean(2, 3, keep=False).linear(5), x.conv(3, 1))
    grows(model)


def test_a_channel_next_to_itself_in_a_concat_and_flattened_elsewhere(grows):
    """Flattened, its pixels are a block; joined with itself, the copies of both would stand apart."""
    graph = Graph()
    x = _image(graph).conv(6)
    first, second = x.split(3, 3)
    joined = second.concat(x.gather([5, 4, 0, 3, 2, 1]))
    grows(graph.model(second.flatten().gemm(7), joined.conv(3, 1), first.conv(3, 1)))


def test_tiles_that_whole_groups_reach_across(grows):
    """Groups of four over a line of six: one of them lies across the end of the first tile."""
    graph = Graph()
    x = _image(graph).conv(6)
    tiled = x.op("Tile", graph.integers([1, 2, 1, 1]))
    grows(graph.model(tiled.conv(3, 1, groups=3).conv(3, 1), x.conv(3, 1)))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_of_a_line_that_ends_as_it_begins(mode, grows):
    graph = Graph()
    x = _image(graph).conv(12)
    y = x.op("DepthToSpace", blocksize=2, mode=mode)
    grows(graph.model((y + y.gather([2, 1, 0])).conv(4, 1), x.conv(3, 1)))


def test_crop_through_a_block(grows):
    graph = Graph()
    x = _image(graph).conv(8)
    cropped = x.op("Pad", graph.integers([0, -1, 0, 0, 0, -2, 0, 0]))
    grows(graph.model(cropped.conv(3, 1), blocks.group_norm(x, 4).conv(3, 1)))


def test_rolled_gates_of_a_recurrent_layer(grows):
    """The first hidden unit and the last go together: on the rows of the gates their copies are no block."""
    graph = Graph()
    y = blocks.lstm(_image(graph).conv(6), 4)
    model = graph.model((y + y.gather([3, 1, 2, 0], 2)).linear(3))
    grows(model)


@pytest.mark.parametrize("width", [2, 3])
def test_fused_attention_of_one_head_that_is_as_narrow_as_it_has_parts(width, check):
    """Query and key are one row, the value another; columns leave as many units, and may be cut out."""
    graph = Graph()
    x = graph.input("tokens", [2, 9, 6], dynamic={0: "n"}).linear(10)
    model = graph.model((x + blocks.attention(x, 1, width=width)).linear(5))
    assert (3 * width, 3, True) in {(g.size, g.step, g.resizable) for g in analyze(model).groups}
    check(model)


@pytest.mark.parametrize("rows", [True, False])
def test_a_table_of_channels_reads_each_copy_of_what_it_read(rows, grows):
    """Gather by [[4, 0, 2], [1, 5, 3]]: the second copy of a row (or a column) reads second copies."""
    graph = Graph()
    x = _image(graph).conv(6)
    table = graph.constant(np.array([[4, 0, 2], [1, 5, 3]]), stored="initializer")
    y = graph.node("Gather", [x, table], shapes=[(2, 2, 3, 8, 8)], axis=1)[0]
    summed = y.transpose(0, 2, 1, 3, 4).reshape(-1, 6, 8, 8) if rows else y.reshape(-1, 6, 8, 8)
    model = graph.model(summed.conv(4, 1, groups=1).conv(3, 1), x.conv(3, 1))
    grows(model)
    wide = rewrite(model, {"w_1": 12}).model
    (indices,) = [_content(wide, node.input[1]) for node in wide.graph.node if node.op_type == "Gather"]
    assert sorted(indices.ravel().tolist()) == list(range(12))


def _content(model, name):
    return next(onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name)
