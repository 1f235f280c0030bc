"""Strided pointwise convolutions of few channels: their gradients on a CPU with several threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from chanc.backends.torch import build  # noqa: E402
from chanc.backends.torch.pointwise import Subsampled  # noqa: E402
from chanc.testing import builders  # noqa: E402


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def network(channels: int, attributes: str) -> torch.nn.Module:
    """A 1x1 convolution to 12 channels with a bias."""
    body = f"y = Conv <kernel_shape = [1, 1], {attributes}> (x, w, b)"
    model = builders.build(f"float[N,{channels},16,16] x", "float y", body, {"w": (12, channels, 1, 1), "b": (12,)})
    return build(model).module.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("channels", [3, 12, 16])
def test_gradients_of_channels_last_batches(channels: int, two_threads: None) -> None:
    module = network(channels, "strides = [2, 2]")
    for batch in (3, 5, 13, 31):
        x = torch.randn(batch, channels, 16, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
        module.zero_grad()
        y = module(x)
        slope = torch.randn_like(y)
        y.backward(slope)
        pixels = x.detach()[:, :, ::2, ::2].double()
        weight, bias = dict(module.named_parameters()).values()
        expected = torch.einsum("nohw,nihw->oi", slope.double(), pixels)
        assert torch.allclose(weight.grad[:, :, 0, 0].double(), expected, atol=1e-4, rtol=0)
        spread = torch.einsum("nohw,oi->nihw", slope.double(), weight.detach()[:, :, 0, 0].double())
        assert torch.allclose(x.grad[:, :, ::2, ::2].double(), spread, atol=1e-4, rtol=0)
        assert x.grad[:, :, 1::2].abs().max() == 0
        value = torch.einsum("nihw,oi->nohw", pixels, weight.detach()[:, :, 0, 0].double())
        assert torch.allclose(y.double(), value + bias[:, None, None].double(), atol=1e-5, rtol=0)


def test_only_what_needs_it_is_guarded() -> None:
    guarded = {
        text: isinstance(next(iter(network(4, text).children())), Subsampled)
        for text in ("strides = [2, 2]", "strides = [1, 1]", "strides = [2, 2], pads = [1, 1, 1, 1]")
    }
    assert list(guarded.values()) == [True, False, False]
