"""Closed-form recovery without labels: `chanc.reconstruct` beside onnxsim's `apply_pruning_finetune`.

Small networks are trained on scikit-learn's digits (and kept in a folder), all widths scaled until half of the MACs are
left, by each tool its own way, and refitted on the same unlabelled training images. What counts is the test images: how
many get the label that they have, and how many the one that the network gave them before. With --speed a model file is
timed instead, on made-up images.

    python benchmarks/reconstruct.py MODELS [--networks resnet18 ...] [--images 256] [--share 0.5] [--epochs 12]
    python benchmarks/reconstruct.py --speed resnet50.onnx [--images 256]

onnxsim's rows need onnxsim==0.8.1 beside chanc; it folds BatchNorm first, as its pruning asks for.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from arguments import at_least, require, target
from numpy.typing import NDArray

import chanc
from chanc.backends import ort
from chanc.data import Dataset
from chanc.data import load as load_data
from chanc.ir import to_proto
from chanc.testing.blocks import attention, layer_norm, mlp, tokens
from chanc.testing.graphs import Graph

NETWORKS = ("resnet18", "vgg11", "mobilenetv2", "vit")
BATCH = 32
IMAGE, IMAGES_AT_ONCE = (3, 224, 224), 8

Array = NDArray[np.float32]


class Score(NamedTuple):
    """Shares of the test images: right labels, and those that the original gave."""

    top1: float
    agree: float


class Row(NamedTuple):
    """A tool on a network: the share of MACs that is left, scores before and after the refit, its seconds."""

    network: str
    tool: str
    macs: float
    before: Score
    after: Score
    seconds: float


def vit() -> onnx.ModelProto:
    """Three blocks of attention on sixteen tokens of an 8x8 image."""
    graph = Graph(scale=1.0)
    x = tokens(graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}).conv(48, 2, stride=2))
    x = x + graph.weight(1, 16, 48)
    for _ in range(3):
        x = x + attention(layer_norm(x), 4, fused=False)
        x = x + mlp(layer_norm(x), 96)
    return graph.model(layer_norm(x).mean(1, keep=False).gemm(10))


def trained(name: str, folder: Path, epochs: int) -> onnx.ModelProto:
    """The network, trained before or now."""
    path = folder / f"{name}.onnx"
    if path.exists():
        return onnx.load(path)
    if name == "vit":
        model: Any = chanc.load(vit())
    else:
        fresh = folder / "fresh.onnx"
        chanc.export(f"zoo:{name}", fresh, shapes=[(1, 1, 8, 8)], channels=1)
        model = chanc.rewrite(chanc.load(fresh), scale=0.5 if name == "mobilenetv2" else 0.25, transfer="init").model
    # A transformer of that size takes its time.
    recipe = {"optimizer": "adamw", "lr": 3e-3} if name == "vit" else {"lr": 0.05}
    turns = 4 * epochs if name == "vit" else epochs
    done = chanc.train(model, "digits", epochs=turns, batch_size=64, device="cpu", **recipe)
    chanc.save(done.model, path)
    return onnx.load(path)


def share_of(model: onnx.ModelProto, original: onnx.ModelProto) -> float:
    """The share of MACs that a model has."""
    return chanc.analyze(model).macs / chanc.analyze(original).macs


def within(
    make: Callable[[float], onnx.ModelProto], original: onnx.ModelProto, share: float, halvings: int = 7
) -> onnx.ModelProto:
    """The largest model made by one factor for all widths that is within the share of MACs."""
    low, high = 0.05, 1.0
    best = make(low)
    for _ in range(halvings):
        middle = (low + high) / 2
        model = make(middle)
        if share_of(model, original) <= share:
            low, best = middle, model
        else:
            high = middle
    return best


def scores(model: onnx.ModelProto, x: Array, labels: NDArray[np.int64], said: NDArray[np.int64] | None = None) -> Score:
    """How a model does on images; `said` are the original's labels."""
    found = ort.run(model, {model.graph.input[0].name: x})[0].argmax(axis=1)
    return Score(float((found == labels).mean()), float((found == (found if said is None else said)).mean()))


def by_chanc(original: onnx.ModelProto, share: float, feeds: Sequence[dict[str, Array]]) -> tuple[Any, Any, float]:
    """The model within the share, the same refitted, and the seconds that took."""
    made: dict[int, chanc.Rewrite] = {}

    def make(scale: float) -> onnx.ModelProto:
        rewrite = chanc.rewrite(original, scale=scale, transfer="select")
        made[id(rewrite.model)] = rewrite
        return rewrite.model

    small = within(make, original, share)
    start = time.perf_counter()
    done = chanc.reconstruct(original, made[id(small)], feeds)
    return small, done.model, time.perf_counter() - start


def by_onnxsim(original: onnx.ModelProto, share: float, feeds: Sequence[dict[str, Array]]) -> tuple[Any, Any, float]:
    """The same by onnxsim."""
    import onnxsim

    simple = onnxsim.simplify(original)[0]
    small = within(lambda keep: onnxsim.apply_structured_pruning(simple, sparsity=1 - keep), original, share)
    start = time.perf_counter()
    done = onnxsim.apply_pruning_finetune(simple, small, calibration_data=feeds)
    return small, done, time.perf_counter() - start


def rows(name: str, original: onnx.ModelProto, data: Dataset, images: int, share: float) -> list[Row]:
    """A row a tool."""
    train, test = (_pixels(data, array) for array in (data.train_images, data.test_images))
    chosen = train[np.random.default_rng(0).permutation(len(train))[:images]]
    given = original.graph.input[0].name
    feeds = [{given: chosen[k : k + BATCH]} for k in range(0, len(chosen), BATCH)]
    said = ort.run(original, {given: test})[0].argmax(axis=1)
    known = scores(original, test, data.test_labels)
    found = [Row(name, "original", 1.0, known, known, 0.0)]
    tools = {"chanc": by_chanc, "onnxsim": by_onnxsim} if importlib.util.find_spec("onnxsim") else {"chanc": by_chanc}
    for tool, prune in tools.items():
        small, done, seconds = prune(original, share, feeds)
        before, after = (scores(model, test, data.test_labels, said) for model in (small, done))
        found.append(Row(name, tool, share_of(small, original), before, after, seconds))
    return found


def _pixels(data: Dataset, images: NDArray[Any]) -> Array:
    gain, shift = (np.float32(values).reshape(1, -1, 1, 1) for values in (data.input.gain, data.input.shift))
    return np.asarray(images * gain + shift, dtype=np.float32)


def table(found: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| network | tool | MACs | top-1 pruned | top-1 refitted | agreement pruned | agreement refitted | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        numbers = (row.macs, row.before.top1, row.after.top1, row.before.agree, row.after.agree)
        percents = " | ".join(f"{number:.1%}" for number in numbers)
        lines.append(f"| {row.network} | {row.tool} | {percents} | {row.seconds:.1f} |")
    return "\n".join(lines)


def speed(path: Path, images: int, share: float) -> str:
    """Seconds and peak memory of a reconstruction of a model file on made-up images."""
    original = to_proto(chanc.load(path))
    x = np.random.default_rng(0).standard_normal((images, *IMAGE), dtype=np.float32)
    given = original.graph.input[0].name
    feeds = [{given: x[k : k + IMAGES_AT_ONCE]} for k in range(0, images, IMAGES_AT_ONCE)]
    small = chanc.rewrite(original, scale=share**0.5, transfer="select")
    wall, cpu = time.perf_counter(), time.process_time()
    done = chanc.reconstruct(original, small, feeds)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return f"{path.name}, {images} images: {wall:.0f} s, {cpu:.0f} s of all cores, at most {peak:.1f} GB\n{done}"


def main() -> None:
    """Print the table, or the time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="?", type=Path, help="folder of the trained networks")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--images", type=at_least(1), default=256)
    parser.add_argument("--share", type=float, default=0.5, help="of the MACs")
    parser.add_argument("--epochs", type=at_least(1), default=12)
    parser.add_argument("--speed", type=Path, metavar="MODEL")
    parser.add_argument("--out", type=target, help="write the table there")
    given = parser.parse_args()
    if given.speed is not None:
        print(speed(given.speed, given.images, given.share))
        return
    if given.models is None:
        parser.error("give a folder for the trained networks")
    require(parser, "torch", "scikit-learn")
    given.models.mkdir(exist_ok=True)
    data = load_data("digits")
    found: list[Row] = []
    for name in given.networks:
        found += rows(name, trained(name, given.models, given.epochs), data, given.images, given.share)
        print(table(found[-3:]), flush=True)
    if given.out is not None:
        given.out.write_text(table(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
