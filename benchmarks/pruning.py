"""chanc beside Torch-Pruning and onnxsim: finding channel groups, and halving all widths, on the same networks.

Install beside chanc: torch-pruning==1.6.1 onnxsim==0.8.1. Models are torchvision networks as ONNX files with BatchNorm
kept (`tv_NAME.ts.onnx`, or skeletons `.onnx.gz`, whose weights are made up). Torch-Pruning gets the PyTorch twin in
`twins.py`.

    python benchmarks/pruning.py MODELS [--networks resnet50 ...] [--repeats 5] [--out benchmarks/results/pruning.md]

Times are medians of repeated runs in one process, the tools in turn, PyTorch on one thread.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import onnx
from arguments import at_least, folder, require, target

import chanc
from chanc.analysis import analyze_model
from chanc.ir import load, save
from chanc.ir.normalize import normalize
from chanc.testing.skeletons import open_model

NETWORKS = ("resnet50", "densenet121", "densenet201", "mobilenet_v3_large", "efficientnet_b0", "regnet_y_400mf",
            "convnext_tiny", "vit_b_16")  # fmt: skip
class Times(NamedTuple):
    """Seconds on the clock, and seconds of all cores."""

    wall: float
    cpu: float


Row = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
LAYERS = ("Conv", "Gemm", "MatMul", "Transpose")


def median_time(function: Callable[[], object], repeats: int) -> Times:
    """Medians of so many runs, after one to warm up where there are several: (wall, CPU of all threads), seconds."""
    if repeats > 1:
        function()
    times = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return Times(*(statistics.median(column) for column in zip(*times, strict=True)))


def chanc_numbers(path: Path, folder: Path, repeats: int) -> dict[str, Any]:
    """Groups of a loaded model; a rewrite from file to file."""
    model = load(path)
    normalize(model)
    out = folder / "chanc.onnx"
    opened = median_time(lambda: normalize(load(path)), repeats)

    def whole() -> None:
        save(chanc.rewrite(path, scale=0.5).model, out)

    analysis = median_time(lambda: analyze_model(model), repeats)
    return {"analysis": analysis, "opened": opened, "whole": median_time(whole, repeats), "layers": changed(path, out)}


def onnxsim_numbers(path: Path, folder: Path, repeats: int) -> dict[str, Any]:
    """simplify (which folds BatchNorm, as its pruning asks for) and prune, from file to file."""
    import onnxsim

    out = folder / "onnxsim.onnx"
    simple = folder / "simple.onnx"

    def simplify() -> None:
        onnx.save(onnxsim.simplify(onnx.load(path))[0], simple)

    def whole() -> None:
        onnx.save(onnxsim.apply_structured_pruning(onnxsim.simplify(onnx.load(path))[0], sparsity=0.5), out)

    simplify()
    return {"whole": median_time(whole, repeats), "layers": changed(simple, out)}


def torch_pruning_numbers(network: str, repeats: int) -> dict[str, Any]:
    """build_dependency; a magnitude pruner made and stepped once, in memory, without loading."""
    import torch
    import torch_pruning
    from twins import TWINS

    torch.set_num_threads(1)

    def twin() -> torch.nn.Module:
        return TWINS[network]().eval()

    module, image = twin(), torch.randn(1, 3, 224, 224)

    def depend() -> None:
        torch_pruning.DependencyGraph().build_dependency(module, example_inputs=image)

    analysis = median_time(depend, repeats)
    shapes: list[dict[str, tuple[int, ...]]] = []

    def whole() -> None:
        module = modules.pop()
        linear = [m for m in module.modules() if isinstance(m, torch.nn.Linear)]
        heads = {m: m.num_heads for m in module.modules() if isinstance(m, torch.nn.MultiheadAttention)}
        shapes.append(weights(module))
        pruner = torch_pruning.pruner.MagnitudePruner(
            module, image, importance=torch_pruning.importance.MagnitudeImportance(p=2), pruning_ratio=0.5,
            ignored_layers=linear[-1:], num_heads=heads,
        )  # fmt: skip
        pruner.step()
        shapes.append(weights(module))

    runs = 1 if network == "densenet201" else repeats
    modules = [twin() for _ in range(runs + 1)]
    seconds = median_time(whole, runs)
    count = sum(shapes[-1][name] != shape for name, shape in shapes[0].items())
    return {"analysis": analysis, "whole": seconds, "layers": (count, len(shapes[0]))}


def weights(module: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of the kernels and matrices of a module."""
    return {name: tuple(p.shape) for name, p in module.named_parameters() if p.ndim in (2, 4)}


def changed(before: Path, after: Path) -> tuple[int, int]:
    """How many kernels and matrices have another shape, by name, and how many there are."""
    old, new = layer_shapes(before), layer_shapes(after)
    return sum(new.get(name) != shape for name, shape in old.items()), len(old)


def layer_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the initializers that convolutions and products take, some of them through a Transpose."""
    model = onnx.load(path)
    used = {name for node in model.graph.node if node.op_type in LAYERS for name in node.input}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return {name: shape for name, shape in shapes.items() if name in used and len(shape) >= 2}


def attempt(function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The numbers, or the error as text."""
    try:
        return function()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"}


def cell(found: dict[str, Any], key: str) -> str:
    value = found.get(key)
    if value is None:
        return found.get("error", "-")
    return f"{value.wall:.3f}" if isinstance(value, Times) else f"{value[0]} of {value[1]}"


def ratio(other: dict[str, Any], mine: dict[str, Any], key: str) -> str:
    if key not in other or key not in mine:
        return "-"
    return f"{other[key].wall / mine[key].wall:.1f} ({other[key].cpu / mine[key].cpu:.1f})"


def report(rows: dict[str, Row], command: str) -> str:
    """The tables as markdown."""
    packages = ("torch", "torch-pruning", "onnxsim", "onnx", "onnx-ir", "numpy")
    names = ", ".join(f"{name} {version(name)}" for name in packages)
    lines = [
        "# Pruning: chanc, Torch-Pruning, onnxsim", "",
        f"`{command}`", "",
        f"Python {platform.python_version()}, {names}; {os.cpu_count()} CPU cores, shared with other work.",
        "Seconds on the clock, medians; ratios in brackets are of CPU time, all threads, which others disturb less.",
        "Torch-Pruning works in memory on a PyTorch twin (`benchmarks/twins.py`); chanc and onnxsim read and write the",
        "ONNX file. onnxsim folds BatchNorm first. chanc's rewrite includes its own second analysis.",
        "", "## Channel groups of a loaded model", "",
        "| network | chanc `analyze_model` | load + normal form | Torch-Pruning `build_dependency` | times faster |",
        "|---|---|---|---|---|",
    ]
    for network, (mine, _, torch_pruning) in rows.items():
        lines.append(f"| {network} | {cell(mine, 'analysis')} | {cell(mine, 'opened')} "
                     f"| {cell(torch_pruning, 'analysis')} | {ratio(torch_pruning, mine, 'analysis')} |")  # fmt: skip
    lines += [
        "", "## All widths halved", "",
        "| network | chanc | onnxsim simplify, prune | Torch-Pruning | onnxsim / chanc | Torch-Pruning / chanc |",
        "|---|---|---|---|---|---|",
    ]
    for network, (mine, sim, torch_pruning) in rows.items():
        lines.append(f"| {network} | {cell(mine, 'whole')} | {cell(sim, 'whole')} "
                     f"| {cell(torch_pruning, 'whole')} | {ratio(sim, mine, 'whole')} "
                     f"| {ratio(torch_pruning, mine, 'whole')} |")  # fmt: skip
    lines += ["", "## Kernels and matrices that got smaller", ""]
    lines += ["| network | chanc | onnxsim | Torch-Pruning |", "|---|---|---|---|"]
    for network, found in rows.items():
        lines.append(f"| {network} | {' | '.join(cell(one, 'layers') for one in found)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=folder)
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, metavar="NETWORK", default=list(NETWORKS))
    parser.add_argument("--repeats", type=at_least(1), default=5)
    parser.add_argument("--out", type=target)
    args = parser.parse_args()
    require(parser, "torch-pruning", "onnxsim")
    for network in args.networks:
        if not any((args.models / f"tv_{network}.ts.onnx{end}").exists() for end in ("", ".gz")):
            parser.error(f"{args.models} has neither tv_{network}.ts.onnx nor tv_{network}.ts.onnx.gz")
    warnings.filterwarnings("ignore")
    sys.path.insert(0, str(Path(__file__).parent))
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as name:
        inside = Path(name)
        for network in args.networks:
            path = args.models / f"tv_{network}.ts.onnx"
            if not path.exists():
                path = inside / f"{network}.onnx"
                onnx.save(open_model(args.models / f"tv_{network}.ts.onnx.gz"), path)
            rows[network] = (
                attempt(lambda path=path: chanc_numbers(path, inside, args.repeats)),
                attempt(lambda path=path: onnxsim_numbers(path, inside, args.repeats)),
                attempt(lambda network=network: torch_pruning_numbers(network, args.repeats)),
            )
            print(network, *rows[network], flush=True)
    text = report(rows, f"python benchmarks/pruning.py MODELS --repeats {args.repeats}")
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
