"""Which models become PyTorch, and how near to onnxruntime they compute: `python benchmarks/coverage.py FOLDER...`.

Each model is emitted, built and run in eval mode in float32. The error is the largest difference of any output from
onnxruntime's, relative to the largest entry of that output. Public converters run beside it where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnx
import torch
from arguments import models, target

from chanc.analysis.infer_shapes import infer_shapes
from chanc.backends.ort.run import session
from chanc.backends.torch import build
from chanc.files import atomic_write_text
from chanc.ir import load
from chanc.ir.normalize import normalize

TOLERANCE = 1e-4


@dataclass
class Row:
    """What was measured of one model."""

    name: str
    opset: int
    nodes: int
    error: dict[str, float | str] = field(default_factory=dict)
    """Converter -> error, or why there is none."""
    lines: int = 0
    seconds: float = 0.0


def page(shape: list[int], generator: np.random.Generator) -> np.ndarray:
    """Dark strokes in rows on a light ground, with noise: on plain noise a text detector says nothing anywhere.

    Its outputs are then near 1e-8, below the rounding of onnxruntime's own Sigmoid, and a relative error means nothing.
    """
    image = np.full(shape, 2.0)
    rows, columns = (2, 3) if shape[1] <= 4 else (1, 2)
    image = np.moveaxis(image, (rows, columns), (0, 1))
    for top in range(8, image.shape[0] - 16, 24):
        for left in range(8, image.shape[1] - 8, 6):
            if generator.random() < 0.8:
                image[top : top + 12, left : left + 2 + int(generator.integers(3))] = -2.0
    return np.moveaxis(image, (0, 1), (rows, columns)) + 0.1 * generator.standard_normal(shape)


def feeds_for(opened: Any, size: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    feeds = {}
    for value in opened.get_inputs():
        known = [d if isinstance(d, int) and d > 0 else None for d in value.shape]
        shape = [d or (2 if axis == 0 else size) for axis, d in enumerate(known)]
        if "float" in value.type:
            numbers = (
                page(shape, generator) if len(shape) == 4 and min(shape[1:3]) > 0 else generator.standard_normal(shape)
            )
            feeds[value.name] = numbers.astype(np.float32)
        else:
            feeds[value.name] = generator.integers(0, 2, shape).astype(np.int64)
    return feeds


def difference(module: torch.nn.Module, feeds: dict[str, np.ndarray], wanted: list[np.ndarray]) -> float | str:
    with torch.no_grad():
        found = module.eval()(*[torch.from_numpy(array) for array in feeds.values()])
    found = [found] if isinstance(found, torch.Tensor) else list(found)
    worst = 0.0
    for ours, theirs in zip(found, wanted, strict=True):
        if tuple(ours.shape) != theirs.shape:
            return f"shape {tuple(ours.shape)}, not {theirs.shape}"
        gap = float(np.abs(ours.double().numpy() - theirs).max() / max(np.abs(theirs.astype(np.float64)).max(), 1e-12))
        worst = worst if gap <= worst else gap
    return worst


def ours(path: Path) -> tuple[torch.nn.Module, int]:
    model = load(path)
    normalize(model)
    infer_shapes(model)
    built = build(model)
    return built.module, built.source.count("\n")


def public_converters() -> dict[str, Callable[[Path], torch.nn.Module]]:
    found: dict[str, Callable[[Path], torch.nn.Module]] = {}
    if importlib.util.find_spec("torchvision") is None:
        return found
    if importlib.util.find_spec("onnx2torch") is not None:
        from onnx2torch import convert

        found["onnx2torch"] = lambda path: convert(str(path))
    if importlib.util.find_spec("onnx2pytorch") is not None:
        from onnx2pytorch import ConvertModel

        found["onnx2pytorch"] = lambda path: ConvertModel(onnx.load(str(path)))
    return found


def measure(path: Path, others: dict[str, Callable[[Path], torch.nn.Module]]) -> Row:
    proto = onnx.load(str(path), load_external_data=False)
    opset = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    row = Row(path.stem, opset, len(proto.graph.node))
    opened = session(path, threads=1)
    wanted, feeds = None, {}
    for size in (96, 224, 32, 640):
        try:
            feeds = feeds_for(opened, size)
            wanted = opened.run(None, feeds)
            break
        except Exception:  # onnxruntime has a class of its own for each kind of failure
            continue
    if wanted is None:
        row.error["chanc"] = "onnxruntime does not run it"
        return row
    start = time.perf_counter()
    try:
        module, row.lines = ours(path)
        row.seconds = time.perf_counter() - start
        row.error["chanc"] = difference(module, feeds, wanted)
    except Exception as error:
        row.error["chanc"] = f"{type(error).__name__}: {error}"[:120]
    for name, convert in others.items():
        try:
            row.error[name] = difference(convert(path), feeds, wanted)
        except Exception as error:
            row.error[name] = type(error).__name__
    return row


def report(rows: list[Row], others: list[str]) -> str:
    def good(row: Row, name: str) -> bool:
        error = row.error.get(name)
        return isinstance(error, float) and error <= TOLERANCE

    def cell(row: Row, name: str) -> str:
        error = row.error.get(name, "")
        return f"{error:.0e}" if isinstance(error, float) else str(error).replace("|", "/")

    names = ["chanc", *others]
    lines = ["# Coverage of the PyTorch backend", ""]
    lines += [
        "Made by `benchmarks/coverage.py`. Error: largest difference from onnxruntime of any output in eval mode,",
        "float32, relative to the largest entry of that output. Images are dark strokes on a light ground with noise.",
        "",
    ]
    for name in names:
        count = sum(good(row, name) for row in rows)
        lines.append(
            f"- {name}: {count} of {len(rows)} convert and agree within {TOLERANCE:g} ({count / len(rows):.0%})"
        )
    if not others:
        lines.append(
            "- onnx2torch, onnx2pytorch: not installable here (both need torchvision), so not run on these files"
        )
    lines += [
        "",
        f"| model | opset | nodes | {' | '.join(names)} | lines of model.py | seconds |",
        "|---" * (5 + len(names)) + "|",
    ]
    for row in rows:
        cells = " | ".join(cell(row, name) for name in names)
        lines.append(f"| {row.name} | {row.opset} | {row.nodes} | {cells} | {row.lines} | {row.seconds:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=models)
    parser.add_argument("--out", type=target, default=Path(__file__).with_name("coverage.md"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    others = public_converters()
    rows = []
    for path in sorted(path for folder in args.folders for path in folder.glob("*.onnx")):
        rows.append(measure(path, others))
        print(rows[-1].name, rows[-1].error, flush=True)
    atomic_write_text(args.out, report(rows, list(others)))


if __name__ == "__main__":
    main()
