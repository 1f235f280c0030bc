"""`grow`: kept units keep their values, new ones are drawn, nobody reads them, and the function stays."""

from __future__ import annotations

import numpy as np
import pytest

from chanc.analysis import analyze
from chanc.oracles import differences
from chanc.rewriter import rewrite
from chanc.testing.blocks import channels_last
from chanc.testing.builders import build
from chanc.testing.graphs import Graph
from chanc.testing.strategies import graph_of_seed

NORM = {"b1": 0, "gamma1": 1, "beta1": 0, "mean1": 0, "var1": 1}


def added(trace, name: str) -> np.ndarray:
    """Whether each new position on the first axis is a second or later copy."""
    source = next(o.axes[0] for o in trace.operands if o.initializer == name)
    first = np.zeros(source.size, dtype=bool)
    first[np.unique(source, return_index=True)[1]] = True
    return ~first


@pytest.mark.parametrize("width", [9, 12, 16, 21])
def test_new_rows_are_drawn_and_nobody_reads_them(plain, weights, width: int) -> None:
    model = plain()
    done = rewrite(model, {"w1": width})
    assert done.trace.exact
    assert all(found.error < 1e-6 for found in differences(model, done.model))
    old, new, later = weights(model), weights(done.model), added(done.trace, "w1")
    assert later.sum() == width - 8
    assert np.array_equal(new["w1"][~later], old["w1"])
    assert np.array_equal(new["w2"][:, ~later], old["w2"])
    assert not new["w2"][:, later].any()
    for name, fill in NORM.items():
        assert (new[name][later] == fill).all()
        assert np.array_equal(new[name][~later], old[name])


def test_new_rows_are_as_large_as_their_layer_begins(weights, plain) -> None:
    """Normal, with variance 2 / fan-in, 3 channels times 3 x 3 here."""
    done = rewrite(plain(wide=64), {"w1": 1024})
    drawn = weights(done.model)["w1"][added(done.trace, "w1")]
    assert drawn.std() == pytest.approx(np.sqrt(2 / 27), rel=0.02)
    assert abs(drawn.mean()) < 0.01
    assert np.unique(drawn.reshape(len(drawn), -1), axis=0).shape[0] == len(drawn)


def test_seeds_draw_other_rows(plain, weights) -> None:
    one, again, other = (weights(rewrite(plain(), {"w1": 12}, seed=s).model)["w1"] for s in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_new_row_reads_no_new_channel(weights) -> None:
    """Where a weight makes new channels and takes new ones, what takes them is 0 in every row."""
    body = "a = Conv (x, w1)\nr = Relu (a)\nc = Conv (r, w2)\ns = Relu (c)\ny = Conv (s, w3)"
    model = build("float[N,3,4,4] x", "float y", body, {"w1": (4, 3, 1, 1), "w2": (6, 4, 1, 1), "w3": (2, 6, 1, 1)})
    done = rewrite(model, scale=2)
    new, rows, columns = weights(done.model)["w2"], added(done.trace, "w2"), added(done.trace, "w1")
    assert not new[:, columns].any()
    assert new[rows][:, ~columns].all()
    assert all(found.error < 1e-6 for found in differences(model, done.model))


def test_a_vector_that_norms_share_comes_apart(weights) -> None:
    """Scale and variance are both 1 here, shift and mean both 0; an exporter stores each once."""
    body = """
    a = Conv (x, w1)
    n = BatchNormalization (a, one, half, half, one)
    y = Conv (n, w2)
    """
    arrays = {"w1": (4, 3, 1, 1), "one": np.full(4, 1.5, np.float32), "half": np.full(4, 0.5, np.float32),
              "w2": (2, 4, 1, 1)}  # fmt: skip
    model = build("float[N,3,4,4] x", "float y", body, arrays)
    done = rewrite(model, {"w1": 6})
    node = next(node for node in done.model.graph.node if node.op_type == "BatchNormalization")
    found = [weights(done.model)[name][added(done.trace, "w1")].tolist() for name in node.input[1:]]
    assert found == [[1, 1], [0, 0], [0, 0], [1, 1]]
    assert all(one.error < 1e-6 for one in differences(model, done.model))


@pytest.mark.parametrize("op", ["Sqrt", "Log", "Reciprocal"])
def test_a_unit_that_a_root_reads_keeps_its_sources_values(weights, op: str) -> None:
    """A fresh one might be below 0 there: 0 times what is no number is no number."""
    body = f"a = Conv (x, w1, b1)\ns = Sigmoid (a)\nc = Add (s, shift)\nr = {op} (c)\ny = Conv (r, w2)"
    arrays = {"w1": (4, 3, 1, 1), "b1": (4,), "shift": np.full((4, 1, 1), 0.1, np.float32), "w2": (2, 4, 1, 1)}
    model = build("float[N,3,4,4] x", "float y", body, arrays)
    done = rewrite(model, {"w1": 8})
    assert np.array_equal(weights(done.model)["w1"], np.repeat(weights(model)["w1"], 2, axis=0))
    assert (weights(done.model)["shift"] == np.float32(0.1)).all()
    assert all(found.error < 1e-6 for found in differences(model, done.model))


def test_what_nobody_trains_keeps_its_sources_values(weights) -> None:
    """A mask of the channels is no weight."""
    body = "a = Conv (x, w1)\nm = Where (mask, a, x0)\ny = Conv (m, w2)"
    mask = np.array([True, False, True, True])[:, None, None]
    arrays = {"w1": (4, 3, 1, 1), "mask": mask, "x0": np.zeros(1, np.float32), "w2": (2, 4, 1, 1)}
    model = build("float[N,3,4,4] x", "float y", body, arrays)
    new = weights(rewrite(model, {"w1": 8}, importance="first").model)
    assert np.array_equal(new["mask"], np.repeat(mask, 2, axis=0))


def test_int8_rows_are_drawn_from_the_old_ones(weights) -> None:
    body = "d = DequantizeLinear <axis = 0> (q, s, z)\na = Conv (x, d)\nr = Relu (a)\ny = Conv (r, w)"
    rng = np.random.default_rng(0)
    arrays = {"q": rng.integers(-128, 128, (4, 3, 3, 3), dtype=np.int8), "s": np.full(4, 0.1, np.float32),
              "z": np.zeros(4, np.int8), "w": (2, 4, 1, 1)}  # fmt: skip
    model = build("float[N,3,4,4] x", "float y", body, arrays)
    done = rewrite(model, {"q": 8})
    new, later = weights(done.model)["q"], added(done.trace, "q")
    assert np.array_equal(new[~later], arrays["q"])
    assert np.isin(new, arrays["q"]).all()
    assert np.unique(new.reshape(8, -1), axis=0).shape[0] == 8
    assert all(found.error < 1e-6 for found in differences(model, done.model))


def test_a_group_whose_function_cant_stay_is_left_alone_with_the_reason() -> None:
    """Channels that are summed: a new one would count, whatever its consumers hold."""
    body = "a = Conv (x, w1)\nb = Conv (x, w2)\ns = ReduceSum (b, axis)\nc = Relu (a)\nd = Conv (c, w3)\ny = Add (d, s)"
    shapes = {"w1": (4, 3, 1, 1), "w2": (4, 3, 1, 1), "w3": (2, 4, 1, 1), "axis": np.array([1])}
    model = build("float[1,3,4,4] x", "float y", body, shapes)
    done = rewrite(model, scale=2)
    assert done.trace.groups["w1"] == (4, 8)
    assert done.trace.groups["w2"] == (4, 4)
    assert done.trace.left["w2"].startswith("grow can't keep the function: ")
    assert all(found.error < 1e-6 for found in differences(model, done.model))
    asked = rewrite(model, {"w2": 8})
    assert asked.trace.groups["w2"] == (4, 8)
    assert not asked.trace.exact


def test_norms_across_channels_are_said_to_see_it() -> None:
    graph = Graph(seed=0)
    x = channels_last(graph.input("image", [2, 3, 4, 4]).conv(8))
    model = graph.model(x.op("LayerNormalization", graph.vector(8, 0.5, 1.5), graph.vector(8)).linear(4))
    done = rewrite(model, scale=2)
    assert done.changed
    assert not done.trace.exact
    assert any("norm" in reason.lower() for reason in done.trace.inexact.values()), done.trace.inexact


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs_keep_their_function(seed: int) -> None:
    model = graph_of_seed(seed)
    groups = [group for group in analyze(model).groups if group.resizable and group.exact and group.scalable]
    done = rewrite(model, {group.id: {"scale": 1.5} for group in groups})
    assert not done.trace.left
    assert all(found.error < 1e-4 for found in differences(model, done.model))
