from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread():
    """Small networks on shared cores: threads that wait for one another take longer than one alone."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
