"""How the cost of each step grows with the number of nodes, and that of analysis and rewrite with the image size.

    python benchmarks/scaling.py [--nodes 1000 3000 10000 30000] [--sizes 8 224] [--kinds residual shared]
                                 [--out benchmarks/results/scaling.md]

The models are chains, 8 channels wide. "residual": blocks of convolution, BatchNorm, Relu, convolution, BatchNorm,
Add, Relu, with a Concat and a Split every tenth block; each block adds so little that the numbers stay finite at any
depth. "shared": convolution, BatchNorm, Relu, where all BatchNorms read the same four vectors, which a rewrite must
part. Times are of CPUs, the best of three (of one over 5,000 nodes). Source, module and verification are measured once,
at the first image size (`scaling_steps.py`).
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
import time
from collections.abc import Callable

import onnx
from arguments import at_least, target
from scaling_steps import steps, timed

import chanc
from chanc.analysis import analyze_model
from chanc.ir import load
from chanc.ir.normalize import normalize
from chanc.testing.graphs import Graph, Tensor

WIDTH = 8
MANY = 5000


def faint(x: Tensor, scale: float) -> Tensor:
    """BatchNormalization to numbers of about that scale."""
    near = [x.graph.vector(WIDTH, -scale, scale) for _ in range(2)]
    return x.op("BatchNormalization", *near, x.graph.vector(WIDTH), x.graph.vector(WIDTH, 0.5, 1.5))


def residual(nodes: int, size: int) -> onnx.ModelProto:
    """Residual blocks, about so many nodes, for images of size x size."""
    graph = Graph()
    x = graph.input("image", [1, 3, size, size], dynamic={0: "n"}).conv(WIDTH).bn().relu()
    block, little = 0, 7 / nodes
    while len(graph.nodes) < nodes - 5:
        block += 1
        x = (faint(x.conv(WIDTH).bn().relu().conv(WIDTH), little) + x).relu()
        if block % 10 == 0:
            left, right = x.split(WIDTH // 2, WIDTH // 2)
            x = faint(left.concat(right.conv(WIDTH // 2, 1)).conv(WIDTH, 1), little) + x
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


def measure(kind: str, nodes: int, size: int, whole: bool) -> str:
    """A row: microseconds a node; those of PyTorch and onnxruntime only where the `whole` is asked for."""
    proto = KINDS[kind](nodes, size)
    loading, loaded = timed(lambda: load(proto))
    normalize(loaded)
    count = len(proto.graph.node)
    repeats = 3 if nodes <= MANY else 1
    analysis = best(lambda: analyze_model(loaded), repeats)
    groups = len(analyze_model(loaded).groups)
    if whole:
        found = steps(loaded)
        print(f"{kind}, {count} nodes: {found.verdict}", flush=True)
        rest = found.columns(count)
    else:
        rest = [f"{best(lambda: chanc.rewrite(loaded, scale=0.5), repeats) / count * 1e6:.0f}", *[""] * 5]
    cells = [kind, count, size, groups, f"{loading / count * 1e6:.0f}", f"{analysis / count * 1e6:.0f}", *rest]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=at_least(10), nargs="*", default=[1000, 3000, 10000, 30000])
    parser.add_argument("--sizes", type=at_least(8), nargs="*", default=[8, 224])
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", type=target)
    args = parser.parse_args()
    steps(load(residual(100, 8)))  # imports, and what is read once
    lines = [
        "# Scaling: nodes and image size", "", f"`python benchmarks/scaling.py {shlex.join(sys.argv[1:])}`", "",
        "Microseconds of CPU a node, on a shared machine: the best of three (one over 5,000 nodes) of analyses; once "
        "what follows. The rewrite is that of a loaded model to half its widths, both analyses included; the source is "
        "PyTorch's text; the module is that text compiled and constructed (`PyTorch`, which is Python's compiler and "
        "`torch.nn`'s constructors) and its weights put in; the verification compares rewritten and original, and "
        "`onnxruntime` is what sessions and runs take of that.", "",
        "| kind | nodes | image | groups | load | analysis | rewrite | source | module | of it PyTorch | verification "
        "| of it onnxruntime |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for kind, nodes, size in itertools.product(args.kinds, args.nodes, args.sizes):
        lines.append(measure(kind, nodes, size, size == args.sizes[0]))
        print(lines[-1], flush=True)
    if args.out:
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
