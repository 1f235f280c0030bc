"""Searches inside one training, on a small scale: where they start, what steers them, FlexCHarts beside DMaskingNAS.

    python benchmarks/supernets.py --data-root DATA [--arms '*'] [--seeds 3] [--minutes 30]

DATA holds fashion-mnist/ (its four idx files); images are halved to 14 x 14 pixels, 2,000 of them train. The supernet
is a residual network of eight groups, reduced so that all of this takes less than an hour of one core. Each arm
searches with each seed from the network at a share of its own widths, at one target: half of the network's own MACs.
What is found is brought to exactly that and trained from scratch with the arm's seed, and scored on 2,000 test images;
so is what a control finds, whose search had no target.

    to the target    FlexCHarts from a quarter, and from four times the widths: do they end in the same network?
    lambda 0, fixed  the controls: the loss alone, and the papers' fixed lambda, of |log(cost / target)|
    dmask            DMaskingNAS over all widths from 0 to twice the network's own; all else is as in FlexCHarts
                     (the temperature falls as far as in 50 epochs)

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
IMAGES, JUDGES, SIDE = 2_000, 2_000, 14
EPOCHS, FINAL_EPOCHS, BATCH = 10, 8, 32
RECIPE: Mapping[str, Any] = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "batch_size": BATCH,
                             "weight_decay": 5e-4, "schedule": "cosine"}  # fmt: skip
BOUNDS: Mapping[str, Any] = {"step": 1, "round_to": 1, "min_width": 1, "max_width": 128}
MASKS: Mapping[str, Any] = {"mask_mode": "sampled", "split": 0.5, "turns": "steps"}
"""Alike for both methods; some hundred steps of masks, where the papers have 13,000, need a higher rate."""
FLEX: Mapping[str, Any] = {**BOUNDS, **MASKS, "mask_lr": 0.3}


@dataclass(frozen=True)
class Arm:
    """A method, the share of the network's own widths that it starts at, whether it has the target, and its options."""

    algo: str
    start: float
    aimed: bool
    options: Mapping[str, Any] = field(default_factory=dict)


COOLING = 0.956 ** (50 / EPOCHS)
"""The temperature falls in these epochs as far as in 50."""
STARTS = {"a quarter": 0.25, "four times": 4.0}
ARMS: Mapping[str, Arm] = {
    **{f"to the target, from {name}": Arm("flexcharts", start, True, FLEX) for name, start in STARTS.items()},
    "dmask": Arm("dmask", 1.0, True, {**BOUNDS, **MASKS, "low": 0.0, "high": 2.0, "mask_lr": 0.1, "decay": COOLING}),
    **{f"lambda fixed, from {name}": Arm("flexcharts", start, True, {**FLEX, "cost_weight": 0.1})
       for name, start in STARTS.items()},
    **{f"lambda 0, from {name}": Arm("flexcharts", start, False, {**FLEX, "cost_weight": 0.0})
       for name, start in STARTS.items()},
}  # fmt: skip
COMPARED = ("to the target, from a quarter", "dmask")
"""FlexCHarts and DMaskingNAS, of which the papers' ratios are."""
STEPS, SCALES, TURNS = "steps", (1, 2, 4), 10
Row = dict[str, Any]


# One search, in a process of its own with one thread


def network(place: Path) -> Path:
    """The supernet: two stages of residual blocks, a convolution before each join of sizes, a linear layer."""
    from chanc.ir import save
    from chanc.testing.graphs import Graph

    path = place / "own.onnx"
    if not path.exists():
        graph = Graph()
        x = graph.input("image", [1, 1, SIDE, SIDE], dynamic={0: "n"}).conv(8, stride=2).bn().relu()
        x = (x + x.conv(8).bn().relu().conv(8).bn()).relu()
        x = x.conv(12).bn().relu().conv(16, stride=2).bn().relu()
        for _ in range(2):
            x = (x + x.conv(16).bn().relu().conv(16).bn()).relu()
        x = x.conv(24).bn().relu().gap().flatten().gemm(16).relu()
        save(graph.ir(x.gemm(10)), path)
    return path


def images(data_root: Path, place: Path) -> Path:
    """Fashion-MNIST at half of its side, each pixel the mean of four."""
    import numpy as np

    from chanc.data import load

    path = place / "images.npz"
    if not path.exists():
        data = load("fashion-mnist", root=data_root)
        train, test = (np.rint(part.reshape(-1, SIDE, 2, SIDE, 2).mean((2, 4))).astype(np.uint8)
                       for part in (data.train_images, data.test_images))  # fmt: skip
        np.savez(path, x_train=train, y_train=data.train_labels, x_test=test, y_test=data.test_labels)
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
    arm, own, data = ARMS[name], network(place), images(data_root, place)
    analysis = chanc.analyze(own)
    space, goal = space_of(analysis), SHARE * analysis.macs
    begun, out = time.process_time(), place / f"{name.replace(' ', '-')}-{seed}"
    start = resized(own, {group: round(arm.start * width) for group, width in space.widths.items()}, seed)
    run = chanc.search(
        start, algo=arm.algo, data=data, seed=seed, epochs=EPOCHS, out=out, resume=(out / "config.json").exists(),
        options={**arm.options, **({"target_macs": str(round(goal))} if arm.aimed else {})}, train=RECIPE,
        limit_train=IMAGES, limit_test=JUDGES,
    )  # fmt: skip
    spent, epochs = time.process_time() - begun, read_run(out).of(EpochEvent)
    last = {group: float(width) for group, width in epochs[-1].metrics["width"].items()}
    widths = project(space, Limits(1, 128, 1), last, {"macs": goal})
    final = chanc.train(resized(own, widths, seed), data, epochs=FINAL_EPOCHS, seed=seed, limit_train=IMAGES,
                        limit_test=JUDGES, **RECIPE)  # fmt: skip
    assert run.widths.keys() == widths.keys()
    return {
        "arm": name, "seed": seed, "own": space.widths, "found": last, "widths": widths, "score": final.top1,
        "macs": chanc.analyze(load(own)).cost_at(widths).macs, "goal": round(goal),
        "expected": [epoch.metrics["cost"]["macs"] for epoch in epochs],
        "executed": sum(epoch.metrics["supernet"]["executed"] for epoch in epochs),
        "held": max(held(resized(own, epoch.metrics["high"], seed)) for epoch in epochs),
        "high": epochs[-1].metrics["high"],
        "search_s": round(spent, 1), "cpu_s": round(time.process_time() - begun, 1),
    }  # fmt: skip


def resized(path: Path, widths: Mapping[str, float], seed: int) -> Any:
    """The network at other widths, its weights drawn anew."""
    from chanc.ir import load
    from chanc.rewriter import rewrite

    return rewrite(load(path), {name: int(width) for name, width in widths.items()}, transfer="init", seed=seed).model


def held(model: Any) -> int:
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
        outputs = net.module(torch.randn(BATCH, 1, SIDE, SIDE))
        trained = {value.untyped_storage().data_ptr(): value.nbytes for value in net.module.parameters()}
        alive = sum({**kept, **trained}.values())
    assert outputs is not None
    return alive + 2 * sum(trained.values())


def steps(rows: Sequence[Row], scale: int, place: Path) -> Row:
    """CPU seconds of steps of the weights at the widest options that the compared arms ended with, times `scale`."""
    import torch

    torch.set_num_threads(1)
    begun = time.process_time()
    highs = [next(row["high"] for row in rows if row["arm"] == arm and row["seed"] == 0) for arm in COMPARED]
    works = [step(resized(network(place), {name: scale * width for name, width in high.items()}, 0)) for high in highs]
    turns = [[timed(work) for work in works] for _ in range(TURNS + 2)][2:]
    return {"arm": STEPS, "seed": scale, "ms": [1e3 * statistics.median(column) for column in zip(*turns, strict=True)],
            "ratios": [dmask / flex for flex, dmask in turns], "cpu_s": time.process_time() - begun}  # fmt: skip


def step(model: Any) -> Callable[[], object]:
    """What trains a model on a batch of noise."""
    import torch

    from chanc.tasks import Classification
    from chanc.training.module import trainable

    module = trainable(model, Classification()).module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9)
    batch, labels = torch.randn(BATCH, 1, SIDE, SIDE), torch.arange(BATCH) % 10

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
    if all((arm, 0) in {(row["arm"], row["seed"]) for row in rows} for arm in COMPARED):
        for scale in SCALES:
            if (STEPS, scale) not in {(row["arm"], row["seed"]) for row in rows}:
                add(args.rows, steps, rows, scale, args.work)


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
