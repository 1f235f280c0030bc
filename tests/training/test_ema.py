from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from chanc.training.ema import Ema  # noqa: E402


def _module() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))


def _fill(module: torch.nn.Module, value: float) -> None:
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.fill_(value)


def test_average_follows_the_recurrence_with_its_warm_up() -> None:
    module = _module()
    _fill(module, 0)
    ema = Ema(module, decay=0.15)
    average = 0.0
    for step, value in enumerate((1.0, 5.0, -2.0)):
        _fill(module, value)
        ema.update()
        decay = min(0.15, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * value
    with ema.applied():
        for name, tensor in module.state_dict().items():
            expected = average if tensor.is_floating_point() else -2
            assert tensor.flatten().tolist() == pytest.approx([expected] * tensor.numel()), name
    assert all((tensor == -2).all() for tensor in module.state_dict().values())


def test_own_weights_come_back_after_an_error() -> None:
    module = _module()
    ema = Ema(module, 0.5)
    _fill(module, 3)
    with pytest.raises(KeyError), ema.applied():
        raise KeyError
    assert all((parameter == 3).all() for parameter in module.parameters())


def test_state_goes_to_another_average_of_the_same_module() -> None:
    module = _module()
    first = Ema(module, 0.5)
    _fill(module, 4)
    first.update()
    second = Ema(_module(), 0.5)
    second.load_state_dict(first.state_dict())
    assert second.updates == 1
    assert all(torch.equal(first.state_dict()["shadow"][k], v) for k, v in second.state_dict()["shadow"].items())
    assert all(a is not b for a, b in zip(first.shadow.values(), second.shadow.values(), strict=True))
