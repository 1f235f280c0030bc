"""Speed of generated modules beside the hand-written ones that their models were exported from, same weights.

    python benchmarks/training.py [--networks resnet34 darts7 ...] [--batch 8] [--rounds 12] [--seconds 0.1]
                                  [--threads 1 2] [--device cpu] [--output benchmarks/results/training.md]

Every round times the twin, the generated module and a second copy of the twin in turn, in another order each time, each
newly copied. The second copy is the control: its speed beside the twin's would be 1 on a quiet machine. With one thread
on the CPU the clock is the process' own time, so that other processes count as little as may be; with more of them the
process' time would count their waiting too, and on CUDA it would count nothing: there it is the wall clock (around
synchronised steps). Before anything is timed, outputs and the loss of a training step must agree.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from arguments import at_least, target
from torch import nn

from chanc.analysis.infer_shapes import infer_shapes
from chanc.backends.torch import build
from chanc.frontends import zoo
from chanc.frontends.torch import export
from chanc.ir import atomic_write_text, load
from chanc.ir.normalize import normalize

# network: its width, where it is not the published one
WIDTHS: dict[str, int | None] = {
    "resnet34": 16, "darts7": None, "mobilenetv2": None, "efficientnet-b0": None, "mobilenetv3-large": None,
    "shufflenetv2": None, "densenet-bc": 12, "googlenet": 32,
}  # fmt: skip
SIDES = ("twin", "generated", "control")
Step = Callable[[], object]
Batch = tuple[torch.Tensor, torch.Tensor]
Make = Callable[[nn.Module, torch.Tensor, torch.Tensor], Step]


@dataclass(frozen=True)
class Timing:
    """Seconds a step by side, a number a round."""

    network: str
    mode: str
    threads: int
    seconds: dict[str, list[float]]

    def median(self, side: str) -> float:
        """Milliseconds a step."""
        return 1e3 * statistics.median(self.seconds[side])

    def speeds(self, side: str) -> list[float]:
        """Time of the twin over that of a side, round by round."""
        return [twin / own for own, twin in zip(self.seconds[side], self.seconds["twin"], strict=True)]

    def best(self, side: str) -> float:
        """The speed in the fastest rounds: what is least disturbed."""
        return min(self.seconds["twin"]) / min(self.seconds[side])


def modules(name: str, device: torch.device, width: int | None) -> dict[str, nn.Module]:
    """The twin (all widths equal, or the published ones), the module generated from its export, and the control."""
    torch.manual_seed(0)
    twin = zoo.build(name, width=width)
    for part in twin.modules():
        if isinstance(part, nn.Dropout):  # an exporter leaves it out of an eval graph
            part.p = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "twin.onnx"
        export(twin, torch.zeros(2, 3, 32, 32), path)
        model = load(path)
        normalize(model)
        infer_shapes(model)
        generated = build(model).module
    generated.load_state_dict(twin.state_dict())
    found = {"twin": twin, "generated": generated, "control": copy.deepcopy(twin)}
    return {side: module.to(device) for side, module in found.items()}


def training(module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Step:
    """One step of SGD with momentum; returns the loss."""
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9)
    module.train()

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(module(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def inference(module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Step:
    """One batch through the module; returns the logits."""
    module.eval()

    @torch.inference_mode()
    def step() -> torch.Tensor:
        return module(images)

    return step


MODES = {"inference": inference, "training step": training}


def clock(device: torch.device) -> float:
    """Seconds: of this process with one thread on the CPU, else on the wall."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def timed(step: Step, count: int, device: torch.device) -> float:
    """Seconds a step."""
    begun = clock(device)
    for _ in range(count):
        step()
    return (clock(device) - begun) / count


def measure(
    sides: dict[str, nn.Module], make: Make, batch: Batch, options: argparse.Namespace
) -> dict[str, list[float]]:
    """Seconds a step by side: every round times fresh copies in turn, since where weights lie in memory counts too."""
    device = batch[0].device
    first = {side: make(copy.deepcopy(module), *batch) for side, module in sides.items()}
    answers = {side: step() for side, step in first.items()}
    for side in SIDES[1:]:
        torch.testing.assert_close(answers[side], answers["twin"], rtol=1e-4, atol=1e-4)
    count = max(1, round(options.seconds / timed(first["twin"], 2, device)))
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(options.rounds):
        turn = SIDES[number % 3 :] + SIDES[: number % 3]
        for side in turn if number % 2 else reversed(turn):
            step = make(copy.deepcopy(sides[side]), *batch)
            timed(step, 1, device)
            found[side].append(timed(step, count, device))
    return found


def benchmark(name: str, options: argparse.Namespace) -> Iterator[Timing]:
    """Both modes of one network, with each number of threads."""
    device = torch.device(options.device)
    sides = modules(name, device, WIDTHS.get(name))
    images = torch.randn(options.batch, 3, 32, 32, device=device)
    labels = torch.randint(0, 10, (options.batch,), device=device)
    for threads, mode in itertools.product(options.threads, MODES):
        torch.set_num_threads(threads)
        yield Timing(name, mode, threads, measure(sides, MODES[mode], (images, labels), options))


def row(timing: Timing) -> str:
    """A row of the table."""
    speeds = [timing.speeds(side) for side in SIDES[1:]]
    cells = [
        timing.network, timing.mode, str(timing.threads), f"{timing.median('twin'):.2f}",
        f"{timing.median('generated'):.2f}", *(f"{statistics.median(found):.3f}" for found in speeds),
        *(f"{timing.best(side):.3f}" for side in SIDES[1:]),
        *("–".join(f"{found:.2f}" for found in quartiles(found)) for found in speeds),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def quartiles(values: list[float]) -> tuple[float, float]:
    """The lower and the upper one."""
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive") if values[1:] else values * 3
    return lower, upper


def narrow() -> str:
    """The networks that have another width than the published ones."""
    return ", ".join(f"{name} at width {width}" for name, width in WIDTHS.items() if width is not None)


def report(timings: list[Timing], options: argparse.Namespace) -> str:
    """The page: medians and speeds."""
    device = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    lines = [
        "# Generated and hand-written modules",
        "",
        f"{device}, torch {torch.__version__}, float32, images [{options.batch}, 3, 32, 32], {options.rounds} rounds.",
        f"Hand-written: the zoo's network ({narrow()}; the others at their published widths); generated: the",
        "module made from its ONNX export, same weights. A speed is time of the hand-written / time of the generated:",
        "the median over the rounds, that of the fastest rounds, and the quartiles of the rounds. The control is a",
        "second copy of the hand-written module, timed likewise: how far its speed is from 1 says how much the machine",
        "disturbed the run. Times are of the process with one thread, on the wall with more. The C library was told to",
        "keep freed memory; page faults differ from run to run otherwise.",
        "",
        f"Command: `python {shlex.join(sys.argv)}`",
        "",
        "| network | | threads | hand-written, ms | generated, ms | speed, median | control | speed, fastest | control "
        "| speed, quartiles | control |",
        "|" + "---|" * 11,
        *map(row, timings),
    ]
    return "\n".join(lines) + "\n"


def keep_memory() -> None:
    """Start again with a C library that keeps what is freed.

    By default glibc gives memory back and faults it in again, by how much depends on the order of allocations: for
    ResNet34's inference that was up to 1,800 page faults a step, a third of its time, and hid everything else.
    """
    wanted = {"MALLOC_TRIM_THRESHOLD_": str(1 << 32), "MALLOC_MMAP_THRESHOLD_": str(1 << 32)}
    if not wanted.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(WIDTHS), choices=zoo.names(), metavar="NAME")
    parser.add_argument("--batch", type=at_least(2), default=8)
    parser.add_argument("--rounds", type=at_least(1), default=12)
    parser.add_argument("--seconds", type=at_least(0.0), default=0.1)
    parser.add_argument("--threads", type=at_least(1), nargs="+", default=[1, 2])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=target)
    options = parser.parse_args()
    keep_memory()
    timings = []
    for name in options.networks:
        for timing in benchmark(name, options):
            timings.append(timing)
            print(row(timing), file=sys.stderr, flush=True)
    text = report(timings, options)
    print(text)
    if options.output:
        atomic_write_text(options.output, text)


if __name__ == "__main__":
    main()
