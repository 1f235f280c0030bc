from __future__ import annotations

import copy
import json

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from chanc.errors import TrialError  # noqa: E402
from chanc.metrics.quality import layer_quality  # noqa: E402
from chanc.training.adas import CLASSIFIER, AdaS, parameter_layers  # noqa: E402

S_IN = [(0.1, 0.2), (0.14, 0.18), (0.2, 0.3), (0.21, 0.25)]
S_OUT = [(0.2, 0.1), (0.22, 0.16), (0.2, 0.1), (0.25, 0.12)]
ETA = [(0.03, 0.03), (0.054, 0.044), (0.0632, 0.0652), (0.08056, 0.03716)]
CLASSIFIER_ETA = [0.03, 0.084, 0.0072, 0.02576]


def network(width: int = 6, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


def golden(epoch: int) -> dict[str, tuple[float, float]]:
    return {
        "0.weight": (S_IN[epoch][0], S_OUT[epoch][0]),
        "3.weight": (S_IN[epoch][1], S_OUT[epoch][1]),
    }


def rates(optimizer: AdaS) -> dict[str, float]:
    return {group["name"]: group["lr"] for group in optimizer.param_groups}


def train(module: nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int = 1) -> None:
    generator = torch.Generator().manual_seed(seed)
    module.train()
    for _ in range(steps):
        images = torch.randn(8, 3, 9, 9, generator=generator)
        labels = torch.randint(0, 4, (8,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images), labels).backward()
        optimizer.step()


def test_published_learning_rates() -> None:
    optimizer = AdaS(network())
    assert rates(optimizer) == {"0.weight": 0.03, "3.weight": 0.03, CLASSIFIER: 0.03}
    for epoch in range(4):
        optimizer.step_epoch(golden(epoch))
        found = rates(optimizer)
        assert (found["0.weight"], found["3.weight"]) == pytest.approx(ETA[epoch], rel=1e-9)
        assert found[CLASSIFIER] == pytest.approx(CLASSIFIER_ETA[epoch], rel=1e-9)


def test_a_falling_gain_never_makes_a_rate_negative() -> None:
    optimizer = AdaS(network())
    optimizer.step_epoch({"0.weight": (0.9, 0.9), "3.weight": (0.9, 0.9)})
    optimizer.step_epoch({"0.weight": (0.1, 0.1), "3.weight": (0.9, 0.9)})
    assert rates(optimizer)["0.weight"] == 1e-20
    assert rates(optimizer)["3.weight"] == pytest.approx(0.024)


def test_one_rate_for_all_is_torchs_sgd() -> None:
    ours, theirs = network(), network()
    train(ours, AdaS(ours, lr=0.05, momentum=0.9, weight_decay=5e-4), 6)
    train(theirs, torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4), 6)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_each_layer_moves_at_its_own_rate() -> None:
    module = network()
    before = copy.deepcopy(module.state_dict())
    optimizer = AdaS(module, momentum=0.0, weight_decay=0.0)
    optimizer.step_epoch(golden(0))
    optimizer.step_epoch(golden(1))
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = {name: float((before[name] - p).detach().mean()) for name, p in module.named_parameters()}
    assert moved["0.weight"] == pytest.approx(0.054, rel=1e-5)
    assert moved["1.weight"] == pytest.approx(0.054, rel=1e-5)
    assert moved["1.bias"] == pytest.approx(0.054, rel=1e-5)
    assert moved["4.bias"] == pytest.approx(0.044, rel=1e-5)
    assert moved["7.weight"] == pytest.approx(0.084, rel=1e-5)


def test_without_metrics_it_measures_its_own_weights() -> None:
    module = network()
    optimizer = AdaS(module)
    optimizer.step_epoch()
    with torch.no_grad():
        module[0].weight += 0.8 * torch.randn(6, 1, 1, 1) * torch.randn(1, 3, 3, 3)
    optimizer.step_epoch()
    found = layer_quality(module[0].weight)
    assert found.in_gain + found.out_gain > 0
    assert rates(optimizer)["0.weight"] == pytest.approx(0.024 + (found.in_gain + found.out_gain) / 2, rel=1e-6)
    with torch.no_grad():
        module[3].weight[0] = float("nan")
    with pytest.raises(TrialError, match=r"^3\.weight"):
        optimizer.step_epoch()


def test_a_layer_without_a_measurement_is_named() -> None:
    with pytest.raises(ValueError, match=r"3\.weight"):
        AdaS(network()).step_epoch({"0.weight": (0.1, 0.1)})


def test_resumed_training_is_the_undisturbed_one(tmp_path) -> None:
    whole = network()
    optimizer = AdaS(whole)
    train(whole, optimizer, 3)
    optimizer.step_epoch(golden(0))
    optimizer.step_epoch(golden(1))
    torch.save({"module": whole.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    train(whole, optimizer, 3, seed=2)
    optimizer.step_epoch(golden(2))

    again = network(seed=9)
    resumed = AdaS(again, lr=0.5)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    again.load_state_dict(state["module"])
    resumed.load_state_dict(state["optimizer"])
    train(again, resumed, 3, seed=2)
    resumed.step_epoch(golden(2))
    assert rates(resumed) == rates(optimizer)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_rates_carry_over_to_other_widths() -> None:
    first = AdaS(network(6))
    first.step_epoch(golden(0))
    first.step_epoch(golden(1))
    second = AdaS(network(10))
    second.carry_over(first.state_dict()["adas"])
    assert rates(second) == rates(first)
    assert not second.state
    second.step_epoch(golden(2))
    assert rates(second)["0.weight"] == pytest.approx(0.0632)
    assert json.loads(json.dumps(second.state_dict()["adas"])) == second.state_dict()["adas"]


def test_layers_that_the_other_trial_did_not_have_start_afresh() -> None:
    state = {"adas": {"eta": {"0.weight": 0.2, "gone.weight": 0.7}, "gain": {"0.weight": 0.3, "gone.weight": 0.1}}}
    optimizer = AdaS(network())
    optimizer.carry_over(state["adas"])
    assert rates(optimizer) == {"0.weight": 0.2, "3.weight": 0.03, CLASSIFIER: 0.03}
    optimizer.step_epoch(golden(1))
    assert rates(optimizer)["0.weight"] == pytest.approx(0.16 + 0.18 - 0.3)
    assert rates(optimizer)["3.weight"] == 0.03


def names(module: nn.Module) -> dict[str, list[str]]:
    known = {id(p): name for name, p in module.named_parameters()}
    return {layer: [known[id(p)] for p in found] for layer, found in parameter_layers(module).items()}


def test_depthwise_convolutions_go_with_the_pointwise_one() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 8, 1),
        nn.PReLU(8),
        nn.Flatten(),
        nn.Linear(8, 8),
        nn.Linear(8, 2),
    )
    assert names(module) == {
        "0.weight": ["0.weight", "0.bias", "1.weight", "1.bias"],
        "4.weight": ["2.weight", "2.bias", "3.weight", "3.bias", "4.weight", "4.bias", "5.weight"],
        CLASSIFIER: ["7.weight", "7.bias", "8.weight", "8.bias"],
    }


def test_every_parameter_has_one_rate() -> None:
    shared = nn.Conv2d(4, 4, 3)
    module = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), shared, nn.Linear(2, 2), shared, nn.Conv2d(4, 4, 1))
    listed = [id(p) for found in parameter_layers(module).values() for p in found]
    assert sorted(listed) == sorted(id(p) for p in module.parameters())
    assert names(module)["1.weight"][:2] == ["0.weight", "0.bias"]
    assert names(module)["2.weight"][2:] == ["3.weight", "3.bias"]


def test_a_module_without_convolutions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one convolution"):
        AdaS(nn.Linear(3, 3))
