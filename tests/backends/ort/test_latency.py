from __future__ import annotations

import itertools
import sys

import numpy as np
import onnx_ir as ir
import pytest

from chanc.backends.ort import Latency, latency

pytest.importorskip("onnxruntime")


def product(size: int) -> ir.Model:
    """`size` x `size` matrix products of the batch."""
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    g (float[N, {size}, {size}] x) => (float y) {{ y = MatMul (x, x) }}"""
    built: ir.Model = ir.from_onnx_text(text)
    return built


def test_the_figures_are_ordered_and_positive() -> None:
    found = latency(product(8), repeats=20)
    assert isinstance(found, Latency)
    assert 0 < found.p10_s <= found.median_s <= found.p90_s
    assert found.provider == "CPUExecutionProvider"


def test_a_run_takes_what_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of 1, 2, 3, ... seconds an image, of which the first is the warmup."""
    clock, runs = [0.0], itertools.count(1)

    def run(session: object, feeds: dict[str, np.ndarray]) -> None:
        clock[0] += next(runs) * feeds["x"].shape[0]

    monkeypatch.setattr(sys.modules["chanc.backends.ort.latency"], "run", run)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    found = latency(product(4), batch=10, repeats=11, warmup=1)
    assert (found.p10_s, found.median_s, found.p90_s) == (30, 70, 110)


@pytest.mark.parametrize(("repeats", "warmup", "batch"), [(0, 1, 1), (1, -1, 1), (1, 1, 0)])
def test_counts_that_make_no_sense(repeats: int, warmup: int, batch: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        latency(product(8), batch, repeats, warmup)


def test_warmup_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    module = sys.modules["chanc.backends.ort.latency"]
    monkeypatch.setattr(module, "run", lambda session, feeds: calls.append(feeds["x"].shape[0]))
    clock = iter(np.arange(0.0, 100.0))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    assert latency(product(4), batch=3, repeats=4, warmup=2).median_s == 1
    assert calls == [3] * 6
