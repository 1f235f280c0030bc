"""Rank and QC of ResNet34's convolutions, both modes: chanc's EVBMF of all layers at once, layer by layer, and one SVD
a matrix, run in turn.

    python benchmarks/evbmf.py [--base-width 64] [--repeats 3] [--output benchmarks/results/evbmf.md]

The SVD-based ones do what EVBMF is usually written as: unfold, SVD in float64, SciPy's bounded search of sigma^2 a
matrix. That search may end in another minimum than the global one, so chanc's ranks are compared, before anything is
timed, with those that the SVD's values have at the global minimum. Trust the ratios; the times depend on the machine
and on what else it does.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from arguments import at_least, target
from made_up import trained
from scipy.optimize import minimize_scalar

from chanc.metrics.evbmf import solve
from chanc.metrics.quality import layers_quality
from chanc.metrics.vb import Spectra, above, bounds, free_energy

Weights = dict[str, np.ndarray]
Ranks = dict[str, tuple[int, int]]


def resnet34(base: int) -> Weights:
    """The 36 convolution weights of ResNet34 for CIFAR, float32: noise and a low-rank part, as training leaves them."""
    shapes = [("stem", base, 3, 3)]
    before = base
    for stage, depth in enumerate((3, 4, 6, 3)):
        width = base * 2**stage
        for block in range(depth):
            name = f"layer{stage + 1}.{block}"
            shapes += [(f"{name}.conv1", width, before, 3), (f"{name}.conv2", width, width, 3)]
            if width != before:
                shapes.append((f"{name}.shortcut", width, before, 1))
            before = width
    return {name: trained(np.random.default_rng(i), *shape) for i, (name, *shape) in enumerate(shapes)}


def batched(weights: Weights) -> Ranks:
    found = layers_quality(weights)
    return {
        k: (round(q.in_rank * weights[k].shape[1]), round(q.out_rank * weights[k].shape[0])) for k, q in found.items()
    }


def layer_by_layer(weights: Weights) -> Ranks:
    return {k: rank for k, weight in weights.items() for rank in batched({k: weight}).values()}


def each_mode(weights: Weights, rank: Callable[[np.ndarray], int]) -> Ranks:
    found = {}
    for name, weight in weights.items():
        outer, inner = weight.shape[:2]
        into, out = weight.swapaxes(0, 1).reshape(inner, -1), weight.reshape(outer, -1)
        found[name] = rank(into.astype(np.float64)), rank(out.astype(np.float64))
    return found


def globally(matrix: np.ndarray) -> int:
    values = np.linalg.svd(matrix, compute_uv=False)
    norm = np.linalg.norm(values)
    return solve([values / norm], norm[None], [matrix.shape])[0].rank


def with_vectors(matrix: np.ndarray) -> int:
    return by_brent(np.linalg.svd(matrix, full_matrices=False)[1], matrix.shape)


def values_only(matrix: np.ndarray) -> int:
    return by_brent(np.linalg.svd(matrix, compute_uv=False), matrix.shape)


def by_brent(values: np.ndarray, sides: tuple[int, ...]) -> int:
    small, large = sorted(sides)
    only = np.array([0])
    spectrum = Spectra(values**2 / (values**2).sum() / large, np.array([small]), np.array([large]))
    low, high = (float(bound[0]) for bound in bounds(spectrum))
    answer = minimize_scalar(
        lambda v: free_energy(spectrum, only, np.array([v]))[0],
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-9 * high},
    )
    return int(above(spectrum, only, np.array([answer.x]))[0])


RUNS: dict[str, Callable[[Weights], Ranks]] = {
    "chanc, all layers at once": batched,
    "chanc, layer by layer": layer_by_layer,
    "SVD with vectors": lambda weights: each_mode(weights, with_vectors),
    "SVD, values only": lambda weights: each_mode(weights, values_only),
}


def measure(weights: Weights, repeats: int) -> dict[str, list[float]]:
    """Seconds of each run, taken in turn so that all meet the same load."""
    seconds: dict[str, list[float]] = {name: [] for name in RUNS}
    for _ in range(repeats):
        for name, run in RUNS.items():
            begun = time.perf_counter()
            run(weights)
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def report(seconds: dict[str, list[float]], weights: Weights, threads: str) -> str:
    ours = seconds["chanc, all layers at once"]
    largest = max((w.shape[0] * w[0].size, w.shape) for w in weights.values())[1]
    lines = [
        "# EVBMF of ResNet34's convolutions, both modes",
        "",
        f"{len(weights)} weights, largest {list(largest)}, float32; NumPy {np.__version__}, BLAS threads: {threads}.",
        "Runs were taken in turn; a ratio is the median over the turns of (time) / (time of all layers at once).",
        "chanc's ranks of all weights in both modes are those that the SVD's values have at the global minimum.",
        "",
        f"Command: `python {shlex.join(sys.argv)}`",
        "",
        "| | median s | best s | ratio |",
        "|---|---|---|---|",
    ]
    for name, times in seconds.items():
        ratio = statistics.median(other / own for other, own in zip(times, ours, strict=True))
        lines.append(f"| {name} | {statistics.median(times):.3f} | {min(times):.3f} | {ratio:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-width", type=at_least(1), default=64)
    parser.add_argument("--repeats", type=at_least(1), default=3)
    parser.add_argument("--output", type=target)
    options = parser.parse_args()
    weights = resnet34(options.base_width)
    found, expected = batched(weights), each_mode(weights, globally)
    if found != expected:
        raise SystemExit(f"other ranks: {[(k, found[k], expected[k]) for k in found if found[k] != expected[k]]}")
    text = report(measure(weights, options.repeats), weights, os.environ.get("OMP_NUM_THREADS", "NumPy's default"))
    print(text)
    if options.output:
        partial = options.output.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(options.output)


if __name__ == "__main__":
    main()
