"""Does a network whose BatchNorm was folded train as well, once `insert_batchnorm` has put norms back?

Each seed trains a small ResNet for two epochs, which stands for the published model. One copy keeps its norms; of the
other they are folded into the convolutions, as exporters do, and inserted anew. Both are trained for ten epochs more
with one recipe and one order of images. A third copy is trained without norms.

    python benchmarks/batchnorm.py [--seeds 24] [--epochs 10] [--out benchmarks/results/batchnorm.md]
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from pathlib import Path

import onnx_ir as ir
import torch
from arguments import at_least, target

from chanc.backends import ort
from chanc.data import Dataset
from chanc.data import load as load_data
from chanc.frontends import zoo
from chanc.frontends.torch import export
from chanc.ir import copy_model
from chanc.ir import load as load_model
from chanc.tasks import Classification
from chanc.training.images import recover_norms
from chanc.training.options import TrainOptions
from chanc.training.train import train
from chanc.transforms import fold_batchnorm

ARMS = ("norms kept", "folded, then inserted", "folded")


def network(seed: int, folder: Path) -> ir.Model:
    """A ResNet18 for 8 x 8 pixels, 8 channels everywhere."""
    torch.manual_seed(seed)
    path = folder / f"{seed}.onnx"
    export(zoo.build("resnet18", width=8, classes=10, channels=1), torch.zeros(2, 1, 8, 8), path)
    return load_model(path)


def top1(model: ir.Model, data: Dataset, seed: int, epochs: int, lr: float) -> float:
    """Train in place; the share of test images that are right."""
    options = TrainOptions(
        epochs=epochs, lr=lr, batch_size=64, crop_padding=1, flip=False, schedule="cosine", device="cpu", seed=seed
    )
    return train(model, data, Classification(), options).result.score


def one_seed(seed: int, data: Dataset, epochs: int, folder: Path) -> tuple[float, float, float]:
    """top-1 of the three copies."""
    kept = network(seed, folder)
    top1(kept, data, seed, 2, 0.1)
    bare = copy_model(kept)
    assert fold_batchnorm(bare)
    again = copy_model(bare)
    assert recover_norms(again, data)
    feeds = ort.random_feeds(bare, batch=4)
    before, after = ort.run(bare, feeds)[0], ort.run(again, feeds)[0]
    assert abs(after - before).max() <= 1e-4 * abs(before).max()
    kept_top1, again_top1, bare_top1 = (top1(model, data, seed, epochs, 0.05) for model in (kept, again, bare))
    return kept_top1, again_top1, bare_top1


def report(rows: list[tuple[float, float, float]], command: str, epochs: int) -> str:
    """The table as markdown."""
    lines = [
        "# BatchNorm, folded and inserted again", "",
        f"`{command}`", "",
        f"A ResNet18 of 8 channels on digits (8 x 8 pixels, 1,437 images; 360 for the test), {epochs} epochs after the",
        "norms were folded; top-1 on the test images, mean and spread of the seeds.", "",
        "| | top-1 | spread |", "|---|---|---|",
    ]  # fmt: skip
    for name, column in zip(ARMS, zip(*rows, strict=True), strict=True):
        lines.append(f"| {name} | {statistics.fmean(column):.2%} | {statistics.stdev(column):.2%} |")
    gains = [again - kept for kept, again, _ in rows]
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    lines += [
        "",
        f"Inserted minus kept: {statistics.fmean(gains) * 100:+.2f} points, standard error {error * 100:.2f}; better "
        f"with {better} seeds, the same with {len(gains) - better - worse}, worse with {worse} of {len(gains)}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=at_least(2), default=24)
    parser.add_argument("--epochs", type=at_least(1), default=10)
    parser.add_argument("--out", type=target)
    args = parser.parse_args()
    data = load_data("digits")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.seeds):
            rows.append(one_seed(seed, data, args.epochs, Path(folder)))
            print(seed, *(f"{value:.2%}" for value in rows[-1]), flush=True)
    text = report(rows, f"python benchmarks/batchnorm.py --seeds {args.seeds} --epochs {args.epochs}", args.epochs)
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
