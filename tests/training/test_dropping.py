from __future__ import annotations

from dataclasses import replace

import pytest

from chanc.errors import ModelError, RunError

torch = pytest.importorskip("torch")

from chanc.ir import copy_model  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402
from chanc.training.dropping import Dropping, droppable  # noqa: E402
from chanc.training.ema import Ema  # noqa: E402
from chanc.training.module import Trainable, trainable  # noqa: E402
from chanc.training.optimizers import make_optimizer  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402
from chanc.training.train import train  # noqa: E402

_OPTIONS = TrainOptions(epochs=3, batch_size=32, lr=0.05, crop_padding=1, seed=5, device="cpu", ema_decay=0.9,
                        drop_path=0.4, spatial_dropout=0.1)  # fmt: skip


def residual(*, norm: bool = True):
    """Classifies by x + f(x), where f is a convolution and x the image's own channels, twice as many."""
    x = Graph().input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(6, bias=False)
    x = x + (x.conv(6).bn() if norm else x.conv(6))
    return x.graph.ir(x.gap().flatten().gemm(4))


class Sum:
    """The two operands of the sum in `residual(norm=False)`, seen through hooks."""

    def __init__(self, net: Trainable) -> None:
        (path,) = droppable(net)
        self.net = net
        net.module.get_submodule(path).register_forward_hook(self.keep)

    def keep(self, layer, inputs, output) -> None:
        self.identity, self.branch = inputs[0], output


def seen(*, training: bool = True, **rates: float):
    """The branch as it is, [N, C, H, W], and as it is after dropping, over 4,000 images."""
    net = trainable(residual(norm=False), Classification())
    dropping = Dropping(net, **rates)
    dropping.at(1)
    total = Sum(net)
    net.module.train(training)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        net.forward({"image": torch.randn(4000, 3, 2, 2)})
        layer = net.module.get_submodule(droppable(net)[0])
        weight, bias = layer.weight, layer.bias
    return torch.nn.functional.conv2d(total.identity, weight, bias, padding=1), total.branch


def test_drop_path_leaves_out_whole_samples_and_scales_the_others() -> None:
    plain, got = seen(drop_path=0.2)
    kept = got.flatten(1).abs().sum(1) > 0
    torch.testing.assert_close(got[kept], plain[kept] / 0.8)
    assert abs(float(kept.float().mean()) - 0.8) < 4 * (0.8 * 0.2 / 4000) ** 0.5


def test_spatial_dropout_leaves_out_whole_channels_of_samples() -> None:
    plain, got = seen(spatial=0.3)
    kept = got.flatten(2).abs().sum(2) > 0
    torch.testing.assert_close(got[kept], plain[kept] / 0.7)
    assert abs(float(kept.float().mean()) - 0.7) < 4 * (0.7 * 0.3 / kept.numel()) ** 0.5
    assert not torch.equal(kept[0], kept[1]) or not torch.equal(kept[1], kept[2])


@pytest.mark.parametrize("rates", [{"drop_path": 0.0}, {"drop_path": 0.2, "training": False}])
def test_nothing_is_dropped_at_rate_zero_or_in_evaluation(rates: dict[str, float]) -> None:
    plain, got = seen(**rates)
    assert torch.equal(plain, got)


def test_the_rate_rises_and_the_hooks_go() -> None:
    net = trainable(residual(), Classification())
    dropping = Dropping(net, drop_path=0.2)
    assert float(dropping.rate) == 0
    dropping.at(0.75)
    assert float(dropping.rate) == pytest.approx(0.15)
    layer = net.module.get_submodule(droppable(net)[0])
    assert len(layer._forward_hooks) == 1
    dropping.remove()
    assert not layer._forward_hooks


def test_rates_are_no_state_of_the_network() -> None:
    net = trainable(residual(), Classification())
    names, averaged = list(net.module.state_dict()), set(Ema(net.module, 0.9).shadow)
    Dropping(net, drop_path=0.2, spatial=0.1)
    assert list(net.module.state_dict()) == names
    assert set(Ema(net.module, 0.9).shadow) == averaged


@pytest.mark.parametrize("concats", [False, True])
def test_a_model_without_branches_is_refused(concats: bool) -> None:
    x = Graph().input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(4).relu().gap().flatten().gemm(4)
    net = trainable(x.graph.ir(x), Classification())
    Dropping(net)
    with pytest.raises(ModelError, match="no branches for drop-path or spatial dropout: no sum"):
        Dropping(net, drop_path=0.0 if concats else 0.2, spatial=0.2 if concats else 0.0)


class _Stop(Exception):
    pass


def trained(model, dataset, options, **more):
    copy = copy_model(model)
    result = train(copy, dataset, Classification(), options, **more).result
    return result, {name: value.const_value.numpy().tobytes() for name, value in copy.graph.initializers.items()}


def test_a_training_that_drops_goes_on_as_if_undisturbed(dataset, tmp_path) -> None:
    def on_epoch(record, _) -> None:
        if record.epoch == 1:
            raise _Stop

    path, model = tmp_path / "state.safetensors", residual()
    whole = trained(model, dataset, _OPTIONS)
    with pytest.raises(_Stop):
        trained(model, dataset, _OPTIONS, on_epoch=on_epoch, checkpoint=path)
    result, weights = trained(model, dataset, _OPTIONS, checkpoint=path)
    assert result.resumed_from == 1
    assert (result.loss, weights) == (whole[0].loss, whole[1])


def test_drop_path_changes_a_training_from_its_second_epoch_on(dataset) -> None:
    """Its first epoch has rate 0: what it trains to is what a training without it does, but for the masks drawn."""
    model, dropped = residual(), replace(_OPTIONS, spatial_dropout=0.0)
    losses = [
        [record.loss for record in trained(model, dataset, options)[0].history]
        for options in (dropped, replace(dropped, drop_path=0.0))
    ]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


@pytest.mark.nightly
def test_another_rate_is_no_other_program() -> None:
    net = trainable(residual(), Classification())
    dropping = Dropping(net, drop_path=0.4)
    run = torch.compile(net.module.train(), backend="eager")
    images = torch.randn(8, 3, 8, 8)
    run(images)
    with torch.compiler.set_stance("fail_on_recompile"):
        dropping.at(0.5)
        run(images)


def test_nesterov() -> None:
    """The first step of W <- W - lr (g + m v) with v = g is (1 + m) times one without."""
    steps = []
    for nesterov in (False, True):
        layer = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(layer.weight)
        options = TrainOptions(lr=0.1, momentum=0.9, weight_decay=0.0, nesterov=nesterov)
        optimizer = make_optimizer(layer, options)
        layer.weight.grad = torch.ones(1, 1)
        optimizer.step()
        steps.append(layer.weight.item())
    assert steps == pytest.approx([-0.1, -0.19])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"drop_path": 1.0}, "must be below 1"),
        ({"spatial_dropout": 1.0}, "must be below 1"),
        ({"drop_path": -0.1}, "drop_path -0.1 lies outside"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov is a kind of sgd's momentum"),
        ({"nesterov": True, "optimizer": "adamw"}, "nesterov is a kind of sgd's momentum"),
    ],
)
def test_refused_options(given: dict[str, float], says: str) -> None:
    with pytest.raises(RunError, match=says):
        TrainOptions(**given)
