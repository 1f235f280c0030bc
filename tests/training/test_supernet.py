"""A supernet's epochs: who trains whom, ranges that move, the way back, and a killed search that goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from chanc.analysis import analyze  # noqa: E402
from chanc.data.dataset import Dataset  # noqa: E402
from chanc.errors import ModelError, RunError, TrialError  # noqa: E402
from chanc.ir import load  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing import blocks  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402
from chanc.training.choices import Choices, Free, Gaussian, around  # noqa: E402
from chanc.training.expected import Pressure  # noqa: E402
from chanc.training.masking import MaskOptions, Unit  # noqa: E402
from chanc.training.module import trainable  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402
from chanc.training.supernet import Supernet  # noqa: E402
from chanc.training.train import score  # noqa: E402

TASK = Classification()
OPTIONS = TrainOptions(epochs=2, batch_size=20, lr=0.1, schedule="cosine", clip_norm=5.0, crop_padding=1, device="cpu")


def network(inner: int = 6) -> ir.Model:
    """A residual block: two groups."""
    graph = Graph(scale=0.7)
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(8, stride=2).bn().relu()
    x = (x + x.conv(inner).bn().relu().conv(8).bn()).relu()
    return graph.ir(x.gap().flatten().gemm(4))


class Means:
    """Means that start at the model's widths, five options each; `drift` is added to all of them at each epoch."""

    def __init__(self, drift: float = 0.0, step: int = 2) -> None:
        self.drift, self.step = drift, step

    def options(self, means: Sequence[float], units: Sequence[Unit]) -> list[tuple[int, ...]]:
        return [around(mean, unit.step, 5, unit.low, unit.high) for mean, unit in zip(means, units, strict=True)]

    def begin(self, units: Sequence[Unit], device: object, level: float) -> Choices:
        means = [float(unit.start) for unit in units]
        return Gaussian(torch.tensor(means), 2.0 * self.step, self.options(means, units))

    def advance(self, choices: Gaussian, units: Sequence[Unit], epoch: int, epochs: int) -> None:
        choices.choose_among(self.options([mean + epoch * self.drift for mean in choices.centres()], units))


class Fixed(Means):
    """All of 4, 6, 8, 10, drawn by Gumbel noise."""

    def begin(self, units: Sequence[Unit], device: object, level: float) -> Choices:
        return Free([(4, 6, 8, 10)] * len(units), 5.0, device)

    def advance(self, choices: Free, units: Sequence[Unit], epoch: int, epochs: int) -> None:
        choices.tau = 5.0 * 0.9**epoch


def units_of(model: ir.Model, step: int = 2) -> list[Unit]:
    return [Unit(group.id, {group.id: 1.0}, group.size, step, 2, 64) for group in analyze(model).groups
            if group.resizable]  # fmt: skip


def supernet(
    dataset: Dataset, policy: Means | None = None, options: TrainOptions = OPTIONS, **asked: object
) -> Supernet:
    model = network()
    masking = MaskOptions(**{"pressure": Pressure({}, 0.01), **asked})
    net = Supernet(model, TASK.fit(model, dataset), TASK, options, masking, policy or Means(), units_of(model))
    net.begin(draw=True)
    return net


def test_branches_are_dropped_at_a_rate_that_rises(dataset: Dataset) -> None:
    """From 0: its first epoch is that of a search without."""
    plain, dropped = (
        supernet(dataset, options=dataclasses.replace(OPTIONS, drop_path=rate)) for rate in (0.0, 0.5)
    )
    losses = [[net.epoch(epoch).loss for epoch in (0, 1)] for net in (plain, dropped)]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]
    assert not any(layer._forward_hooks for layer in dropped.net.module.modules())


def state(net: Supernet) -> dict[str, torch.Tensor]:
    found = {key: value.clone() for key, value in net.net.module.state_dict().items()}
    for number, entry in enumerate(net.optimizer.state.values()):
        found |= {f"momentum {number}": entry["momentum_buffer"].clone()}
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def test_an_epoch_trains_both_and_tells_of_them(dataset: Dataset) -> None:
    net = supernet(dataset)
    before = net.widths()
    seen = net.epoch(0)
    assert net.widths() != before
    assert seen.low.keys() == seen.widths.keys() == {unit.name for unit in net.units}
    wide, narrow = seen.options
    assert (seen.options[wide], seen.options[narrow]) == ([4, 6, 8, 10, 12], [2, 4, 6, 8, 10])
    assert seen.supernet["params"] == analyze(network()).cost_at({wide: 12, narrow: 10}).params
    assert seen.executed == 200 * seen.supernet["macs"]
    assert all(sum(weights) == pytest.approx(1) for weights in seen.weights.values())
    assert seen.costs["macs"] > analyze(network()).macs * 0.9
    assert {"resize", "train", "evaluate"} <= seen.seconds.keys()


def test_each_step_leaves_the_other_alone(dataset: Dataset) -> None:
    net = supernet(dataset)
    net.epoch(0)
    masked, batches = net.masked(), [batch for _, batch in net.streams]
    before, means = state(net), net.choices.parameter.detach().clone()
    net.weights_step(masked, batches[0])
    assert torch.equal(net.choices.parameter, means)
    after = state(net)
    assert not same(before, after)
    net.masks_step(masked, batches[1])
    assert not torch.equal(net.choices.parameter, means)
    trained = {key for key, _ in net.net.module.named_parameters()} | {key for key in after if "momentum" in key}
    assert all(torch.equal(after[key], value) for key, value in state(net).items() if key in trained)


def test_grown_and_shrunk_it_is_the_same_bit_by_bit(dataset: Dataset) -> None:
    """Weights, statistics and momentum; new channels stand behind the old ones."""
    net = supernet(dataset)
    net.epoch(0)
    before, widths = state(net), {name: group.size for name, group in net.masks.groups.items()}
    net._resize({name: width + 6 for name, width in widths.items()})
    grown = state(net)
    assert not same(before, grown)
    for key, value in before.items():
        assert torch.equal(grown[key][tuple(map(slice, value.shape))], value), key
    net._resize(widths)
    assert same(before, state(net))


def test_a_network_that_is_built_anew(dataset: Dataset) -> None:
    """A channel shuffle holds a size in its forward; its values stay, and it trains on."""
    graph = Graph(scale=0.7)
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(8, stride=2).bn().relu()
    model = graph.ir(blocks.shuffle(x, 2).conv(6).relu().gap().flatten().gemm(4))
    units, masking = units_of(model), MaskOptions(Pressure({}, 0.01))
    net = Supernet(model, TASK.fit(model, dataset), TASK, OPTIONS, masking, Means(drift=4.0), units)
    net.begin(draw=True)
    first = net.epoch(0)
    before, widths = state(net), {name: group.size for name, group in net.masks.groups.items()}
    net._resize({name: width + 4 for name, width in widths.items()})
    net._resize(widths)
    after = state(net)
    assert all(torch.equal(after[key], value) for key, value in before.items() if "m" not in key)
    second = net.epoch(1)
    assert all(second.high[name] > width for name, width in first.high.items())


def test_a_range_that_moves_takes_the_network_along(dataset: Dataset) -> None:
    net = supernet(dataset, Means(drift=4.0))
    first, second = net.epoch(0), net.epoch(1)
    assert all(second.high[name] > width for name, width in first.high.items())
    assert {name: group.size for name, group in net.masks.groups.items()} == dict(second.high)


def test_a_mean_that_leans_on_its_range_takes_it_along_within_the_epoch(dataset: Dataset) -> None:
    """Four steps of 3 channels towards a far target, the range being 4 wide: it is centred anew, the network grows."""
    net = supernet(dataset, lr=3.0, pressure=Pressure({"macs": 1e7}, 10.0))
    seen = net.epoch(0)
    wide, narrow = seen.options
    assert (seen.low[wide], seen.high[wide], seen.low[narrow], seen.high[narrow]) == (4, 16, 2, 14)
    assert (seen.options[wide], seen.options[narrow]) == ([8, 10, 12, 14, 16], [6, 8, 10, 12, 14])
    first, last = (analyze(network()).cost_at({wide: a, narrow: b}).macs for a, b in ((12, 10), (16, 14)))
    assert seen.supernet["macs"] == last
    # Before the look at the fourth step of the masks eight batches of 20 have been seen, behind it two.
    assert seen.executed == 160 * first + 40 * last


@pytest.mark.parametrize(("policy", "mode", "weight"), [
    (Means, "soft", 10.0), (Means, "sampled", None), pytest.param(Means, "soft", None, marks=pytest.mark.nightly),
    (Fixed, "sampled", None), pytest.param(Fixed, "soft", 10.0, marks=pytest.mark.nightly),
])  # fmt: skip
def test_a_killed_search_goes_on(
    dataset: Dataset, tmp_path: Path, policy: type[Means], mode: str, weight: float | None
) -> None:
    """From the end of any epoch, bit by bit; with a fixed weight ranges move within them."""
    pressure = Pressure({"macs": 40_000.0}, weight)
    calm = supernet(dataset, policy(), mode=mode, lr=3.0, pressure=pressure)
    calm.epoch(0)
    calm.save(tmp_path / "0.safetensors")
    found = calm.widths()
    told = calm.epoch(1)
    cut = supernet(dataset, policy(), mode=mode, lr=3.0, pressure=pressure)
    cut.restore(tmp_path / "0.safetensors")
    assert cut.widths() == found
    again = cut.epoch(1)
    assert dataclasses.replace(again, seconds={}, peak=0) == dataclasses.replace(told, seconds={}, peak=0)
    assert same(state(calm), state(cut))


def test_a_state_of_other_groups_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    from chanc.training.checkpoint import save_state

    save_state(tmp_path / "x.safetensors", {"widths": {"other": 8}})
    with pytest.raises(RunError, match="made with other channel groups"):
        supernet(dataset).restore(tmp_path / "x.safetensors")


def test_lambda_nothing_leaves_the_loss_alone(dataset: Dataset) -> None:
    """Without pressure the masks go by the task's loss; with a large one all widths fall."""
    free, pressed = supernet(dataset, pressure=Pressure({}, 0.0)), supernet(dataset, pressure=Pressure({}, 100.0))
    free.epoch(0)
    pressed.epoch(0)
    assert all(pressed.widths()[name] < width for name, width in free.widths().items())
    assert all(pressed.widths()[unit.name] < unit.start - 0.2 for unit in pressed.units)


def test_what_was_trained_comes_home(dataset: Dataset) -> None:
    """As the first channels of a model of the input's graph, at any widths."""
    net = supernet(dataset)
    net.epoch(0)
    wide, narrow = (unit.name for unit in net.units)
    key = next(key for key, binding in net.net.built.bindings.items() if binding.initializer == narrow)
    weight = net.net.module.get_parameter(key).detach().clone()
    made = net.narrowed({wide: 6, narrow: 4})
    assert {group.id: group.size for group in analyze(made).groups if group.resizable} == {wide: 6, narrow: 4}
    assert np.array_equal(made.graph.initializers[narrow].const_value.numpy(), weight[:4, :6].numpy())
    assert 0 <= score(trainable(made, TASK), net.data, TASK, OPTIONS) <= 1


def test_tied_groups_share_a_choice(dataset: Dataset) -> None:
    """In their proportions; their cost is that of one width."""
    model = network(inner=16)
    one, two = (unit.name for unit in units_of(model))
    tied = [Unit("both", {one: 1.0, two: 2.0}, 8, 2, 2, 64)]
    net = Supernet(model, TASK.fit(model, dataset), TASK, OPTIONS, MaskOptions(Pressure({}, 0.01)), Means(), tied)
    net.begin(draw=True)
    seen = net.epoch(0)
    assert {name: group.size for name, group in net.masks.groups.items()} == {one: 12, two: 24}
    assert net.widths()[two] == pytest.approx(2 * net.widths()[one])
    by_outcome = sum(weight * analyze(model).cost_at({one: width, two: 2 * width}).macs
                     for width, weight in zip(seen.options["both"], seen.weights["both"], strict=True))  # fmt: skip
    assert seen.costs["macs"] == pytest.approx(by_outcome, rel=1e-5)


def test_what_has_no_mask_is_told(dataset: Dataset) -> None:
    """A tie with a group that can't be masked keeps the others of it too; a network of such groups is refused."""
    graph = Graph(scale=0.7)
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(8, stride=2)
    x = x + blocks.channels_first(blocks.layer_norm(blocks.channels_last(x.conv(6).relu().conv(8))))
    model = graph.ir(x.gap().flatten().gemm(4))
    stream, inner = (unit.name for unit in units_of(model))
    data, masking = TASK.fit(model, dataset), MaskOptions(Pressure({}, 0.01))
    net = Supernet(model, data, TASK, OPTIONS, masking, Means(), units_of(model))
    assert net.fixed == {stream: "masking is no removal there: a normalisation across channels"}
    tied = [Unit("all", {stream: 1.0, inner: 0.75}, 8, 2, 2, 64)]
    with pytest.raises(ModelError, match=f"no channel group can be masked; of {stream}: masking is no removal there"):
        Supernet(model, data, TASK, OPTIONS, masking, Means(), tied)


@pytest.mark.parametrize("wrong", [
    {"optimizer": "adas", "schedule": "constant"}, {"ema_decay": 0.9}, {"compile": True},
])  # fmt: skip
def test_what_does_not_go_with_other_widths(dataset: Dataset, wrong: dict[str, object]) -> None:
    model, options, masking = network(), dataclasses.replace(OPTIONS, **wrong), MaskOptions(Pressure({}, 0.01))
    with pytest.raises(RunError, match="takes sgd or adamw"):
        Supernet(model, TASK.fit(model, dataset), TASK, options, masking, Means(), units_of(model))


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "width"), [("resnet18", 8), ("mobilenetv2", 8), ("densenet-bc", 4), ("darts7", 8)])
def test_whole_networks(zoo_model: Callable[..., Path], dataset: Dataset, name: str, width: int) -> None:
    """Without a price: an epoch trains, ranges move, and the way there and back is bitwise the identity."""
    model = load(zoo_model(name, width=width))
    ten = dataclasses.replace(dataset.limit(40, 8), classes=10, class_names=tuple("abcdefghij"))
    data = TASK.fit(model, ten)
    net = Supernet(model, data, TASK, OPTIONS, MaskOptions(Pressure({}, 0.0)), Means(drift=3.0), units_of(model))
    net.begin(draw=True)
    assert not net.fixed
    net.epoch(0)
    before, widths = state(net), {name: group.size for name, group in net.masks.groups.items()}
    net._resize({name: width + 2 * net.masks.groups[name].step for name, width in widths.items()})
    net._resize(widths)
    assert same(before, state(net))
    seen = net.epoch(1)
    found = {name: round(width / 2) * 2 for name, width in net.widths().items()}
    assert any(seen.high[name] > unit.start + 4 for name, unit in zip(seen.high, net.units, strict=True))
    made = net.narrowed(found)
    assert {group.id: group.size for group in analyze(made).groups if group.resizable} == found


def test_a_loss_that_is_no_number_ends_it(dataset: Dataset) -> None:
    net = supernet(dataset)
    with torch.no_grad():
        next(net.net.module.parameters()).fill_(torch.nan)
    with pytest.raises(TrialError, match="not finite"):
        net.epoch(0)
