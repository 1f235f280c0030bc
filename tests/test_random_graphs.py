"""Both oracles on random graphs over the whole operator list."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chanc.analysis import analyze
from chanc.backends import ort
from chanc.boundary import strict
from chanc.testing.plans import check_all
from chanc.testing.strategies import graph_of_seed, graphs


@pytest.fixture(autouse=True)
def _mistakes_are_seen():
    """No rule may stumble over a valid graph."""
    with strict():
        yield


CALM = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=CALM)
@given(graphs(), st.integers(0, 1 << 16))
def test_twelve(model, seed):
    check_all(model, seed)


@pytest.mark.nightly
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=CALM)
@given(graphs(), st.integers(0, 1 << 16))
def test_hundred(model, seed):
    check_all(model, seed)


@pytest.mark.nightly
@settings(max_examples=2000, deadline=None, suppress_health_check=CALM, print_blob=True)
@given(graphs(), st.integers(0, 1 << 16))
def test_two_thousand(model, seed):
    check_all(model, seed)


def test_graphs_are_valid_and_alike_for_a_seed():
    for seed in range(20):
        model = graph_of_seed(seed)
        assert model == graph_of_seed(seed)
        ort.run(model, ort.random_feeds(model), exact=True)


@pytest.mark.parametrize("seed", [2255, 2392])
def test_half_of_one_channel_goes_no_further(seed):
    """A Slice that leaves nothing is a dead end: onnxruntime can't convolve no channels."""
    model = graph_of_seed(seed)
    ort.run(model, ort.random_feeds(model))


def test_graphs_cover_the_operators():
    """What a few hundred graphs hold, so that a step that stopped to suit anything is noticed."""
    models = [graph_of_seed(seed) for seed in range(200)]
    found = {node.op_type for model in models for node in model.graph.node}
    wanted = {
        "Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization", "GroupNormalization",
        "LayerNormalization", "LRN", "Concat", "Split", "Slice", "Gather", "Reshape", "Transpose", "Flatten",
        "Squeeze", "Unsqueeze", "Gemm", "MatMul", "Einsum", "Softmax", "LSTM", "Resize", "Pad", "Tile", "Expand",
        "DepthToSpace", "SpaceToDepth", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceMax",
        "ReduceSum", "ReduceL2", "Where", "TopK", "PRelu", "Clip", "Cast", "Constant", "Identity", "Shape", "Mul",
        "Div", "Max",
    }  # fmt: skip
    assert wanted <= found
    sizes = [len(model.graph.node) for model in models]
    assert min(sizes) >= 5
    assert max(sizes) > 60


def test_most_groups_may_change():
    """Random graphs are of use as long as most of their groups are not pinned."""
    groups = [group for seed in range(40) for group in analyze(graph_of_seed(seed)).groups]
    inner = [group for group in groups if "graph output" not in group.reason and "graph input" not in group.reason]
    assert sum(group.resizable for group in inner) > 0.6 * len(inner)
