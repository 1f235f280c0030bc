from __future__ import annotations

import itertools
import sys

import numpy as np
import onnx_ir as ir
import pytest

from chanc.backends.ort import Latency, Ratio, Runner, in_turn, latency, ratio, runner

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


def two(sizes: tuple[int, int] = (4, 8)) -> list[Runner]:
    return [runner(product(size), batch=3) for size in sizes]


def test_models_run_in_turn_and_every_other_turn_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still but in a run, which takes as many seconds as the matrices are wide."""
    clock, order = [0.0], list[int]()

    def run(session: object, feeds: dict[str, np.ndarray]) -> None:
        order.append(feeds["x"].shape[-1])
        clock[0] += feeds["x"].shape[-1]

    both = two()
    monkeypatch.setattr(sys.modules["chanc.backends.ort.latency"], "run", run)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    told: list[float] = []
    seconds = in_turn(both, repeats=4, warmup=1, on_turn=told.append)
    assert order == [4, 8] + [4, 8, 8, 4] * 2
    assert told == [0.25, 0.5, 0.75, 1.0]
    assert seconds.tolist() == [[4.0] * 4, [8.0] * 4]
    assert ratio(seconds[1], seconds[0]) == Ratio(2.0, 2.0, 2.0, faster=0, turns=4)
    assert in_turn(both, repeats=None, seconds=60).shape == (2, 5), "twelve seconds a turn"
    assert in_turn(both, repeats=None, seconds=1).shape == (2, 3), "three turns at least"
    assert in_turn(both, repeats=2, seconds=60).shape == (2, 2), "what is first reached"


def test_a_ratio_that_chance_would_make_is_not_told() -> None:
    ones = np.ones(100)
    for faster, told in ((50, False), (60, False), (61, True), (39, True), (40, False)):
        other = np.where(np.arange(100) < faster, 0.9, 1.1)
        assert ratio(other, ones).told is told


def test_nothing_says_how_long() -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        in_turn(two(), repeats=None)
