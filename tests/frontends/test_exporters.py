from __future__ import annotations

import logging
import warnings

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from chanc.errors import ModelError  # noqa: E402
from chanc.frontends.exporters import EXPORTERS, Request, torchscript  # noqa: E402


def _request(module: nn.Module) -> Request:
    return Request(module.eval(), (torch.randn(2, 3, 4, 4),), ("input",), ("output",), True, None)


@pytest.mark.parametrize("exporter", sorted(EXPORTERS))
def test_no_warnings_or_log_lines(exporter, caplog, capfd):
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        EXPORTERS[exporter](_request(nn.Conv2d(3, 4, 1)))
    assert not caplog.records
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_torch_is_left_as_it_was_after_a_failure():
    class Broken(nn.Module):
        def forward(self, x):
            return torch.linalg.eigvals(x.mean((0, 1))).real

    merge, filters = torch._C._jit_pass_cse, list(warnings.filters)
    with pytest.raises(ModelError, match="the TorchScript exporter failed: UnsupportedOperatorError") as caught:
        torchscript(_request(Broken()))
    assert "\n" not in str(caught.value)
    assert torch._C._jit_pass_cse is merge
    assert warnings.filters == filters
