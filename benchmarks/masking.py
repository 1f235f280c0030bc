"""What masks cost: a step of the same supernet plain, with its weights masked, and of its masks; and a re-centring.

    python benchmarks/masking.py [--network resnet18] [--width 64] [--side 32] [--batch 96] [--steps 30] [--device auto]
                                 [--images 45000] [--output benchmarks/results/masking.md]

Steps are done in turn, so that what else the machine does falls on all of them alike; figures are medians, a ratio is
that of each turn, and on a CPU its own seconds count. A re-centring moves every range by a step, there and back; its
share is of an epoch of --images.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from arguments import at_least, target

from chanc.analysis import analyze
from chanc.data.dataset import make as make_data
from chanc.frontends import zoo
from chanc.frontends.torch import export
from chanc.ir import atomic_write_text, load
from chanc.study.methods.registry import make
from chanc.study.parts import space_of
from chanc.tasks import Classification
from chanc.training.expected import Pressure
from chanc.training.masking import MaskOptions
from chanc.training.options import TrainOptions
from chanc.training.supernet import Supernet
from chanc.training.trainer import descend

TASK = Classification()
KINDS = ("plain", "weights masked", "masks")


def supernet(options: argparse.Namespace) -> Supernet:
    """FlexCHarts' supernet of the network, on images of noise."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(zoo.build(options.network, width=options.width), torch.zeros(2, 3, options.side, options.side), path)
        model = load(path)
    images = np.random.default_rng(0).integers(0, 256, (4 * options.batch, 3, options.side, options.side), np.uint8)
    part = images, np.arange(len(images), dtype=np.int64) % 10
    data, method = TASK.fit(model, make_data("noise", part, part)), make("flexcharts", pace="channels")
    train = TrainOptions(epochs=50, batch_size=options.batch, lr=0.025, schedule="cosine", clip_norm=5.0,
                         device=options.device)  # fmt: skip
    net = Supernet(model, data, TASK, train, MaskOptions(Pressure({}, 0.01)), method,
                   method.units(space_of(analyze(model, fold=False))))  # fmt: skip
    net.begin(draw=True)
    net.fit()
    return net


def timed(net: Supernet, work: Callable[[], object]) -> float:
    """Seconds of some work, until the device has done it; on a CPU only those in which this process ran."""
    cuda = net.device.type == "cuda"
    clock, wait = (time.perf_counter, torch.cuda.synchronize) if cuda else (time.process_time, lambda: None)
    wait()
    begun = clock()
    work()
    wait()
    return clock() - begun


def steps(net: Supernet, count: int) -> list[tuple[float, ...]]:
    """Seconds of a step of each kind, turn by turn; the first turns don't count."""
    batch, masked = next(iter(net.streams.weights)), net.masked()
    net.streams.generator.manual_seed(0)
    net.noise.manual_seed(0)
    net.net.module.train()

    def plain() -> None:
        net.optimizer.zero_grad()
        descend(net.loss(net.net, batch), net.net.module, net.optimizer, net.options.clip_norm)

    kinds = (
        plain,
        lambda: net.weights_step(masked, batch),
        lambda: net.masks_step(masked, batch),
    )
    return [tuple(timed(net, kind) for kind in kinds) for _ in range(count + 3)][3:]


def moves(net: Supernet, times: int = 4) -> list[float]:
    """Seconds of re-centrings, every range one step up and down again."""
    found = []
    for turn in range(times):
        shift = 1 if turn % 2 == 0 else -1
        with torch.no_grad():
            for number, unit in enumerate(net.units):
                net.choices.parameter[number] += shift * unit.step
        net.policy.advance(net.choices, net.units, 0, net.options.epochs)
        found.append(timed(net, net.fit))
    return found


def place(net: Supernet) -> str:
    """Where it ran."""
    if net.device.type == "cuda":
        return torch.cuda.get_device_name(net.device)
    return f"CPU, {torch.get_num_threads()} thread(s)"


def report(options: argparse.Namespace, net: Supernet, turns: list[tuple[float, ...]], centred: list[float]) -> str:
    """The page."""
    plain, weights, masks = (statistics.median(column) for column in zip(*turns, strict=True))
    ratios = [statistics.median(turn[kind] / turn[0] for turn in turns) for kind in (1, 2)]
    epoch = options.images / 2 / options.batch * (weights + masks)
    centre = statistics.median(centred)
    rows = [(KINDS[0], plain, 1.0), (KINDS[1], weights, ratios[0]), (KINDS[2], masks, ratios[1])]
    return "\n".join([
        "# What masks cost", "",
        f"{options.network} of width {options.width}, {options.side} x {options.side} pixels, batch {options.batch}: "
        f"{len(net.units)} groups, {len(turns)} steps of each kind in turn, {place(net)}.", "",
        f"Command: `python {shlex.join(sys.argv)}`", "",
        "| step | ms | beside the plain one |", "|---|---|---|",
        *(f"| {name} | {1e3 * seconds:.1f} | {ratio:.3f} |" for name, seconds, ratio in rows), "",
        f"A re-centring of all ranges takes {centre:.2f} s, **{centre / epoch:.2%}** of an epoch of {options.images:,} "
        f"images ({epoch:.0f} s).", "",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--width", type=at_least(1), default=64)
    parser.add_argument("--side", type=at_least(8), default=32)
    parser.add_argument("--batch", type=at_least(2), default=96)
    parser.add_argument("--steps", type=at_least(1), default=30)
    parser.add_argument("--images", type=at_least(1), default=45_000)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=target)
    options = parser.parse_args()
    torch.manual_seed(0)
    net = supernet(options)
    page = report(options, net, steps(net, options.steps), moves(net))
    print(page)
    if options.output is not None:
        atomic_write_text(options.output, page)


if __name__ == "__main__":
    main()
