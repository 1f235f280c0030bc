"""Samples that go through a module in turns: each as alone, and the norms stay as they are."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from chanc.tasks import Distillation  # noqa: E402
from chanc.testing.builders import build  # noqa: E402
from chanc.training.module import trainable  # noqa: E402
from chanc.training.turns import joined, settled  # noqa: E402


def network(batch: str) -> ir.Model:
    """The mean over the first axis goes off: of a batch that is fixed, nobody may open it."""
    body = """
    c = Conv (x, w) n = BatchNormalization (c, scale, shift, mean, var) g = GlobalAveragePool (n) f = Flatten (g)
    m = ReduceMean <axes = [0], keepdims = 1> (f) y = Sub (f, m)
    """
    shapes = {"w": (4, 3, 3, 3), "scale": (4,), "shift": (4,), "mean": (4,), "var": (4,)}
    model: ir.Model = ir.from_proto(build(f"float[{batch},3,5,5] x", "float y", body, shapes))
    return model


def test_two_at_a_time_as_the_model_insists() -> None:
    net, x = trainable(network("2"), Distillation()), torch.randn(5, 3, 5, 5)
    with torch.no_grad():
        found = net.forward({"x": x})["y"]
        pairs = [net.forward({"x": part})["y"] for part in (x[:2], x[2:4], x[[4, 4]])]
    assert net.turns.batch == 2
    assert torch.equal(found, torch.cat(pairs)[:5])
    assert found[4].abs().max() < 1e-6


def test_norms_stay_as_they_are() -> None:
    net = trainable(network("2"), Distillation())
    before = {name: value.clone() for name, value in net.module.state_dict().items()}
    net.module.train()
    net.forward({"x": torch.randn(4, 3, 5, 5)})["y"].square().sum().backward()
    assert net.module.training
    assert all(torch.equal(value, before[name]) for name, value in net.module.state_dict().items())
    with settled(net.module):
        assert not any(part.training for part in net.module.modules() if isinstance(part, torch.nn.BatchNorm2d))
    assert any(part.training for part in net.module.modules() if isinstance(part, torch.nn.BatchNorm2d))


def test_an_open_batch_goes_at_once() -> None:
    net, x = trainable(network("N"), Distillation()), torch.randn(3, 3, 5, 5)
    with torch.no_grad():
        assert np.allclose(net.forward({"x": x})["y"].mean(0), 0, atol=1e-6)


def test_outputs_that_samples_have_no_part_of() -> None:
    one, two = torch.zeros(2, 3), torch.zeros(2, 4)
    assert joined([[one, None], [one, None]], 2, 3)[1] is None
    (found,) = joined([[one], [one]], None, 2)
    assert found is not None
    assert found.shape == (2, 2, 3)
    with pytest.raises(ValueError, match="another size for each sample"):
        joined([[one], [two]], None, 2)
    with pytest.raises(ValueError, match=r"an output is \[2, 3\] for 4 samples at once"):
        joined([[one], [one]], 4, 8)
