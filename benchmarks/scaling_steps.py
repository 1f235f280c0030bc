"""CPU seconds of each step for one model: the rewrite, its source and module in PyTorch, its verification."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import onnx_ir as ir

import chanc
from chanc.analysis.infer_shapes import infer_shapes
from chanc.backends.ort.run import onnxruntime
from chanc.backends.torch.build import Source, emit, fill, state_dict
from chanc.backends.torch.build import load as construct
from chanc.ir import copy_model
from chanc.ir.normalize import normalize
from chanc.oracles import judge

T = TypeVar("T")


@dataclass(frozen=True)
class Steps:
    """Seconds: of a rewrite to half the widths; of emitting source; of a module from it, and how much of that PyTorch's
    own constructors take; of the verification, and how much of that onnxruntime's sessions take, and their runs."""

    rewrite: float
    source: float
    module: float
    constructors: float
    verification: float
    sessions: float
    runs: float
    verdict: str

    def columns(self, nodes: int) -> list[str]:
        """Microseconds a node; nothing of a verification that wasn't made."""
        rest = self.verification - self.sessions - self.runs
        check = (self.verification, rest, self.sessions, self.runs) if self.verdict else ()
        seconds = (self.rewrite, self.source, self.module, self.constructors, *check)
        return [*(f"{value / nodes * 1e6:.0f}" for value in seconds), *[""] * (8 - len(seconds))]


def timed(function: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of a call, and what it gives; what an earlier one left behind isn't collected at its cost."""
    gc.collect()
    start = time.process_time()
    found = function()
    return time.process_time() - start, found


def steps(model: ir.Model, verify: bool) -> Steps:
    """Each step once, the verification if asked for, on a loaded model in its normal form, which stays as it is."""
    rewrite, done = timed(lambda: chanc.rewrite(model, scale=0.5))
    source, emitted = timed(lambda: _source(model))
    constructors, module = timed(lambda: construct(emitted))
    weights, _ = timed(lambda: fill(module, state_dict(emitted, model)))
    with _clocked() as spent:
        check = (lambda: str(judge(model, done.model, trace=done.trace))) if verify else str
        verification, verdict = timed(check)
    return Steps(rewrite, source, constructors + weights, constructors, verification, *spent, verdict)


def _source(model: ir.Model) -> Source:
    copy = copy_model(model)
    normalize(copy)
    infer_shapes(copy)
    return emit(copy)


@contextmanager
def _clocked() -> Iterator[list[float]]:
    """CPU seconds of all sessions that onnxruntime opens while it lasts, and of all runs."""
    runtime, spent = onnxruntime(), [0.0, 0.0]
    plain = runtime.InferenceSession

    class Clocked(plain):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            start = time.process_time()
            plain.__init__(self, *args, **options)
            spent[0] += time.process_time() - start

        def run(self, *args: Any, **options: Any) -> Any:
            start = time.process_time()
            found = plain.run(self, *args, **options)
            spent[1] += time.process_time() - start
            return found

    runtime.InferenceSession = Clocked
    try:
        yield spent
    finally:
        runtime.InferenceSession = plain
