"""What the check of a rewrite costs beside the rewrite, on networks of more than 50 million params.

    python benchmarks/verification.py MODELS [--networks vgg16 ...] [--repeats 3] [--out FILE.md]

vgg16 and wide_resnet50_2 are made on the spot, vit_b_16 is torchvision's as an ONNX file (`tv_vit_b_16.ts.onnx`, or a
skeleton `.onnx.gz`); no weights are trained. All widths are halved from file to file, in turn: by `chanc rewrite` with
and without `--no-verify`, as whole processes, and in this one. Figures are CPU time of all threads.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import onnx
from arguments import at_least, folder, target
from startup import cpu_seconds

import chanc
from chanc.ir import check, load, save
from chanc.oracles import judge
from chanc.testing.graphs import Graph, Tensor
from chanc.testing.skeletons import open_model

SCALE = 1.9
"""Of the random weights: such that half of the channels still tell one image from another, as trained ones do."""

PARTS = ("runs", "sessions", "twins", "comparing", "float64")


class Turn(NamedTuple):
    """Seconds of CPU: of the command without and with its check; of a rewrite in this process, and of its check alone.

    shares: what the check's time on the clock went to. found: what it found.
    """

    command: float
    checked: float
    rewrite: float
    check: float
    shares: dict[str, float]
    found: str

    @property
    def adds(self) -> float:
        """How many times the command's time the check adds to it."""
        return self.checked / self.command - 1


def vgg16() -> onnx.ModelProto:
    """VGG of 13 convolutions and three linear layers (Simonyan & Zisserman 2015), images of 224 x 224."""
    graph = Graph(opset=17, scale=SCALE)
    x = graph.input("image", [2, 3, 224, 224], dynamic={0: "N"})
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            x = x.conv(width).relu()
        x = x.pool()
    return graph.model(x.flatten().gemm(4096).relu().gemm(4096).relu().gemm(1000))


def wide_resnet50_2() -> onnx.ModelProto:
    """ResNet-50 with bottlenecks twice as wide inside (Zagoruyko & Komodakis 2016), images of 224 x 224."""
    graph = Graph(opset=17, scale=SCALE)
    x = graph.input("image", [2, 3, 224, 224], dynamic={0: "N"})
    x = x.conv(64, kernel=7, stride=2, bias=False).bn().relu().pool()
    for stage, count in enumerate((3, 4, 6, 3)):
        for block in range(count):
            x = bottleneck(x, 128 << stage, stride=2 if stage and not block else 1, project=not block)
    return graph.model(x.gap().flatten().gemm(1000))


def bottleneck(x: Tensor, inside: int, *, stride: int, project: bool) -> Tensor:
    """Three convolutions, out to twice the width inside, and a residual."""
    y = x.conv(inside, kernel=1, bias=False).bn().relu()
    y = y.conv(inside, stride=stride, bias=False).bn().relu().conv(2 * inside, kernel=1, bias=False).bn()
    return ((x.conv(2 * inside, kernel=1, stride=stride, bias=False).bn() if project else x) + y).relu()


def vit_b_16(models: Path) -> onnx.ModelProto:
    """The file, or the skeleton."""
    file = models / "tv_vit_b_16.ts.onnx"
    return onnx.load(file) if file.exists() else open_model(file.with_name(f"{file.name}.gz"))


def turn(path: Path, out: Path) -> Turn:
    """Halve all widths, without and with a check of the result, as commands and in this process."""
    place = path.parent
    halve = ["-m", "chanc", "rewrite", path.name, "--scale", "0.5", "--force", "-o", out.name]
    command, checked = cpu_seconds([*halve, "--no-verify"], place), cpu_seconds(halve, place)
    start = time.process_time()
    model = load(path)
    check(model)
    made = chanc.rewrite(model, scale=0.5)
    save(made.model, out)
    done = time.process_time()
    check(made.model)
    verdict = judge(model, made.model, trace=made.trace)
    spent = time.process_time() - done
    if verdict.agrees is not True:
        raise SystemExit(f"{path.name}: {verdict}")
    whole = sum(verdict.seconds.values())
    shares = {what: part / whole for what, part in verdict.seconds.items()}
    return Turn(command, checked, done - start, spent, shares, str(verdict))


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def row(name: str, params: int, turns: list[Turn]) -> str:
    shares = [statistics.median(one.shares.get(part, 0.0) for one in turns) for part in PARTS]
    columns = [(one.command, one.checked, one.adds, one.rewrite, one.check, one.check / one.rewrite) for one in turns]
    figures = [spread([*column]) for column in zip(*columns, strict=True)]
    return f"| {name} | {params / 1e6:.0f} M | {' | '.join(figures)} | {' | '.join(f'{s:.0%}' for s in shares)} |"


def report(found: dict[str, tuple[int, list[Turn]]], command: str) -> str:
    """The table as markdown."""
    names = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "onnx", "onnx-ir", "numpy"))
    repeats = len(next(iter(found.values()))[1])
    lines = [
        "# The check of a rewrite", "",
        f"`{command}`", "",
        f"Python {platform.python_version()}, {names}; {os.cpu_count()} CPU cores, shared with other work. Seconds of",
        f"CPU, all threads, median and range of {repeats} turns. A rewrite's own time is that of the command with",
        "`--no-verify`: it starts, reads, cuts, writes, and notes what it read (SHA-256) and did. What the check adds",
        "is the rest of the command without that option, as a multiple. In one process a rewrite is from file to file,",
        "without the start and the SHA-256, and the check comes after it. Shares are of the check's time on the clock:",
        "runs are of two samples; sessions are models copied and loaded by onnxruntime; twins is what makes the models",
        "that are compared: zeroed, rewritten and analysed. Weights of files of 512 MB and more are cut when they are",
        "asked for: in the command once, by the check if there is one, else in saving; here twice, the second time in",
        "the check.", "",
        f"| network | params | command, s | with check, s | check adds | in one process: rewrite, s | check, s "
        f"| check / rewrite | {' | '.join(PARTS)} |",
        f"|{'---|' * (8 + len(PARTS))}",
        *(row(name, params, turns) for name, (params, turns) in found.items()), "",
        *(f"- {name}: {turns[-1].found}" for name, (_, turns) in found.items()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    makers: dict[str, Callable[[Path], onnx.ModelProto]] = {
        "vgg16": lambda _: vgg16(), "wide_resnet50_2": lambda _: wide_resnet50_2(), "vit_b_16": vit_b_16,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=folder)
    parser.add_argument("--networks", nargs="*", choices=makers, metavar="NETWORK", default=list(makers))
    parser.add_argument("--repeats", type=at_least(1), default=3)
    parser.add_argument("--out", type=target)
    args = parser.parse_args()
    found: dict[str, tuple[int, list[Turn]]] = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        onnx.save(small(), place / "small.onnx")
        turn(place / "small.onnx", place / "out.onnx")  # imports what is needed
        for network in args.networks:
            onnx.save(makers[network](args.models), place / "model.onnx")
            params = sum(value.const_value.size for value in load(place / "model.onnx").graph.initializers.values()
                         if value.const_value is not None)  # fmt: skip
            found[network] = params, [turn(place / "model.onnx", place / "out.onnx") for _ in range(args.repeats)]
            print(row(network, *found[network]), flush=True)
    text = report(found, f"python benchmarks/verification.py MODELS --repeats {args.repeats}")
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text)


def small() -> onnx.ModelProto:
    """A network that costs nothing."""
    graph = Graph(opset=17)
    return graph.model(graph.input("image", [2, 3, 8, 8], dynamic={0: "N"}).conv(8).relu().conv(4))


if __name__ == "__main__":
    main()
