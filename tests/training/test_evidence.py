"""Evidence: the sums of W dW, against autograd's own words and against what removing units does to the loss."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from chanc.analysis import analyze  # noqa: E402
from chanc.data.dataset import Dataset  # noqa: E402
from chanc.errors import ModelError  # noqa: E402
from chanc.ir import copy_model  # noqa: E402
from chanc.rewriter.importance import Gathered  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing.blocks import channels_first, channels_last  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402
from chanc.training.evidence import BATCH, gather  # noqa: E402
from chanc.training.feed import some_feed  # noqa: E402
from chanc.training.module import trainable  # noqa: E402

TASK = Classification()
CPU = torch.device("cpu")


def residual(size: int = 8):
    """A stem, a block of two convolutions with norms, a depthwise convolution, a classifier with its bias."""
    graph = Graph(seed=0, scale=3**-0.5)
    x = graph.input("image", [2, 3, size, size], dynamic={0: "n"}).conv(6).bn().relu()
    x = (x + x.conv(5).bn().relu().conv(6).bn()).relu().depthwise().bn().relu()
    return graph.ir(x.gap().flatten().gemm(4))


@pytest.fixture
def data(dataset: Dataset) -> Dataset:
    return TASK.fit(residual(), dataset)


def batches(model, data: Dataset, count: int = 16):
    """The network, and the loss of each batch that is looked at."""
    net = trainable(model, TASK)
    feed = some_feed(data, net.inputs[0], CPU, count * BATCH, BATCH, 0)
    return net, [(lambda batch=batch: TASK.loss(net.forward(batch.inputs), batch)) for batch in feed]


def by_hand(model, data: Dataset) -> dict[str, dict[str, np.ndarray]]:
    """s of each batch, [batches, units], by group and side, from gradients brought home to the initializers."""
    net, losses = batches(model, data)
    analysis = analyze(model)
    rows: dict[str, dict[str, list[np.ndarray]]] = {g.id: {"taken": [], "made": []} for g in analysis.groups}
    for loss in losses:
        net.module.zero_grad()
        loss().backward()
        product = trainable(model, TASK)
        trained = dict(net.module.named_parameters())
        for name, value in product.module.named_parameters():
            value.data = (trained[name] * trained[name].grad).detach()
        home = copy_model(model)
        product.write_back(home)
        values = {name: value.const_value.numpy() for name, value in home.graph.initializers.items()}
        statistics = {name for node in model.graph if node.op_type == "BatchNormalization"
                      for name in (node.inputs[3].name, node.inputs[4].name)}  # fmt: skip
        for group in analysis.groups:
            total = {"taken": np.zeros(group.units.size), "made": np.zeros(group.units.size)}
            for operand in group.operands:
                if operand.initializer not in statistics:
                    lead = np.moveaxis(values[operand.initializer], operand.axis, 0)
                    sums = lead.reshape(len(lead), -1).sum(1, dtype=np.float64)[operand.indices].sum(1)
                    total["taken" if operand.role == "consumer" else "made"] += sums
            for side, found in total.items():
                rows[group.id][side].append(found)
    return {gid: {side: np.array(of) for side, of in sides.items()} for gid, sides in rows.items()}


def test_units_add_up_what_is_theirs_batch_by_batch(data: Dataset) -> None:
    """Biases, norms and coupled members together, within each batch, before magnitudes and squares are taken."""
    model = residual()
    found, expected = gather(model, data, TASK, device="cpu"), by_hand(model, data)
    assert found.batches == 4
    groups = [group for group in analyze(model).groups if group.resizable]
    assert found.taken.keys() == found.made.keys() == {group.id for group in groups}
    for group in groups:
        for side, moments in (("taken", found.taken[group.id]), ("made", found.made[group.id])):
            s = expected[group.id][side]
            assert s.shape == (4, group.units.size)
            assert np.allclose(moments.absolute, np.abs(s).sum(0), rtol=1e-3, atol=1e-6)
            assert np.allclose(moments.signed, s.sum(0), rtol=1e-3, atol=1e-6)
            assert np.allclose(moments.squared, (s**2).sum(0), rtol=1e-3, atol=1e-9)


def test_each_weight_axis_has_its_own(data: Dataset) -> None:
    model = residual()
    found = gather(model, data, TASK, device="cpu")
    for group in analyze(model).groups:
        for operand in group.operands if group.resizable else ():
            place = (operand.node, operand.input, operand.axis)
            if place not in found.axes:
                assert (operand.op, operand.input >= 3) == ("BatchNormalization", True)  # statistics don't train
                continue
            moments = found.axes[place]
            assert moments.absolute.shape == (operand.indices.size,)
            assert (moments.absolute >= np.abs(moments.signed) - 1e-12).all()
        consumers = [o for o in group.operands if o.role == "consumer"]
        if group.resizable and len(consumers) == 1:
            (one,) = consumers
            signed = found.axes[one.node, one.input, one.axis].signed[one.indices].sum(1)
            assert np.allclose(signed, found.taken[group.id].signed)


def test_it_is_what_removing_a_little_of_a_unit_does_to_the_loss(data: Dataset) -> None:
    """Scaling the columns that read a unit by 1 - t changes the loss by -t s, for small t."""
    model, step = residual(), 1e-2
    found, (net, losses) = gather(model, data, TASK, device="cpu"), batches(residual(), data)
    net.module.double()
    feed = [dataclasses.replace(batch, inputs={name: value.double() for name, value in batch.inputs.items()})
            for batch in some_feed(data, net.inputs[0], CPU, 16 * BATCH, BATCH, 0)]  # fmt: skip

    def total() -> float:
        with torch.no_grad():
            return sum(float(torch.nn.functional.cross_entropy(next(iter(net.forward(b.inputs).values())), b.labels))
                       for b in feed)  # fmt: skip

    before, classifier = total(), next(m for m in net.module.modules() if isinstance(m, torch.nn.Linear))
    stem = next(group.id for group in analyze(model).groups if group.resizable)
    inner = next(m for m in net.module.modules() if isinstance(m, torch.nn.Conv2d) and m.in_channels == 6)
    for unit in range(6):
        kept = [(layer.weight, layer.weight[:, unit].detach().clone()) for layer in (classifier, inner)]
        for weight, column in kept:
            weight.data[:, unit] = column * (1 - step)
        change = total() - before
        for weight, column in kept:
            weight.data[:, unit] = column
        assert change / -step == pytest.approx(found.taken[stem].signed[unit], rel=0.05, abs=2e-3)
    assert len(losses) == 4


def test_norms_are_those_of_what_layers_read(data: Dataset) -> None:
    """The inner convolution reads the stem's channels, and so does the classifier, after the block."""
    model = residual()
    found = gather(model, data, TASK, device="cpu", activations=True)
    net, losses = batches(model, data)
    inner = next(m for m in net.module.modules() if isinstance(m, torch.nn.Conv2d) and m.in_channels == 5)
    seen = []
    inner.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    for loss in losses:
        loss()
    squares = torch.cat(seen).double().square().mean((2, 3)).mean(0).numpy()
    group = next(g for g in analyze(model).groups if g.resizable and g.size == 5)
    assert np.allclose(found.norms[group.id], np.sqrt(squares), rtol=1e-5)
    assert (found.products[group.id] > 0).all()
    assert found.norms.keys() == found.taken.keys()
    plain = gather(model, data, TASK, device="cpu")
    assert (plain.norms, plain.products) == ({}, {})
    assert np.array_equal(plain.taken[group.id].absolute, found.taken[group.id].absolute)


def test_products_bound_the_effect(data: Dataset) -> None:
    """|sum of x dx| is at most the sum of |x dx|: over samples and 64 pixels, of which the mean is told."""
    found = gather(residual(), data, TASK, device="cpu", activations=True)
    group = next(g for g in analyze(residual()).groups if g.resizable and g.size == 5)
    effect = found.taken[group.id].absolute / found.batches
    assert (effect <= 64 * found.products[group.id] * 1.01).all()
    assert (effect > 0).all()


def test_channels_last_models_say_the_same(data: Dataset) -> None:
    """Their module has other layouts, their weights the same places."""
    def model(last: bool):
        graph = Graph(seed=0, scale=3**-0.5)
        x = graph.input("image", [2, 8, 8, 3] if last else [2, 3, 8, 8], dynamic={0: "n"})
        x = channels_first(x) if last else x
        x = x.conv(6).bn().relu()
        x = channels_first(channels_last(x)) if last else x
        return graph.ir(x.conv(5).relu().gap().flatten().gemm(4))

    nhwc = TASK.fit(model(True), dataclasses.replace(data, contract=None))
    one, two = gather(model(True), nhwc, TASK, device="cpu"), gather(model(False), data, TASK, device="cpu")
    for first, second in zip(one.taken.values(), two.taken.values(), strict=True):
        assert np.allclose(first.absolute, second.absolute, rtol=1e-3)


def test_a_batch_that_was_normed_by_itself_would_say_something_else(data: Dataset) -> None:
    """Norms are in evaluation: the same images twice change nothing but the number of batches."""
    one = gather(residual(), data, TASK, device="cpu", batches=1)
    again = gather(residual(), data, TASK, device="cpu", batches=1)
    assert one.batches == 1
    for name, moments in one.taken.items():
        assert np.array_equal(moments.absolute, again.taken[name].absolute)
        assert np.array_equal(moments.absolute, np.abs(moments.signed))
    other = gather(residual(), data, TASK, device="cpu", batches=1, seed=1)
    assert not np.array_equal(one.taken[name].signed, other.taken[name].signed)


def test_the_model_stays_as_it_is(data: Dataset) -> None:
    model = residual()
    before = {name: value.const_value.numpy().copy() for name, value in model.graph.initializers.items()}
    gather(model, data, TASK, device="cpu", activations=True)
    for name, value in model.graph.initializers.items():
        assert np.array_equal(before[name], value.const_value.numpy())


def test_what_cant_train_is_refused(data: Dataset) -> None:
    graph = Graph(seed=0)
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).gap().flatten()
    with pytest.raises(ModelError, match="nothing in the model trains"):
        gather(graph.ir(x.op("Concat", x.slice(1, 0, 1), axis=1)), data, TASK, device="cpu")


def test_it_goes_through_a_file(data: Dataset, tmp_path) -> None:
    found = gather(residual(), data, TASK, device="cpu", activations=True)
    found.save(tmp_path / "evidence.npz")
    again = Gathered.load(tmp_path / "evidence.npz")
    assert again.batches == found.batches
    for table in ("axes", "taken", "made"):
        one, two = getattr(found, table), getattr(again, table)
        assert one.keys() == two.keys()
        for key, moments in one.items():
            for name in ("absolute", "signed", "squared"):
                assert np.array_equal(getattr(moments, name), getattr(two[key], name))
    for table in ("norms", "products"):
        one, two = getattr(found, table), getattr(again, table)
        assert one.keys() == two.keys()
        assert all(np.array_equal(one[key], two[key]) for key in one)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_says_the_same(data: Dataset) -> None:
    here, there = (gather(residual(), data, TASK, device=name, activations=True) for name in ("cpu", "cuda"))
    for name, moments in here.taken.items():
        assert np.allclose(moments.absolute, there.taken[name].absolute, rtol=1e-2, atol=1e-5)
        assert np.allclose(here.norms[name], there.norms[name], rtol=1e-3)


class Asked(TorchDispatchMode):
    """How often a number is asked of a tensor, for which the CPU waits on any other device."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.times += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_no_batch_waits_for_the_cpu(data: Dataset) -> None:
    counts = []
    for batches in (1, 4):
        with Asked() as asked:
            gather(residual(), data, TASK, device="cpu", batches=batches, activations=True)
        counts.append(asked.times)
    assert counts[0] == counts[1]
