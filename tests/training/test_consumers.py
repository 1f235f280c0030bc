"""Edges: which there are, what they cost, who keeps all inputs and why; and which of them go."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from chanc.analysis import Analysis, analyze  # noqa: E402
from chanc.errors import ModelError  # noqa: E402
from chanc.ir import load  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing.blocks import concat_cell  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402
from chanc.training.consumers import Edges, edges_of  # noqa: E402
from chanc.training.cutting import Cutter, Goal  # noqa: E402
from chanc.training.module import trainable  # noqa: E402
from chanc.training.units import unit_map  # noqa: E402

EDGES = 4 + 4 + 9 + 9 + 11


def cell() -> ir.Model:
    """Two nodes of two operations as in CNAS's cells: all of them read d, those of the second one z as well."""
    graph = Graph(seed=0)
    d = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(4, bias=False).bn().relu()
    return graph.ir(concat_cell(d, 5, 6).gap().flatten().gemm(4))


def found(model: ir.Model, **options: object) -> tuple[Analysis, Edges]:
    net, analysis = trainable(model, Classification()), analyze(model, fold=False)
    return analysis, edges_of(analysis, unit_map(analysis, net), net, **options)


def test_the_inputs_of_all_operations_and_what_they_cost() -> None:
    """A depthwise filter and a column each: 9 + F. The classifier's cost 4, and the norms of what it alone reads."""
    analysis, edges = found(cell())
    assert [one.shape[:2] for one in edges.consumers] == [(5, 4), (5, 4), (6, 9), (6, 9), (4, 11)]
    assert edges.costs.tolist() == [14] * 8 + [15] * 18 + [4] * 5 + [4 + 4] * 6
    assert len(edges) == edges.inputs.sum() == EDGES
    assert edges.params == analysis.params
    assert edges.cost(np.arange(EDGES) > 2) == analysis.params - 3 * 14
    assert list(edges.counts(np.arange(EDGES) > 2).values()) == [1, 4, 9, 9, 11]
    assert edges.layer.tolist() == [0] * 4 + [1] * 4 + [2] * 9 + [3] * 9 + [4] * 11


def test_who_keeps_all_inputs_and_why() -> None:
    """The last node has one reader, beside another group; the stem reads the image; a middle has one reader alone."""
    model = cell()
    groups = {group.id for group in analyze(model).groups}
    _, edges = found(model, wanted=("w*",), keep=())
    reasons = {why.partition(" (")[0] for why in edges.fixed.values()}
    assert reasons == {"it takes graph input 'image'"}
    producer = next(iter(edges.consumers[0].spans))
    assert producer in groups
    _, kept = found(model, keep=(producer,))
    assert not any(producer in one.spans for one in kept.consumers)
    assert f"'{producer}' is to stay as it is" in kept.fixed.values()
    _, some = found(model, wanted=(edges.consumers[2].initializer, edges.consumers[3].initializer))
    assert [one.initializer for one in some.consumers] == [one.initializer for one in edges.consumers[2:4]]
    assert set(some.fixed.values()) > {"it is none of the consumers that were asked for"}


def test_a_chain_has_no_edges() -> None:
    graph = Graph(seed=0)
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(4).relu().conv(5).relu()
    with pytest.raises(ModelError, match=r"no weight of this model can drop channels that it reads; of '.*': "):
        found(graph.ir(x.gap().flatten().gemm(4)))


@pytest.mark.nightly
def test_a_weight_that_two_nodes_use_keeps_its_inputs() -> None:
    graph = Graph(seed=0)
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(4).relu()
    twice = graph.weight(4, 4, 3, 3, fan_in=36, name="twice")
    y = x.op("Conv", twice, pads=[1] * 4).relu().op("Conv", twice, pads=[1] * 4)
    _, edges = found(graph.ir((x + y).conv(3, 1).concat(x).gap().flatten().gemm(4)))
    assert edges.fixed["twice"] == "it is used at several places, as one weight"
    assert "twice" not in {one.initializer for one in edges.consumers}


@pytest.mark.nightly
def test_behind_a_flatten_an_edge_is_a_block_of_columns() -> None:
    graph = Graph(seed=0)
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(3).relu().pool()
    model = graph.ir(x.conv(2).concat(x).flatten().gemm(4))
    _, edges = found(model)
    last = edges.consumers[-1]
    assert last.shape == (4, 5 * 16)
    assert set(edges.inputs[last.edges]) == {16}
    assert set(edges.costs[last.edges]) == {4 * 16}


def test_units_and_back() -> None:
    _, edges = found(cell())
    kept = np.random.default_rng(0).random(len(edges)) < 0.6
    decided = edges.decided(kept)
    assert (edges.kept(decided) == kept).all()
    dropped = edges.units(~kept)
    for one in edges.consumers:
        for group, span in one.spans.items():
            there = {*decided[one.name][group], *dropped[one.name].get(group, ())}
            assert there == set(range(span.stop - span.start))
    assert edges.decided(np.ones(len(edges), dtype=bool)) == {}


def cutter(share: float, gamma: float = 0.1, **options: object) -> tuple[Edges, Cutter]:
    analysis, edges = found(cell(), **options)
    return edges, Cutter(analysis, edges, Goal(share, gamma))


def test_steps_take_a_tenth_of_what_is_left() -> None:
    """CNAS's 69,120 inputs: 26,778 are left after nine steps."""
    goal = Goal(0.46)
    assert [goal.left(69_120, step) for step in (1, 2, 9, 10)] == [62_208, 55_987, 26_778, 24_100]
    edges, made = cutter(0.1)
    kept = np.ones(len(edges), dtype=bool)
    for step in range(1, 6):
        kept = made.cut(kept, np.arange(len(edges), dtype=float), step)
        assert edges.inputs[kept].sum() == int(EDGES * 0.9**step)


def test_the_least_scores_of_all_consumers_together_go() -> None:
    _, made = cutter(0.01)
    scores = np.random.default_rng(1).permutation(EDGES).astype(float)
    kept = made.cut(np.ones(EDGES, dtype=bool), scores, 1)
    assert sorted(scores[~kept]) == [0, 1, 2, 3]
    scores[~kept] = np.nan
    assert sorted(scores[kept & ~made.cut(kept, scores, 2)]) == [4, 5, 6, 7]


@pytest.mark.parametrize("share", [0.8, *(pytest.param(share, marks=pytest.mark.nightly) for share in (0.9, 0.65))])
def test_the_last_edge_is_the_first_with_which_the_share_is_met(share: float) -> None:
    """One edge more would be too much."""
    edges, made = cutter(share, gamma=0.5)
    order = np.random.default_rng(2).permutation(EDGES).astype(float)
    kept, step = np.ones(EDGES, dtype=bool), 0
    while not made.goal.met(edges.cost(kept), edges.params):
        step += 1
        kept = made.cut(kept, order, step)
    last = np.flatnonzero(~kept)[np.argmax(order[~kept])]
    before = kept.copy()
    before[last] = True
    assert edges.cost(kept) <= share * edges.params < edges.cost(before)
    assert set(order[~kept]) == set(range((~kept).sum()))


def test_what_only_constants_are_left_of_goes_and_nothing_else_starves() -> None:
    """Both operations of the first node may lose everything: its columns go too; the second one then stays alive."""
    edges, made = cutter(0.75, gamma=1.0)
    scores = np.arange(EDGES, dtype=float)
    kept = made.cut(np.ones(EDGES, dtype=bool), scores, 1)
    first, second = (sum(kept[one.edges].sum() for one in edges.consumers[at : at + 2]) for at in (0, 2))
    assert first == 0
    assert second > 0
    z = next(group for group, span in edges.consumers[2].spans.items() if span.stop - span.start == 5)
    for one in edges.consumers[2:]:
        if z in one.spans:
            assert not kept[one.spans[z]].any()


def test_an_edge_stays_that_the_outputs_hang_on() -> None:
    """With the classifier's inputs beyond choice both nodes can't die: it reads z and y whole."""
    _, edges = found(cell())
    wanted = tuple(one.initializer for one in edges.consumers[:4])
    edges, made = cutter(0.0, gamma=1.0, wanted=wanted)
    kept = made.cut(np.ones(len(edges), dtype=bool), np.arange(len(edges), dtype=float), 1)
    assert kept.sum() == 1
    assert kept[-1]


@pytest.mark.nightly
def test_the_published_network_has_69_120_inputs(zoo_model) -> None:
    """Those behind a factorised reduction go two at a time: both of its halves are one group."""
    model = load(zoo_model("cnas"))
    _, edges = found(model, wanted=("*.pointwise.*",))
    assert edges.inputs.sum() == 69_120
    widths = np.array([one.shape[0] for one in edges.consumers])[edges.layer]
    assert (edges.costs == edges.inputs * (9 + widths)).all()
    assert len(edges) == 69_120 - 10 * (72 + 144) // 2
    assert all(why.startswith(("it is none of", "it takes graph input")) for why in edges.fixed.values())


@pytest.mark.nightly
def test_bottlenecks_of_densenet(zoo_model) -> None:
    """Each reads 24 channels and 12 more for every layer before it in its block; a norm's two params and a column."""
    model = load(zoo_model("densenet-bc"))
    _, edges = found(model, wanted=("*.conv1.*",))
    assert len(edges.consumers) == 48
    assert [one.shape[1] for one in edges.consumers][:3] == [24, 36, 48]
    assert set(edges.costs) == {48 + 2}
