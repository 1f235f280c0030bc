"""What the evidence of a pruning costs, beside the training steps on as many batches: same network, images, task.

    python benchmarks/evidence.py [--networks resnet18 mobilenetv2] [--batches 4] [--rounds 5]
                                  [--output benchmarks/results/evidence.md]

A round times both in turn, every other round backwards, with one thread; the clock is the process' own time, so that
others count as little as may be. Evidence is `chanc.training.evidence.gather` as `chanc prune` calls it; what it takes
before its first batch (a module is made of the graph, run once, and analysed) is told apart, and counts in the last
column, for the 16 batches that `chanc prune` looks at.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from arguments import at_least, target

from chanc.clock import Clock
from chanc.data import Samples
from chanc.frontends import zoo
from chanc.frontends.torch import export
from chanc.ir import atomic_write_text, load
from chanc.tasks import TASKS, Task
from chanc.training.evidence import BATCH, BATCHES, gather
from chanc.training.lessons import teacher_of
from chanc.training.module import trainable
from chanc.training.options import TrainOptions
from chanc.training.trainer import Training

WIDTHS: dict[str, int | None] = {"resnet18": 32, "mobilenetv2": None}
"""The zoo's networks for 32 x 32 pixels, and the width of all layers where it isn't the published one."""
KINDS = (("classification", False), ("classification", True), ("distillation", False))
"""Tasks, and whether the sizes of activations are looked at, too."""


@dataclass(frozen=True)
class Costs:
    """Seconds: of all steps and of the evidence, a number a round, and of what comes before the first batch."""

    network: str
    kind: str
    batches: int
    steps: list[float]
    evidence: list[float]
    before: float

    @property
    def step(self) -> float:
        return statistics.median(self.steps) / self.batches

    @property
    def batch(self) -> float:
        return (statistics.median(self.evidence) - self.before) / self.batches

    @property
    def ratios(self) -> list[float]:
        """Of a batch to a step, round by round."""
        return [(own - self.before) / step for own, step in zip(self.evidence, self.steps, strict=True)]

    @property
    def whole(self) -> float:
        """All that evidence of the usual number of batches takes, in units of as many steps."""
        return statistics.median(self.ratios) + self.before / (BATCHES * self.step)


def network(name: str, width: int | None) -> ir.Model:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(zoo.build(name, width=width), torch.zeros(2, 3, 32, 32), path)
        return load(path)


def samples(model: ir.Model, count: int) -> Samples:
    """Random images, with labels for what wants them."""
    rng = np.random.default_rng(0)
    name = model.graph.inputs[0].name or ""
    parts = [{name: rng.standard_normal((n, 3, 32, 32)).astype(np.float32)} for n in (count, 8)]
    labels = [rng.integers(0, 10, n) for n in (count, 8)]
    labels[0][0] = 9
    return Samples("random", parts[0], parts[1], *labels)


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def training(model: ir.Model, data: Samples, task: Task) -> Callable[[], object]:
    """An epoch of steps on all the data, each time of the same training."""
    options, device = TrainOptions(batch_size=BATCH, optimizer="adamw", lr=1e-4, device="cpu"), torch.device("cpu")
    net = trainable(model, task)
    taught = teacher_of(model, net, data, task) if task.wants_teacher else None
    made = Training(net, data, task, options, device, teacher=taught, clock=Clock())
    return lambda: made.train_epoch(0, None)


def measure(name: str, model: ir.Model, kind: tuple[str, bool], batches: int, rounds: int) -> Costs:
    """Both sides in turn, after one of each that doesn't count."""
    data, (word, active) = samples(model, batches * BATCH), kind
    task = TASKS[word]()
    steps = training(model, data, task)

    def evidence(count: int = batches, size: int = BATCH) -> object:
        return gather(model, data, task, device="cpu", batches=count, batch_size=size, activations=active)

    sides: dict[str, list[float]] = {"steps": [], "evidence": [], "before": []}
    calls = {"steps": steps, "evidence": evidence, "before": lambda: evidence(1, 1)}
    for number in range(-1, rounds):
        for side in list(calls)[:: 1 if number % 2 else -1]:
            found = timed(calls[side])
            if number >= 0:
                sides[side].append(found)
    label = f"{word}, activations too" if active else word
    return Costs(name, label, batches, sides["steps"], sides["evidence"], statistics.median(sides["before"]))


def report(rows: list[Costs], options: argparse.Namespace) -> str:
    """The page."""
    lines = [
        "# What evidence costs", "",
        f"`python {shlex.join(sys.argv)}`", "",
        f"CPU, one thread, torch {torch.__version__}, random images [{BATCH}, 3, 32, 32], {options.batches} batches in "
        f"each of {options.rounds}", "rounds. Milliseconds of CPU time, medians. A step is one of training with AdamW. "
        "Whole: with what comes before the", f"first batch, for {BATCHES} batches.", "",
        "| network | task | a step, ms | a batch of evidence, ms | ratio, median | least | most | before, ms | whole |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        cells = [f"{1e3 * row.step:.0f}", f"{1e3 * row.batch:.0f}",
                 *(f"{value:.2f}" for value in (statistics.median(row.ratios), min(row.ratios), max(row.ratios))),
                 f"{1e3 * row.before:.0f}", f"{row.whole:.2f}"]  # fmt: skip
        lines.append(f"| {row.network} | {row.kind} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(WIDTHS), choices=zoo.names(), metavar="NAME")
    parser.add_argument("--batches", type=at_least(1), default=4)
    parser.add_argument("--rounds", type=at_least(1), default=5)
    parser.add_argument("--output", type=target)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in options.networks:
        model = network(name, WIDTHS.get(name))
        for kind in KINDS:
            rows.append(measure(name, model, kind, options.batches, options.rounds))
            print(rows[-1], file=sys.stderr, flush=True)
    text = report(rows, options)
    print(text)
    if options.output:
        atomic_write_text(options.output, text)


if __name__ == "__main__":
    main()
