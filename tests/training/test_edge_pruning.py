"""A training that loses edges: it goes on after a kill as if there had been none, and ends at the share asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from chanc.data.dataset import Dataset  # noqa: E402
from chanc.errors import ModelError, RunError  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing.blocks import concat_cell  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402
from chanc.training.cutting import Goal  # noqa: E402
from chanc.training.edge_pruning import PrunedEpoch, PruneOptions, Pruning  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402

TASK = Classification()
OPTIONS = TrainOptions(epochs=2, batch_size=50, lr=0.1, nesterov=True, schedule="cosine", crop_padding=1, flip=False,
                       spatial_dropout=0.1, device="cpu")  # fmt: skip


def cell() -> ir.Model:
    graph = Graph(seed=0)
    d = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(4, bias=False).bn().relu()
    return graph.ir(concat_cell(d, 5, 6).gap().flatten().gemm(4))


def pruning(dataset: Dataset, share: float = 0.7, options: TrainOptions = OPTIONS, **asked: object) -> Pruning:
    asked = {"batches": 2, "rate": 0.01, **asked}
    made = Pruning(cell(), TASK.fit(cell(), dataset), TASK, options, PruneOptions(Goal(share), **asked))
    made.begin(draw=True)
    return made


def through(made: Pruning, first: int = 0, until: int = 99) -> list[PrunedEpoch]:
    seen = []
    while not made.done(first + len(seen)) and first + len(seen) < until:
        seen.append(made.epoch(first + len(seen)))
    return seen


def told(epochs: list[PrunedEpoch]) -> list[tuple[object, ...]]:
    return [(e.loss, e.held_out, e.score, e.inputs, e.params, e.cut, e.rate) for e in epochs]


@pytest.mark.parametrize("at", [3, pytest.param(1, marks=pytest.mark.nightly)])
def test_it_is_pruned_step_by_step_and_goes_on_after_a_kill(dataset: Dataset, tmp_path: Path, at: int) -> None:
    calm = pruning(dataset)
    seen = through(calm)
    assert [epoch.inputs for epoch in seen[:5]] == [37, 37, 33, 29, 26]
    assert [bool(epoch.cut) for epoch in seen] == [False, False] + [True] * (len(seen) - 2)
    assert seen[0].rate == 0.1
    assert {epoch.rate for epoch in seen[2:]} == {0.01}
    assert seen[-1].params <= 0.7 * calm.edges.params < seen[-2].params
    assert list(seen[-1].counts.values()) == [calm.columns.kept[one.edges].sum() for one in calm.edges.consumers]
    cut = pruning(dataset)
    first = through(cut, until=at)
    cut.save(tmp_path / "state.safetensors")
    other = pruning(dataset)
    other.restore(tmp_path / "state.safetensors")
    assert told(first + through(other, at, 99)) == told(seen)
    state = other.net.module.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in calm.net.module.state_dict().items())
    assert other.decided() == calm.decided()


@pytest.mark.nightly
def test_what_it_ends_with_has_zeros_where_edges_went(dataset: Dataset) -> None:
    made = pruning(dataset, saliency="random")
    through(made)
    model = made.trained()
    for one in made.edges.consumers:
        weight = model.graph.initializers[one.initializer].const_value.numpy()
        gone = ~made.columns.kept[one.edges]
        assert not weight[:, gone].any()
        assert weight[:, ~gone].any(axis=0).all()
    assert model.metadata_props["chanc.input.layout"] == "NCHW"


def test_random_draws_other_edges_in_each_step(dataset: Dataset) -> None:
    made = pruning(dataset, saliency="random")
    one, two = made.scores(1), made.scores(2)
    assert not np.allclose(one, two)
    assert np.array_equal(one, pruning(dataset, saliency="random").scores(1))


@pytest.mark.nightly
def test_nothing_goes_where_nothing_is_asked_for(dataset: Dataset) -> None:
    made = pruning(dataset, share=1.0)
    assert len(through(made)) == 2
    assert made.decided() == {}


def test_refusals(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"still has 1\d\d of its 590 params: a sparsity of 0\.7\d\d is the most that edges can give"
    ):
        pruning(dataset, share=0.1)
    with pytest.raises(RunError, match="takes sgd or adamw, no averaged weights"):
        pruning(dataset, options=TrainOptions(ema_decay=0.9))
    made = pruning(dataset)
    made.save(tmp_path / "state.safetensors")
    with pytest.raises(RunError, match="was made with other edges"):
        pruning(dataset, share=0.9, wanted=("w_34",)).restore(tmp_path / "state.safetensors")
