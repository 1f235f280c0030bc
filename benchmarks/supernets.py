"""Searches inside one training, on a small scale: where they start, what steers them, FlexCHarts beside DMaskingNAS.

    python benchmarks/supernets.py --data-root DATA [--arms '*'] [--seeds 3] [--minutes 30]

DATA holds fashion-mnist/ (its four idx files); images are halved to 14 x 14 pixels, 2,000 of them train. The supernets
are a residual network of eight groups on two sides of an image and the zoo's ResNet18 on four, at an eighth of its
widths. Each arm searches with each seed from the network at a share of its own widths, at one target: half of the
network's own MACs. What is found is brought to exactly that and trained from scratch with the arm's seed, and scored on
2,000 test images; so is what a control finds, whose search had no target. Where both starts end alike, they need not
end more alike than two seeds of one start: the page has both numbers.

The arms of cells search a supernet as the papers' is, reduced: seven cells of DARTS instead of twenty, and half of all
channels: cells of 18, 36 and 72, a stem of 54, a head of 128, and steps of 4; on 1,000 images of 16 x 16 pixels (14 and
a frame). A cell has one width; stem and head keep theirs.

    to the target    FlexCHarts from a quarter, and from four times the widths: do they end in the same network?
    lambda 0, fixed  the controls: the loss alone, and the papers' fixed lambda, of |log(cost / target)|
    dmask            DMaskingNAS over all widths from 0 to twice the network's own; all else is as in FlexCHarts
                     (the temperature falls as far as in 50 epochs)
    cells            both again, FlexCHarts from the network's own widths

Memory is counted, not sampled: what torch keeps of a forward pass for the gradient (saved_tensors_hooks, each storage
once), and weights, gradients and momentum, at the widest options of each epoch; the largest epoch counts. (Networks of
this size lie below what the imports once took: the peak of the resident set shows none of it.) Seconds are the
process's own. Where they go is measured at last: a step of the weights at the widest options that either method ended
with, by turns, with all widths as they are, doubled, and four times as many.

Each search is a line of --rows (JSON), never done again: a killed call goes on. A search has a process with one thread.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arguments import at_least, folder, target

HERE = Path(__file__).resolve().parent
SHARE = 0.5
"""The target, of the MACs that the network has at its own widths."""
JUDGES, BATCH = 2_000, 32
RECIPE: Mapping[str, Any] = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "batch_size": BATCH,
                             "weight_decay": 5e-4, "schedule": "cosine"}  # fmt: skip


@dataclass(frozen=True)
class Net:
    """A supernet: the side of its images, how long it is searched in and trained, and the step and the largest of
    its widths.

    ties, keep: by patterns, as in `chanc.search`.
    """

    side: int
    images: int
    epochs: int
    final_epochs: int
    step: int = 1
    widest: int = 128
    ties: Mapping[str, str] = field(default_factory=dict)
    keep: tuple[str, ...] = ()


CELLS = 7
NETS: Mapping[str, Net] = {
    "residual": Net(14, 2_000, 10, 8),
    "resnet18": Net(14, 2_000, 10, 8, widest=256),
    "cells": Net(16, 1_000, 4, 4, 4, 256, {f"cells.{k}.*": f"cell{k}" for k in range(CELLS)}, ("stem.*", "head.*")),
}


@dataclass(frozen=True)
class Arm:
    """A method, the share of the network's own widths that it starts at, whether it has the target, and its options."""

    algo: str
    start: float
    aimed: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    net: str = "residual"


def masks(net: str, **more: Any) -> Mapping[str, Any]:
    """Options alike for both methods, and more."""
    step = NETS[net].step
    return {"step": step, "round_to": 1, "min_width": step, "max_width": NETS[net].widest, "mask_mode": "sampled",
            "split": 0.5, "turns": "steps", **more}  # fmt: skip


def flex(net: str, **more: Any) -> Mapping[str, Any]:
    """FlexCHarts' options; some hundred steps of masks, where the paper has 13,000, need a higher rate."""
    return masks(net, mask_lr=0.3, **more)


def dmask(net: str) -> Mapping[str, Any]:
    """DMaskingNAS' options: the temperature falls in these epochs as far as in 50."""
    return masks(net, low=0.0, high=2.0, mask_lr=0.1, decay=0.956 ** (50 / NETS[net].epochs))


STARTS = {"a quarter": 0.25, "four times": 4.0}
KINDS: Mapping[str, Mapping[str, float]] = {
    "to the target": {}, "lambda fixed": {"cost_weight": 0.1}, "lambda 0": {"cost_weight": 0.0}
}  # fmt: skip


def started(net: str, before: str = "") -> Mapping[str, Arm]:
    """FlexCHarts from either side, with the target and as the controls."""
    return {f"{before}{kind}, from {name}": Arm("flexcharts", start, kind != "lambda 0", flex(net, **options), net)
            for kind, options in KINDS.items() for name, start in STARTS.items()}  # fmt: skip


ARMS: Mapping[str, Arm] = {
    **started("residual"),
    "dmask": Arm("dmask", 1.0, True, dmask("residual")),
    **started("resnet18", "resnet18, "),
    "resnet18, dmask": Arm("dmask", 1.0, True, dmask("resnet18"), "resnet18"),
    "cells, flexcharts": Arm("flexcharts", 1.0, True, flex("cells"), "cells"),
    "cells, dmask": Arm("dmask", 1.0, True, dmask("cells"), "cells"),
}  # fmt: skip
COMPARED: Mapping[str, tuple[str, str]] = {
    "residual": ("to the target, from a quarter", "dmask"),
    "resnet18": ("resnet18, to the target, from a quarter", "resnet18, dmask"),
    "cells": ("cells, flexcharts", "cells, dmask"),
}  # fmt: skip
"""By supernet the arms of FlexCHarts and of DMaskingNAS of which the papers' ratios are."""
SCALES: Mapping[str, tuple[int, ...]] = {"residual": (1, 2, 4), "resnet18": (1,), "cells": (1,)}
STEPS, TURNS = {"residual": "steps", "resnet18": "resnet18, steps", "cells": "cells, steps"}, 10
Row = dict[str, Any]


# One search, in a process of its own with one thread


def network(place: Path, net: str) -> Path:
    """The supernet at its own widths."""
    path = place / ("own.onnx" if net == "residual" else f"{net}.onnx")
    if not path.exists():
        {"residual": residual, "resnet18": resnet18, "cells": cells}[net](path)
    return path


def residual(path: Path) -> None:
    """Two stages of residual blocks, a convolution before each join of sizes, a linear layer."""
    from chanc.ir import save
    from chanc.testing.graphs import Graph

    graph, side = Graph(), NETS["residual"].side
    x = graph.input("image", [1, 1, side, side], dynamic={0: "n"}).conv(8, stride=2).bn().relu()
    x = (x + x.conv(8).bn().relu().conv(8).bn()).relu()
    x = x.conv(12).bn().relu().conv(16, stride=2).bn().relu()
    for _ in range(2):
        x = (x + x.conv(16).bn().relu().conv(16).bn()).relu()
    x = x.conv(24).bn().relu().gap().flatten().gemm(16).relu()
    save(graph.ir(x.gemm(10)), path)


def resnet18(path: Path) -> None:
    """The zoo's, at an eighth of its widths."""
    import chanc
    from chanc.frontends import zoo

    widths, side = {name: width // 8 for name, width in zoo.table("resnet18").items()}, NETS["resnet18"].side
    chanc.export("zoo:resnet18", path, shapes=((1, 1, side, side),), widths=widths, channels=1)


def cells(path: Path) -> None:
    """FlexCHarts' supernet of seven cells, with half of its channels."""
    import torch

    from chanc.frontends.torch import export
    from chanc.frontends.zoo.darts import VARIANTS
    from chanc.frontends.zoo.flexcharts import FlexCharts

    variant, side = VARIANTS[f"darts{CELLS}"], NETS["cells"].side
    widths = {"stem": 54, "head": 128}
    for cell in range(CELLS):
        widths[f"cells.{cell}"] = 18 * 2 ** sum(cell >= at for at in variant.reductions)
    torch.manual_seed(0)
    export(FlexCharts(widths, 10, 1, False, f"darts{CELLS}"), torch.zeros(2, 1, side, side), path)


def images(data_root: Path, place: Path, side: int) -> Path:
    """Fashion-MNIST at half of its side, each pixel the mean of four; with a black frame where `side` is larger."""
    import numpy as np

    from chanc.data import load

    path = place / ("images.npz" if side == 14 else f"images-{side}.npz")
    if not path.exists():
        data, frame = load("fashion-mnist", root=data_root), (side - 14) // 2
        around = ((0, 0), (frame, frame), (frame, frame))
        train, test = (np.rint(part.reshape(-1, 14, 2, 14, 2).mean((2, 4))).astype(np.uint8)
                       for part in (data.train_images, data.test_images))  # fmt: skip
        np.savez(path, x_train=np.pad(train, around), y_train=data.train_labels, x_test=np.pad(test, around),
                 y_test=data.test_labels)  # fmt: skip
    return path


def do(name: str, seed: int, place: Path, data_root: Path) -> Row:
    """Search and train what is found; what is known then."""
    import torch

    import chanc
    from chanc.ir import load
    from chanc.runs import EpochEvent, read_run
    from chanc.study.parts import space_of
    from chanc.study.space import Limits
    from chanc.study.targets import project

    torch.set_num_threads(1)
    arm = ARMS[name]
    net = NETS[arm.net]
    own, data = network(place, arm.net), images(data_root, place, net.side)
    analysis = chanc.analyze(own)
    space, goal = space_of(analysis, net.keep, net.ties), SHARE * analysis.macs
    begun, out = time.process_time(), place / f"{name.replace(',', '').replace(' ', '-')}-{seed}"
    start = resized(own, {group: round(arm.start * width) for group, width in space.widths.items()}, seed)
    run = chanc.search(
        start, algo=arm.algo, data=data, seed=seed, epochs=net.epochs, out=out, resume=(out / "config.json").exists(),
        options={**arm.options, **({"target_macs": str(round(goal))} if arm.aimed else {})}, train=RECIPE,
        limit_train=net.images, limit_test=JUDGES, ties=net.ties, keep=net.keep,
    )  # fmt: skip
    spent, epochs = time.process_time() - begun, read_run(out).of(EpochEvent)

    def each(of_units: Mapping[str, float]) -> dict[str, float]:
        """The width of each group from those of the units."""
        return {group.id: float(of_units[unit]) * group.size / groups[0].size
                for unit, groups in space.units.items() for group in groups}  # fmt: skip

    last = each(epochs[-1].metrics["width"])
    widths = project(space, Limits(1, net.widest, net.step), last, {"macs": goal})
    final = chanc.train(resized(own, widths, seed), data, epochs=net.final_epochs, seed=seed, limit_train=net.images,
                        limit_test=JUDGES, **RECIPE)  # fmt: skip
    assert run.widths.keys() == widths.keys()
    return {
        "arm": name, "seed": seed, "own": space.widths, "found": last, "widths": widths, "score": final.top1,
        "macs": chanc.analyze(load(own)).cost_at(widths).macs, "goal": round(goal),
        "expected": [epoch.metrics["cost"]["macs"] for epoch in epochs],
        "executed": sum(epoch.metrics["supernet"]["executed"] for epoch in epochs),
        "held": max(held(resized(own, each(epoch.metrics["high"]), seed), net.side) for epoch in epochs),
        "high": each(epochs[-1].metrics["high"]),
        "search_s": round(spent, 1), "cpu_s": round(time.process_time() - begun, 1),
    }  # fmt: skip


def resized(path: Path, widths: Mapping[str, float], seed: int) -> Any:
    """The network at other widths, its weights drawn anew."""
    from chanc.ir import load
    from chanc.rewriter import rewrite

    return rewrite(load(path), {name: int(width) for name, width in widths.items()}, transfer="init", seed=seed).model


def held(model: Any, side: int) -> int:
    """Bytes that a step of the weights holds: what the gradient needs of a batch, weights, gradients and momentum."""
    import torch

    from chanc.tasks import Classification
    from chanc.training.module import trainable

    net, kept = trainable(model, Classification()), dict[int, int]()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    net.module.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = net.module(torch.randn(BATCH, 1, side, side))
        trained = {value.untyped_storage().data_ptr(): value.nbytes for value in net.module.parameters()}
        alive = sum({**kept, **trained}.values())
    assert outputs is not None
    return alive + 2 * sum(trained.values())


def steps(rows: Sequence[Row], net: str, scale: int, place: Path) -> Row:
    """CPU seconds of steps of the weights at the widest options that the compared arms ended with, times `scale`."""
    import torch

    torch.set_num_threads(1)
    begun, own, side = time.process_time(), network(place, net), NETS[net].side
    highs = [next(row["high"] for row in rows if row["arm"] == arm and row["seed"] == 0) for arm in COMPARED[net]]
    works = [step(resized(own, {name: scale * width for name, width in high.items()}, 0), side) for high in highs]
    turns = [[timed(work) for work in works] for _ in range(TURNS + 2)][2:]
    return {"arm": STEPS[net], "seed": scale, "ratios": [dmask / flex for flex, dmask in turns],
            "ms": [1e3 * statistics.median(column) for column in zip(*turns, strict=True)],
            "cpu_s": time.process_time() - begun}  # fmt: skip


def step(model: Any, side: int) -> Callable[[], object]:
    """What trains a model on a batch of noise."""
    import torch

    from chanc.tasks import Classification
    from chanc.training.module import trainable

    module = trainable(model, Classification()).module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9)
    batch, labels = torch.randn(BATCH, 1, side, side), torch.arange(BATCH) % 10

    def work() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(batch), labels).backward()
        optimizer.step()

    return work


def timed(work: Callable[[], object]) -> float:
    """Seconds in which this process ran."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


# All searches


def known(rows: Path) -> list[Row]:
    """What has been done."""
    return [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()] if rows.exists() else []


def left(rows: Sequence[Row], arms: Sequence[str], seeds: int) -> Iterator[tuple[str, int]]:
    """What is to be done, seed by seed."""
    done = {(row["arm"], row["seed"]) for row in rows}
    yield from ((arm, seed) for seed in range(seeds) for arm in arms if (arm, seed) not in done)


def run_all(args: argparse.Namespace, arms: Sequence[str]) -> None:
    """Do the searches, each in a fresh process, until the time is over, and then the steps."""
    end = time.monotonic() + 60 * args.minutes
    for name, seed in left(known(args.rows), arms, args.seeds):
        if time.monotonic() > end:
            return
        add(args.rows, do, name, seed, args.work, args.data_root)
    rows = known(args.rows)
    done = {(row["arm"], row["seed"]) for row in rows}
    for net, compared in COMPARED.items():
        if all((arm, 0) in done for arm in compared):
            for scale in SCALES[net]:
                if (STEPS[net], scale) not in done:
                    add(args.rows, steps, rows, net, scale, args.work)


def add(rows: Path, work: Callable[..., Row], *args: object) -> None:
    """Do it in a fresh process with one thread, and write down what it found."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        row = pool.submit(work, *args).result()
    with rows.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(f"{row['arm']}, {row['seed']}: {row['cpu_s']:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=folder, required=True)
    parser.add_argument("--arms", nargs="+", default=["*"], help="patterns of arms")
    parser.add_argument("--seeds", type=at_least(1), default=3)
    parser.add_argument("--work", type=Path, default=Path("supernets"), help="folder of networks and searches")
    parser.add_argument("--rows", type=target, default=HERE / "results" / "supernets.jsonl")
    parser.add_argument("--page", type=target, default=HERE / "results" / "supernets.md")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no search after so many")
    args = parser.parse_args()
    args.data_root = Path(args.data_root)
    args.work.mkdir(parents=True, exist_ok=True)
    arms = [name for name in ARMS if any(fnmatch.fnmatch(name, pattern) for pattern in args.arms)]
    run_all(args, arms)
    if rows := known(args.rows):
        from supernets_page import page

        args.page.write_text(page(rows), encoding="utf-8")
        print(f"wrote {args.page}")


if __name__ == "__main__":
    main()
