"""chanc beside Torch-Pruning and onnxsim: finding channel groups, and halving all widths, on the same networks.

Install beside chanc: torch-pruning==1.6.1 onnxsim==0.8.1. Models are torchvision networks as ONNX files with BatchNorm
kept (`tv_NAME.ts.onnx`, or skeletons `.onnx.gz`, whose weights are made up). Torch-Pruning gets a PyTorch twin: for
ConvNeXt and ViT the one in `twins.py`, for all others the module that chanc makes from the same file.

    python benchmarks/pruning.py MODELS [--networks resnet50 ...] [--repeats 5] [--out benchmarks/results/pruning.md]

Times are medians of repeated runs on one thread, in one process, the tools in turn.
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
from typing import Any

import onnx

import chanc
from chanc.analysis import analyze_model
from chanc.ir import load, save
from chanc.passes.normalize import normalize
from chanc.testing.skeletons import open_model

NETWORKS = ("resnet50", "densenet121", "densenet201", "mobilenet_v3_large", "efficientnet_b0", "regnet_y_400mf",
            "convnext_tiny", "vit_b_16")  # fmt: skip
Row = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
LAYERS = ("Conv", "Gemm", "MatMul", "Transpose")


def median_time(function: Callable[[], object], repeats: int) -> float:
    """The median of so many runs, after one to warm up where there are several. Seconds."""
    if repeats > 1:
        function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def chanc_numbers(path: Path, folder: Path, repeats: int) -> dict[str, Any]:
    """Groups of a loaded model; a rewrite from file to file."""
    model = load(path)
    normalize(model)
    out = folder / "chanc.onnx"
    opened = time.perf_counter()
    normalized = load(path)
    normalize(normalized)
    opened = time.perf_counter() - opened

    def whole() -> None:
        save(chanc.rewrite(load(path), scale=0.5).model, out)

    analysis = median_time(lambda: analyze_model(model), repeats)
    return {"analysis": analysis, "opened": opened, "whole": median_time(whole, repeats), "layers": changed(path, out)}


def onnxsim_numbers(path: Path, folder: Path, repeats: int) -> dict[str, Any]:
    """simplify (which folds BatchNorm, as its pruning asks for) and prune, from file to file."""
    import onnxsim

    out = folder / "onnxsim.onnx"
    parts: dict[str, list[float]] = {"simplify": [], "prune": []}

    def whole() -> None:
        start = time.perf_counter()
        simple, _ = onnxsim.simplify(onnx.load(path))
        middle = time.perf_counter()
        onnx.save(onnxsim.apply_structured_pruning(simple, sparsity=0.5), out)
        parts["simplify"].append(middle - start)
        parts["prune"].append(time.perf_counter() - middle)

    seconds = median_time(whole, repeats)
    medians = {key: statistics.median(found) for key, found in parts.items()}
    simple = folder / "simple.onnx"
    onnx.save(onnxsim.simplify(onnx.load(path))[0], simple)
    return {"whole": seconds, **medians, "layers": changed(simple, out)}


def torch_pruning_numbers(path: Path, network: str, repeats: int) -> dict[str, Any]:
    """build_dependency; a magnitude pruner made and stepped once, in memory, without loading."""
    import torch
    import torch_pruning
    from twins import TWINS

    from chanc.backends.torch import build

    torch.set_num_threads(1)

    def twin() -> torch.nn.Module:
        return TWINS[network]().eval() if network in TWINS else build(load(path)).module.eval()

    module, image = twin(), torch.randn(1, 3, 224, 224)

    def depend() -> None:
        torch_pruning.DependencyGraph().build_dependency(module, example_inputs=image)

    analysis = median_time(depend, repeats)
    times = []
    for _ in range(1 if network == "densenet201" else min(repeats, 3)):
        module = twin()
        linear = [m for m in module.modules() if isinstance(m, torch.nn.Linear)]
        heads = {m: m.num_heads for m in module.modules() if isinstance(m, torch.nn.MultiheadAttention)}
        before = weights(module)
        start = time.perf_counter()
        pruner = torch_pruning.pruner.MagnitudePruner(
            module, image, importance=torch_pruning.importance.MagnitudeImportance(p=2), pruning_ratio=0.5,
            ignored_layers=linear[-1:], num_heads=heads,
        )  # fmt: skip
        pruner.step()
        times.append(time.perf_counter() - start)
    after = weights(module)
    count = sum(after[name] != shape for name, shape in before.items())
    return {"analysis": analysis, "whole": statistics.median(times), "layers": (count, len(before))}


def weights(module: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of the kernels and matrices of a module."""
    return {name: tuple(p.shape) for name, p in module.named_parameters() if p.ndim in (2, 4)}


def changed(before: Path, after: Path) -> tuple[int, int]:
    """How many kernels and matrices have another shape, by name, and how many there are."""
    old, new = layer_shapes(before), layer_shapes(after)
    return sum(new.get(name, shape) != shape for name, shape in old.items()), len(old)


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
    if isinstance(value, tuple):
        return f"{value[0]} of {value[1]}"
    return f"{value:.3f}"


def ratio(other: dict[str, Any], mine: dict[str, Any], key: str) -> str:
    return f"{other[key] / mine[key]:.1f}" if key in other and key in mine else "-"


def report(rows: dict[str, Row], command: str) -> str:
    """The tables as markdown."""
    packages = ("torch", "torch-pruning", "onnxsim", "onnx", "onnx-ir", "numpy")
    names = ", ".join(f"{name} {version(name)}" for name in packages)
    lines = [
        "# Pruning: chanc, Torch-Pruning, onnxsim", "",
        f"`{command}`", "",
        f"Python {platform.python_version()}, {names}; {os.cpu_count()} CPU cores, shared with other work.",
        "Seconds, medians; read the ratios. Torch-Pruning works in memory on a PyTorch twin (ConvNeXt and ViT: ",
        "`benchmarks/twins.py`; others: the module that chanc makes from the same file); chanc and onnxsim read and",
        "write the ONNX file. onnxsim folds BatchNorm first. chanc's rewrite includes its own second analysis.",
        "", "## Channel groups of a loaded model", "",
        "| network | chanc `analyze_model` | load + normal form | Torch-Pruning `build_dependency` | times faster |",
        "|---|---|---|---|---|",
    ]
    for network, (mine, _, torch_pruning) in rows.items():
        lines.append(f"| {network} | {cell(mine, 'analysis')} | {cell(mine, 'opened')} "
                     f"| {cell(torch_pruning, 'analysis')} | {ratio(torch_pruning, mine, 'analysis')} |")  # fmt: skip
    lines += [
        "", "## All widths halved", "",
        "| network | chanc | onnxsim simplify + prune | Torch-Pruning pruner | onnxsim / chanc | Torch-Pruning / chanc |",
        "|---|---|---|---|---|---|",
    ]
    for network, (mine, sim, torch_pruning) in rows.items():
        split = f" ({sim['simplify']:.3f} + {sim['prune']:.3f})" if "simplify" in sim else ""
        lines.append(f"| {network} | {cell(mine, 'whole')} | {cell(sim, 'whole')}{split} "
                     f"| {cell(torch_pruning, 'whole')} | {ratio(sim, mine, 'whole')} "
                     f"| {ratio(torch_pruning, mine, 'whole')} |")  # fmt: skip
    lines += ["", "## Kernels and matrices that got smaller", ""]
    lines += ["| network | chanc | onnxsim | Torch-Pruning |", "|---|---|---|---|"]
    for network, found in rows.items():
        lines.append(f"| {network} | {' | '.join(cell(one, 'layers') for one in found)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    sys.path.insert(0, str(Path(__file__).parent))
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for network in args.networks:
            path = args.models / f"tv_{network}.ts.onnx"
            if not path.exists():
                path = folder / f"{network}.onnx"
                onnx.save(open_model(args.models / f"tv_{network}.ts.onnx.gz"), path)
            rows[network] = (
                attempt(lambda path=path: chanc_numbers(path, folder, args.repeats)),
                attempt(lambda path=path: onnxsim_numbers(path, folder, args.repeats)),
                attempt(lambda path=path, network=network: torch_pruning_numbers(path, network, args.repeats)),
            )
            print(network, *rows[network], flush=True)
    text = report(rows, f"python benchmarks/pruning.py MODELS --repeats {args.repeats}")
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
