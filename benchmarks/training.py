"""Speed of generated modules beside the hand-written ones that their models were exported from, same weights.

    python benchmarks/training.py [--networks resnet34 darts7 mobilenetv2 efficientnet-b0] [--batch 8] [--rounds 15]
                                  [--seconds 0.3] [--threads 1] [--device cpu] [--output benchmarks/results/training.md]

Every round times the twin, the generated module and a second copy of the twin in turn, in another order each time, each
newly copied. The second copy is the control: its ratio to the twin would be 1 on a quiet machine. On the CPU the clock
is the process' own time, so that other processes count as little as may be; on CUDA it is the wall clock around
synchronised steps. Before anything is timed, outputs and the loss of a training step must agree.
"""

from __future__ import annotations

import argparse
import copy
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
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
WIDTHS: dict[str, int | None] = {"resnet34": 16, "darts7": None, "mobilenetv2": None, "efficientnet-b0": None}
SIDES = ("twin", "generated", "control")
Step = Callable[[], object]
Batch = tuple[torch.Tensor, torch.Tensor]
Make = Callable[[nn.Module, torch.Tensor, torch.Tensor], Step]


@dataclass(frozen=True)
class Timing:
    """Seconds a step by side, a number a round."""

    network: str
    mode: str
    seconds: dict[str, list[float]]

    def median(self, side: str) -> float:
        """Milliseconds a step."""
        return 1e3 * statistics.median(self.seconds[side])

    def ratios(self, side: str) -> list[float]:
        """Time of a side over that of the twin, round by round."""
        return [own / twin for own, twin in zip(self.seconds[side], self.seconds["twin"], strict=True)]

    def best(self, side: str) -> float:
        """The ratio of the fastest rounds: what is least disturbed."""
        return min(self.seconds[side]) / min(self.seconds["twin"])


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
    """Seconds, of this process on the CPU, of the wall on CUDA."""
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
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
    timed(first["twin"], 2, device)
    count = max(1, round(options.seconds / timed(first["twin"], 2, device)))
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(options.rounds):
        turn = SIDES[number % 3 :] + SIDES[: number % 3]
        for side in turn if number % 2 else reversed(turn):
            step = make(copy.deepcopy(sides[side]), *batch)
            timed(step, 2, device)
            found[side].append(timed(step, count, device))
    return found


def benchmark(name: str, options: argparse.Namespace) -> list[Timing]:
    """Both modes of one network."""
    device = torch.device(options.device)
    sides = modules(name, device, WIDTHS.get(name))
    images = torch.randn(options.batch, 3, 32, 32, device=device)
    labels = torch.randint(0, 10, (options.batch,), device=device)
    return [Timing(name, mode, measure(sides, make, (images, labels), options)) for mode, make in MODES.items()]


def report(timings: list[Timing], options: argparse.Namespace) -> str:
    """The page: medians and ratios."""
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    lines = [
        "# Generated and hand-written modules",
        "",
        f"{device}, torch {torch.__version__}, float32, images [{options.batch}, 3, 32, 32], {options.rounds} rounds.",
        "Hand-written: the zoo's network (ResNet34 at width 16, the others at their published widths); generated: the",
        "module made from its ONNX export, same weights. A ratio is time of the generated / time of the hand-written,",
        "the median over the rounds and that of the fastest rounds. The control is a second copy of the hand-written",
        "module, timed likewise: how far its ratio is from 1 says how much the machine disturbed the run. The C",
        "library was told to keep freed memory; page faults differ from run to run otherwise.",
        "",
        f"Command: `python {shlex.join(sys.argv)}`",
        "",
        "| network | | hand-written, ms | generated, ms | ratio, median | fastest | control, median | fastest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for t in timings:
        ratios = [
            f"{value:.3f}"
            for side in SIDES[1:]
            for value in (statistics.median(t.ratios(side)), t.best(side))
        ]  # fmt: skip
        cells = [t.network, t.mode, f"{t.median('twin'):.2f}", f"{t.median('generated'):.2f}", *ratios]
        lines.append(f"| {' | '.join(cells)} |")
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
    parser.add_argument("--rounds", type=at_least(1), default=15)
    parser.add_argument("--seconds", type=at_least(0.0), default=0.3)
    parser.add_argument("--threads", type=at_least(1), default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=target)
    options = parser.parse_args()
    keep_memory()
    torch.set_num_threads(options.threads)
    timings = []
    for name in options.networks:
        timings += benchmark(name, options)
        print(report(timings[-len(MODES) :], options).splitlines()[-2:], file=sys.stderr, flush=True)
    text = report(timings, options)
    print(text)
    if options.output:
        atomic_write_text(options.output, text)


if __name__ == "__main__":
    main()
