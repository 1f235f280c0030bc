"""What `chanc prune` does where nobody says it, beside what it could do: BatchNorm in the training, and importance.

    python benchmarks/defaults.py --data-root DATA --work FOLDER [--output benchmarks/results/defaults.md]

DATA holds fashion-mnist/ (its four idx files). Two small networks of 14 x 14 pixels, one of bare convolutions (plain)
and one with BatchNorm and shortcuts (res), are trained on 4,000 images each, and pruned to a share of their MACs with
three seeds. All scores are top-1 on 2,000 test images, also of what was pruned without labels.

(a) plain, taylor, with labels and without: is BatchNorm lent to the training, or not?
(b) plain and res, without labels: taylor (of what the original says) or l2 (of the weights alone)?

Networks and results (rows.jsonl) are kept in FOLDER: what is there is not done again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from arguments import folder, target
from torch import nn

import chanc
from chanc.backends import ort
from chanc.data import Samples, load
from chanc.ir import atomic_write_text
from chanc.pruning.steps import Recovery

NETWORKS = ("plain", "res")
SEEDS = range(3)
TRAIN, HELD_OUT, TEST = 4_000, 500, 2_000
MEAN, STD = 0.286, 0.32
SHARE = 30
"""Per cent of the MACs that are left."""
FIRST = {"epochs": 8, "optimizer": "adamw", "lr": 3e-3, "batch_size": 64, "device": "cpu"}
RECIPE: dict[str, Any] = {"lr": 1e-3, "batch_size": 64, "device": "cpu"}
STAGES = ("base", "cut", "refitted", "trained")


@dataclass(frozen=True)
class Job:
    """A pruning. labels: whether it learns them; norms: whether bare convolutions are lent BatchNorm."""

    network: str
    seed: int
    importance: str
    labels: bool
    norms: bool
    epochs: int


def jobs() -> Iterator[Job]:
    """Seed by seed, so that what is there compares."""
    for seed in SEEDS:
        for labels in (True, False):
            for norms in (False, True):
                yield Job("plain", seed, "taylor", labels, norms, 2)
        for network in NETWORKS:
            for importance in ("taylor", "l2"):
                yield Job(network, seed, importance, False, False, 1)


class Block(nn.Module):
    """Two convolutions with norms, and a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
        self.c2, self.b2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
        self.s = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.b1(self.c1(x)))
        return torch.relu(self.s(x) + self.b2(self.c2(inner)))


def network(kind: str, seed: int) -> nn.Module:
    """[N, 1, 14, 14] -> [N, 10]."""
    torch.manual_seed(seed)
    body: list[nn.Module] = []
    if kind == "res":
        body = [Block(1, 16), nn.MaxPool2d(2), Block(16, 32), nn.MaxPool2d(2), Block(32, 64)]
    for pair in ((1, 16), (16, 16), (), (16, 32), (32, 32), (), (32, 64), (64, 64)) if kind == "plain" else ():
        body += [nn.Conv2d(*pair, 3, padding=1), nn.ReLU()] if pair else [nn.MaxPool2d(2)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Bench:
    """The images, the trained networks and the rows."""

    def __init__(self, data_root: Path, work: Path) -> None:
        found = load(data_root / "fashion-mnist")
        self.train, self.labels = _small(found.train_images, found.train_labels, TRAIN)
        self.test, self.test_labels = _small(found.test_images, found.test_labels, TEST)
        self.work, self.path = work, work / "rows.jsonl"
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def samples(self, labels: bool) -> Samples:
        held_out = self.test_labels[:HELD_OUT]
        pair = (self.labels, held_out) if labels else (None, None)
        return Samples("fashion", {"input": self.train}, {"input": self.test[:HELD_OUT]}, *pair)

    def top1(self, model: Any) -> float:
        return float((ort.run(model, {"input": self.test})[0].argmax(1) == self.test_labels).mean())

    def base(self, kind: str, seed: int) -> Path:
        """The trained network."""
        path = self.work / f"{kind}-{seed}.onnx"
        if not path.exists():
            fresh = self.work / "fresh.onnx"
            chanc.export(network(kind, seed), fresh, shapes=[(1, 1, 14, 14)])
            done = chanc.train(onnx.load(fresh), self.samples(True), seed=seed, **FIRST)
            onnx.save(done.model, path)
        return path

    def done(self, job: Job) -> bool:
        asked = asdict(job)
        return any(all(row[name] == value for name, value in asked.items()) for row in self.rows)

    def run(self, job: Job) -> None:
        """One pruning, scored with labels after each stage."""
        path, scores = self.base(job.network, job.seed), list[float]()
        plain = Recovery.score

        def score(recovery: Recovery, model: Any) -> float:
            scores.append(self.top1(model))
            return plain(recovery, model)

        Recovery.score = score  # type: ignore[method-assign]
        try:
            chanc.prune(path, max_macs=f"{SHARE}%", data=self.samples(job.labels), importance=job.importance,
                        task="classification" if job.labels else "distillation", epochs=job.epochs,
                        insert_batchnorm=job.norms, seed=job.seed, **RECIPE)  # fmt: skip
        finally:
            Recovery.score = plain  # type: ignore[method-assign]
        row = {**asdict(job), **dict(zip(STAGES, scores, strict=True))}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows.append(row)
        print(row, flush=True)


def _small(images: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Half the size, standardised: float32 [N, 1, 14, 14], int64 [N]."""
    halved = images[:count].reshape(count, 1, 14, 2, 14, 2).mean((3, 5)).astype(np.float32) / 255
    return (halved - MEAN) / STD, labels[:count].astype(np.int64)


def report(rows: Sequence[dict[str, Any]], command: str) -> str:
    """The page."""
    norms = [("plain, labels", {"labels": True, "epochs": 2}, "norms", False, True),
             ("plain, no labels", {"labels": False, "epochs": 2}, "norms", False, True)]  # fmt: skip
    importances = [(kind, {"network": kind, "labels": False, "epochs": 1}, "importance", "l2", "taylor")
                   for kind in NETWORKS]  # fmt: skip
    lines = [
        "# The defaults of a pruning", "", f"`{command}`", "",
        f"Fashion-MNIST at 14 x 14 pixels, {TRAIN:,} images, {SHARE}% of the MACs left; top-1 on {TEST:,} test images,",
        "in per cent, means of the seeds. Difference: of the second to the first, with its standard error.", "",
        "## BatchNorm lent to the training of bare convolutions", "", *_table(rows, norms, ("without", "with")), "",
        "## Importance without labels", "", *_table(rows, importances, ("l2", "taylor")),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[dict[str, Any]], cases: Sequence[Any], names: tuple[str, str]) -> Iterator[str]:
    yield f"| | stage | {names[0]} | {names[1]} | difference | seeds |"
    yield "|---|---|---|---|---|---|"
    for label, where, key, first, second in cases:
        chosen = [row for row in rows if all(row[name] == value for name, value in where.items())]
        sides = [{row["seed"]: row for row in chosen if row[key] == side} for side in (first, second)]
        seeds = sorted(set(sides[0]) & set(sides[1]))
        for stage in STAGES:
            one, two = ([100 * side[seed][stage] for seed in seeds] for side in sides)
            gains = [b - a for a, b in zip(one, two, strict=True)]
            error = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
            told = f"{statistics.fmean(gains):+.2f} ± {error:.2f}" if any(gains) else "the same"
            yield (f"| {label} | {stage} | {statistics.fmean(one):.2f} | {statistics.fmean(two):.2f} | {told} | "
                   f"{len(seeds)} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=folder, required=True)
    parser.add_argument("--work", type=folder, required=True)
    parser.add_argument("--output", type=target)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(options.data_root, options.work)
    for job in jobs():
        if not bench.done(job):
            bench.run(job)
    text = report(bench.rows, "python benchmarks/defaults.py --data-root DATA --work FOLDER")
    print(text)
    if options.output:
        atomic_write_text(options.output, text)


if __name__ == "__main__":
    main()
