"""How the cost of each step grows with the number of nodes, and that of analysis and rewrite with the image size.

    python benchmarks/scaling.py [--nodes 1000 10000 100000] [--sizes 8 224] [--kinds residual shared dense bodies]
                                 [--verified 20000] [--out benchmarks/results/scaling.md]

The models are chains, 8 channels wide. "residual": blocks of convolution, BatchNorm, Relu, convolution, BatchNorm,
Add, Relu, with a Concat and a Split every tenth block; each block adds so little that the numbers stay finite at any
depth. "shared": convolution, BatchNorm, Relu, where all BatchNorms read the same four vectors, which a rewrite must
part. "dense": blocks of 16 convolutions that each read all that came before them in their block. "bodies":
convolutions in branches of an If, in the body of a Loop, and in a function of the model, residual as well. Nodes are
counted in the normal form, those of bodies too. Times are of CPUs, the best of three (of one over 5,000 nodes). Source,
module and verification are measured once, at the first image size (`scaling_steps.py`), verification up to --verified
nodes: beyond, onnxruntime takes too long to open a session.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import onnx
from arguments import at_least, target
from scaling_steps import steps

import chanc
from chanc.analysis import analyze_model
from chanc.ir import load
from chanc.ir.nodes import nodes_of
from chanc.ir.normalize import normalize
from chanc.testing.graphs import Graph, Tensor

WIDTH = 8
DOMAIN = "example"
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


def dense(nodes: int, size: int) -> onnx.ModelProto:
    """DenseNet's blocks of 16 layers, each followed by a convolution back to the first width."""
    graph = Graph()
    x = graph.input("image", [1, 3, size, size], dynamic={0: "n"}).conv(WIDTH)
    while len(graph.nodes) < nodes - 5:
        parts = [x]
        for _ in range(16):
            joined = parts[0].concat(*parts[1:]) if len(parts) > 1 else x
            parts.append(joined.bn().relu().conv(WIDTH // 2))
        x = parts[0].concat(*parts[1:]).conv(WIDTH, 1)
    return graph.model(x.gap().flatten().gemm(10))


def bodies(nodes: int, size: int) -> onnx.ModelProto:
    """Residual blocks of an If, a Loop or a call of a function in turn, between two convolutions."""
    graph = Graph()
    x = graph.input("image", [1, 3, size, size], dynamic={0: "n"})
    choice = graph.input("choice", [], dtype=onnx.TensorProto.BOOL)
    turns = graph.constant(np.array(2))
    x, block, little = x.conv(WIDTH), 0, 7 / nodes
    while 20 * block < 3 * (nodes - 5):  # 20 nodes in three blocks
        block += 1
        y = x.conv(WIDTH)
        if block % 3 == 0:
            y = graph.node("Gate", [y], domain=DOMAIN, shapes=[y.shape])[0]
        else:
            y = _held(y, f"block_{block}", turns if block % 3 == 1 else choice)
        x = faint(y.conv(WIDTH), little) + x
    model = graph.model(x.gap().flatten().gemm(10))
    gate = [
        onnx.helper.make_node("Sigmoid", ["x"], ["s"]),
        onnx.helper.make_node("Mul", ["x", "s"], ["y"]),
    ]
    opset = [onnx.helper.make_opsetid("", graph.opset)]
    model.functions.append(onnx.helper.make_function(DOMAIN, "Gate", ["x"], ["y"], gate, opset))
    return model


def _held(x: Tensor, name: str, given: Tensor) -> Tensor:
    """A convolution in the body of a Loop of so many turns, or, where what is given is a choice, in a branch."""
    graph, loops = x.graph, given.dtype == onnx.TensorProto.INT64
    kernel = graph.weight(WIDTH, WIDTH, 3, 3, fan_in=9 * WIDTH)
    inside = f"{name}.x" if loops else x.name
    made = onnx.helper.make_node("Conv", [inside, kernel.name], [f"{name}.y"], pads=[1, 1, 1, 1])
    if loops:
        body = _body(name, [f"{name}.go", f"{name}.y"], made, x, [f"{name}.i", f"{name}.on", inside])
        node = onnx.helper.make_node("Loop", [given.name, "", x.name], [name], name=name, body=body)
    else:
        other = onnx.helper.make_node("Relu", [x.name], [f"{name}.z"])
        branches = _body(name, [f"{name}.y"], made, x), _body(name, [f"{name}.z"], other, x)
        bodies = dict(zip(("then_branch", "else_branch"), branches, strict=True))
        node = onnx.helper.make_node("If", [given.name], [name], name=name, **bodies)
    graph.nodes.append(node)
    return Tensor(graph, name, x.shape, x.dtype)


def _body(
    name: str, outputs: list[str], made: onnx.NodeProto, like: Tensor, inputs: Sequence[str] = ()
) -> onnx.GraphProto:
    """A graph of one node; a Loop's has a number, whether to go on, and what is carried for inputs."""

    def value(name: str, of: int = like.dtype, shape: Sequence[int | None] | None = None) -> onnx.ValueInfoProto:
        return onnx.helper.make_tensor_value_info(name, of, shape)

    nodes, given = [made], []
    results = [value(outputs[-1])]
    if inputs:
        nodes.append(onnx.helper.make_node("Identity", [inputs[1]], [outputs[0]]))
        given = [value(inputs[0], onnx.TensorProto.INT64, []), value(inputs[1], onnx.TensorProto.BOOL, [])]
        given.append(value(inputs[2], shape=[None, *like.shape[1:]]))
        results.insert(0, value(outputs[0], onnx.TensorProto.BOOL, []))
    return onnx.helper.make_graph(nodes, name, given, results)


KINDS = {"residual": residual, "shared": shared, "dense": dense, "bodies": bodies}


def best(function: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def measure(kind: str, nodes: int, size: int, whole: bool, verified: int) -> str:
    """A row: microseconds a node; those of PyTorch only where the `whole` is asked for, the check up to `verified`."""
    proto = KINDS[kind](nodes, size)
    loaded = load(proto)
    normalize(loaded)
    count = sum(1 for _ in nodes_of(loaded.graph))
    repeats = 3 if nodes <= MANY else 1
    opened = best(lambda: normalize(load(proto)), repeats)
    analysis = best(lambda: analyze_model(loaded), repeats)
    groups = len(analyze_model(loaded).groups)
    if whole:
        found = steps(loaded, nodes <= verified)
        print(f"{kind}, {count} nodes: {found.verdict}", flush=True)
        rest = found.columns(count)
    else:
        rest = [f"{best(lambda: chanc.rewrite(loaded, scale=0.5), repeats) / count * 1e6:.0f}", *[""] * 6]
    cells = [kind, count, size, groups, f"{opened / count * 1e6:.0f}", f"{analysis / count * 1e6:.0f}", *rest]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=at_least(10), nargs="*", default=[1000, 10000, 100000])
    parser.add_argument("--sizes", type=at_least(8), nargs="*", default=[8, 224])
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--verified", type=at_least(0), default=20000)
    parser.add_argument("--out", type=target)
    args = parser.parse_args()
    steps(load(residual(100, 8)), True)  # imports, and what is read once
    lines = [
        "# Scaling: nodes and image size", "", f"`python benchmarks/scaling.py {shlex.join(sys.argv[1:])}`", "",
        "Microseconds of CPU a node, on a shared machine: the best of three (one over 5,000 nodes) of analyses; once "
        "what follows. The rewrite is that of a loaded model to half its widths, both analyses included; the source is "
        "PyTorch's text; the module is that text compiled and constructed (`PyTorch`, which is Python's compiler and "
        "`torch.nn`'s constructors) and its weights put in; the verification compares rewritten and original, `chanc` "
        "is what it takes besides onnxruntime, which opens sessions of both (and of twins, where little of the input "
        "comes through) and runs them.", "",
        "| kind | nodes | image | groups | load, normal form | analysis | rewrite | source | module | of it PyTorch "
        "| verification | chanc | sessions | runs |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for kind, nodes, size in itertools.product(args.kinds, args.nodes, args.sizes):
        lines.append(measure(kind, nodes, size, size == args.sizes[0], args.verified))
        print(lines[-1], flush=True)
    if args.out:
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
