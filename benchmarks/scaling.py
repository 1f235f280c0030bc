"""How the cost of analysis and rewrite grows with the number of nodes and with the image size.

    python benchmarks/scaling.py [--nodes 1000 3000 10000 30000] [--sizes 32 224] [--kinds residual shared]
                                 [--out benchmarks/results/scaling.md]

The models are chains, 16 channels wide. "residual": blocks of convolution, BatchNorm, Relu, convolution, BatchNorm,
Add, Relu, with a Concat and a Split every tenth block. "shared": convolution, BatchNorm, Relu, where all BatchNorms
read the same four vectors, which a rewrite must part. Seconds are CPU time, the best of three (of one over 5,000
nodes).
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import onnx
from arguments import at_least, target

import chanc
from chanc.analysis import analyze_model
from chanc.ir import load
from chanc.ir.normalize import normalize
from chanc.testing.graphs import Graph

WIDTH = 16
MANY = 5000


def residual(nodes: int, size: int) -> onnx.ModelProto:
    """Residual blocks, about so many nodes, for images of size x size."""
    graph = Graph()
    x = graph.input("image", [1, 3, size, size], dynamic={0: "n"}).conv(WIDTH).bn().relu()
    block = 0
    while len(graph.nodes) < nodes - 5:
        block += 1
        x = (x.conv(WIDTH).bn().relu().conv(WIDTH).bn() + x).relu()
        if block % 10 == 0:
            left, right = x.split(WIDTH // 2, WIDTH // 2)
            x = left.concat(right.conv(WIDTH // 2, 1)).conv(WIDTH, 1)
    return graph.model(x.gap().flatten().gemm(10))


def shared(nodes: int, size: int) -> onnx.ModelProto:
    """A plain chain of about so many nodes whose norms share their vectors."""
    graph = Graph()
    x = graph.input("image", [1, 3, size, size], dynamic={0: "n"})
    vectors = [graph.vector(WIDTH, 0.5, 1.5) for _ in range(4)]
    while len(graph.nodes) < nodes - 5:
        x = x.conv(WIDTH).op("BatchNormalization", *vectors).relu()
    return graph.model(x.gap().flatten().gemm(10))


KINDS = {"residual": residual, "shared": shared}


def best(function: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def measure(kind: str, nodes: int, size: int) -> str:
    proto = KINDS[kind](nodes, size)
    loaded = load(proto)
    normalize(loaded)
    count = len(proto.graph.node)
    repeats = 3 if nodes <= MANY else 1
    analysis = best(lambda: analyze_model(loaded), repeats)
    whole = best(lambda: chanc.rewrite(load(proto), scale=0.5), repeats)
    groups = len(analyze_model(loaded).groups)
    return (f"| {kind} | {count} | {size} | {groups} | {analysis:.3f} | {analysis / count * 1e6:.0f} "
            f"| {whole:.3f} | {whole / count * 1e6:.0f} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=at_least(10), nargs="*", default=[1000, 3000, 10000, 30000])
    parser.add_argument("--sizes", type=at_least(8), nargs="*", default=[32, 224])
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", type=target)
    args = parser.parse_args()
    lines = [
        "# Scaling: nodes and image size", "", "`python benchmarks/scaling.py`", "",
        "Chains, residual or of shared constants; CPU time, best of three (one over 5,000 nodes), on a shared machine.",
        "",
        "| kind | nodes | image | groups | `analyze_model`, s | µs a node | load + rewrite to half, s | µs a node |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for kind, nodes, size in itertools.product(args.kinds, args.nodes, args.sizes):
        lines.append(measure(kind, nodes, size))
        print(lines[-1], flush=True)
    if args.out:
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
