"""What the loss hangs on each edge, against removing it and against what layers read; columns that are gone stay so."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from chanc.analysis import analyze  # noqa: E402
from chanc.data.dataset import Dataset  # noqa: E402
from chanc.errors import ModelError  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing.blocks import concat_cell  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402
from chanc.training.columns import Columns  # noqa: E402
from chanc.training.consumers import edges_of  # noqa: E402
from chanc.training.feed import held_out_feed  # noqa: E402
from chanc.training.module import trainable  # noqa: E402
from chanc.training.optimizers import make_optimizer  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402
from chanc.training.task import Batch  # noqa: E402
from chanc.training.units import unit_map  # noqa: E402

TASK = Classification()
EDGES = 4 + 4 + 9 + 9 + 11


def cell() -> ir.Model:
    graph = Graph(seed=0)
    d = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(4, bias=False).bn().relu()
    return graph.ir(concat_cell(d, 5, 6).gap().flatten().gemm(4))


def columns(model: ir.Model, **options: object) -> Columns:
    net, analysis = trainable(model, TASK), analyze(model, fold=False)
    units = unit_map(analysis, net)
    return Columns(net, edges_of(analysis, units, net, **options), units)


def batch(count: int = 6, size: int = 8) -> Batch:
    torch.manual_seed(0)
    return Batch({"image": torch.randn(count, 3, size, size)}, torch.arange(count) % 4, training=False)


def loss_of(made: Columns):
    return lambda one: TASK.loss(made.net.forward(one.inputs), one)


def without(edge: int, kept: np.ndarray) -> np.ndarray:
    return np.where(np.arange(kept.size) == edge, False, kept)


def test_the_taylor_identity() -> None:
    """L = (y - t)^2 / 2, y = sum g x: removing c changes L by (g x)^2 / 2 more than the gate, (y - t) g x, says."""
    graph = Graph(seed=0)
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"})
    model = graph.ir(x.conv(3).gap().flatten().concat(x.conv(4).gap().flatten()).gemm(1))
    full, one, target = columns(model), batch(1), 0.7

    def loss(made: Columns) -> tuple[Tensor, Tensor]:
        (y,) = made.net.forward(one.inputs).values()
        return (y.double() - target).square().sum() / 2, y.double().detach().sum()

    value, y = loss(full)
    value.backward()
    gates = full.gates()
    assert gates.abs().min() > 1e-4
    for edge in range(7):
        cut = columns(model)
        cut.keep(without(edge, cut.kept))
        after, rest = loss(cut)
        error = after - value + gates[edge]
        assert float(error.detach()) == pytest.approx(float((y - rest).square() / 2), abs=1e-6)


def reads(made: Columns, one: Batch) -> dict[str, Tensor]:
    """The sum of x dx over samples and positions of each channel that the layers of the consumers read, by key."""
    found: dict[str, Tensor] = {}

    def hook(key: str):
        def read(layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            values = given[0].view_as(given[0])
            others = [axis for axis in range(values.dim()) if axis != 1]
            values.register_hook(
                lambda gradient: found.update({key: (values.detach() * gradient).double().sum(others)})
            )
            return (values,)

        return read

    keys = [key for consumer in made.edges.consumers for key in consumer.entries]
    handles = [made.net.module.get_submodule(key.rpartition(".")[0]).register_forward_pre_hook(hook(key))
               for key in keys]  # fmt: skip
    made.net.module.zero_grad()
    loss_of(made)(one).backward()
    for handle in handles:
        handle.remove()
    return found


def test_x_dx_is_w_dw_where_batchnorm_evaluates() -> None:
    made, one = columns(cell()), batch()
    made.net.module.eval()
    found = reads(made, one)
    gates = made.gates()
    for consumer in made.edges.consumers:
        (key,) = consumer.entries
        assert torch.allclose(found[key], gates[consumer.edges], atol=1e-6, rtol=1e-4)
    assert float(gates.abs().sum()) > 0.05


def test_a_batchnorm_that_trains_takes_the_sum_away() -> None:
    """The loss doesn't see the size of a weight before it: over all inputs of an operation nothing is left."""
    made, one = columns(cell()), batch()
    sums = {}
    for training in (False, True):
        made.net.module.train(training)
        made.net.module.zero_grad()
        loss_of(made)(one).backward()
        gates = made.gates()
        sums[training] = [abs(float(gates[consumer.edges].sum())) for consumer in made.edges.consumers[:4]]
    assert max(sums[True]) < 1e-3 * max(sums[False])


def test_a_mask_is_a_zeroed_weight() -> None:
    made, plain, one = columns(cell()), trainable(cell(), TASK), batch()
    kept = np.random.default_rng(3).random(EDGES) < 0.5
    made.keep(kept)
    own = dict(plain.module.named_parameters())
    for consumer in made.edges.consumers:
        own[consumer.entries[0]].data[:, ~kept[consumer.edges]] = 0
    (masked,), (zeroed,) = (net.forward(one.inputs).values() for net in (made.net, plain))
    assert torch.equal(masked, zeroed)
    assert not torch.equal(masked, next(iter(trainable(cell(), TASK).forward(one.inputs).values())))


@pytest.mark.parametrize("optimizer", ["sgd", pytest.param("adamw", marks=pytest.mark.nightly)])
def test_columns_that_are_gone_stay_zero_and_the_optimizer_forgets_them(optimizer: str) -> None:
    made, one = columns(cell()), batch()
    options = TrainOptions(optimizer=optimizer, lr=0.05, nesterov=optimizer == "sgd", weight_decay=1e-2)
    steps = make_optimizer(made.net.module, options)
    kept = np.random.default_rng(4).random(EDGES) < 0.5
    made.net.module.train()

    def step() -> None:
        steps.zero_grad()
        loss_of(made)(one).backward()
        steps.step()

    step()
    before = {key: value.detach().clone() for key, value in made.net.module.named_parameters()}
    made.keep(kept, steps)
    for _ in range(3):
        step()
    after = dict(made.net.module.named_parameters())
    for consumer in made.edges.consumers:
        (key,) = consumer.entries
        gone = torch.from_numpy(~kept[consumer.edges])
        assert not after[key][:, gone].any()
        assert (after[key][:, ~gone] != before[key][:, ~gone]).any()
        for value in steps.state[after[key]].values():
            if isinstance(value, Tensor) and value.shape == after[key].shape:
                assert not value[:, gone].any()
                assert value[:, ~gone].any()


@pytest.fixture
def one_batch(dataset: Dataset) -> Batch:
    feed = held_out_feed(TASK.fit(cell(), dataset), "image", torch.device("cpu"))
    return next(iter(feed))


def test_forms_of_saliency(one_batch: Batch) -> None:
    """By hand from the gates of two batches, normalised in each consumer; of those that are gone nothing is said."""
    made = columns(cell())
    kept = without(5, made.kept)
    made.keep(kept)
    halves = [Batch({"image": one_batch.inputs["image"][part]}, one_batch.labels[part], training=False)
              for part in (slice(0, 40), slice(40, 80))]  # fmt: skip
    rows = []
    for half in halves:
        made.net.module.eval()
        made.net.module.zero_grad()
        loss_of(made)(half).backward()
        rows.append(made.gates().numpy())
    gates = np.abs(np.stack(rows))
    by_hand = {"taylor": gates.sum(0), "squared": (gates**2).sum(0), "reciprocal": -(1 / (gates + 1e-8)).sum(0)}
    for form, expected in by_hand.items():
        scores = made.scores(halves, loss_of(made), form)
        assert np.isnan(scores[5])
        for consumer in made.edges.consumers:
            there = np.arange(EDGES)[consumer.edges][kept[consumer.edges]]
            norm = np.linalg.norm(expected[there])
            assert scores[there] == pytest.approx(expected[there] / norm, rel=1e-6)
    assert all(value.grad is None for value in made.net.module.parameters())
    order = {form: np.argsort(made.scores(halves[:1], loss_of(made), form)) for form in by_hand}
    own = [one.edges for one in made.edges.consumers]
    for span in own:  # of one batch all three say the same of a consumer
        ranks = [list(itertools.compress(of, (of >= span.start) & (of < span.stop))) for of in order.values()]
        assert ranks[0] == ranks[1] == ranks[2]


def test_elementwise_sees_what_sums_cancel(one_batch: Batch) -> None:
    """The mean of |x dx|; of a tensor that two layers read each sees its own."""
    made = columns(cell())
    made.net.module.eval()
    parts: dict[str, Tensor] = {}

    def hook(key: str):
        def read(layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            values = given[0].view_as(given[0])
            axes = [axis for axis in range(values.dim()) if axis != 1]
            values.register_hook(lambda g: parts.update({key: (values.detach() * g).abs().double().mean(axes)}))
            return (values,)

        return read

    for consumer in made.edges.consumers:
        layer = made.net.module.get_submodule(consumer.entries[0].rpartition(".")[0])
        layer.register_forward_pre_hook(hook(consumer.entries[0]))
    scores = made.scores([one_batch], loss_of(made), "elementwise")
    for consumer in made.edges.consumers:
        expected = parts[consumer.entries[0]].numpy()
        assert scores[consumer.edges] == pytest.approx(expected / np.linalg.norm(expected), rel=1e-5)


def test_elementwise_of_a_convolution_in_groups_is_refused(one_batch: Batch) -> None:
    graph = Graph(seed=0)
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(8).relu()
    y = x.conv(8, groups=2) + x.conv(8)
    made = columns(graph.ir(y.gap().flatten().gemm(4)))
    made.scores([one_batch], loss_of(made), "taylor")
    with pytest.raises(ModelError, match="is of no plain convolution or linear layer"):
        made.scores([one_batch], loss_of(made), "elementwise")
