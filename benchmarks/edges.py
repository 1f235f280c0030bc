"""The four ways to let a consumer read a part of a tensor, side by side in onnxruntime.

    python benchmarks/edges.py [--repeats 100] [--threads 1] [--output benchmarks/results/edges.md]

Two consumers read one tensor of C channels, each its own share of them. Where all read the same the producer makes no
more ("producer"); else each reads a slice of a producer whose channels are in a fitting order, or gathers its channels,
or reads all of them with weights that are zero ("dense"). Widths are as they come, or rounded up to multiples of 8 or
16 by channels that are read by zeros. All models of a case are run in turns, and medians are compared.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from arguments import at_least, target

from chanc.backends import ort
from chanc.ir import atomic_write_text
from chanc.testing.graphs import Graph, Tensor

RETENTIONS = (0.9, 0.7, 0.5, 0.3)
WAYS = ("producer", "slice", "gather")
GRAINS = (1, 8, 16)
CONSUMERS: Mapping[str, Callable[[Tensor, int], Tensor]] = {
    "1x1": lambda x, out: x.conv(out, 1),
    "3x3": lambda x, out: x.conv(out, 3),
    "relu, depthwise, 1x1": lambda x, out: x.relu().depthwise().conv(out, 1),
}
SIZES = ((48, 16, 32), (128, 32, 16), (256, 64, 8), (432, 144, 8))
"""Channels of the tensor, channels that a consumer makes, and height and width."""


class Case(NamedTuple):
    """What two consumers do with a tensor [1, channels, side, side]."""

    consumer: str
    channels: int
    out: int
    side: int

    def width(self, retention: float, grain: int) -> int:
        """The channels that a consumer reads."""
        return min(-(-round(self.channels * retention) // grain) * grain, self.channels)


Key = tuple[str, int]
"""A way, and the channels that each consumer reads."""


def model(case: Case, way: str, width: int) -> onnx.ModelProto:
    """The model of a case in one of the ways, each consumer reading that many channels."""
    graph = Graph(opset=17)
    x = graph.input("x", [1, 16, case.side, case.side])
    made = x.conv(width if way == "producer" else case.channels, 1).relu()
    ends = [CONSUMERS[case.consumer](part, case.out) for part in _read(made, way, width)]
    return graph.model(ends[0] + ends[1])


def _read(made: Tensor, way: str, width: int) -> Iterator[Tensor]:
    rng, size = np.random.default_rng(0), made.channels
    for k in range(2):
        if way == "slice":
            yield made.slice(1, *((0, width), (size - width, size))[k])
        elif way == "gather":
            yield made.gather(np.sort(rng.permutation(size)[:width]).tolist())
        else:
            yield made


def timed(case: Case, repeats: int, threads: int) -> dict[Key, float]:
    """The median seconds of each way at each width, all of them run in turns."""
    widths = sorted({case.width(r, grain) for r in RETENTIONS for grain in GRAINS} - {case.channels})
    keys: list[Key] = [(way, width) for width in widths for way in WAYS] + [("dense", case.channels)]
    opened = [ort.session(model(case, *key), threads=threads) for key in keys]
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 16, case.side, case.side)).astype(np.float32)}
    seconds = np.zeros((repeats + 5, len(keys)))
    for turn in seconds:
        for k, session in enumerate(opened):
            start = time.perf_counter()
            session.run(None, feeds)
            turn[k] = time.perf_counter() - start
    return dict(zip(keys, np.median(seconds[5:], axis=0).tolist(), strict=True))


def report(found: Mapping[Case, Mapping[Key, float]], repeats: int, threads: int) -> str:
    """The page: a row a case and retention, the ways relative to dense."""
    lines = []
    for case, times in found.items():
        dense = times["dense", case.channels]
        for retention in RETENTIONS:
            cells = []
            for grain in GRAINS:
                width = case.width(retention, grain)
                ratios = [times.get((way, width), dense) / dense for way in WAYS]
                cells.append(f"{width} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios))
            names = f"{case.consumer} | {case.channels} | {case.out} | {case.side}"
            lines.append(f"| {names} | {1e6 * dense:.0f} | {retention} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=at_least(1), default=100)
    parser.add_argument("--threads", type=at_least(1), default=1)
    parser.add_argument("--output", type=target, metavar="FILE", help="Write a page; else print it.")
    options = parser.parse_args()
    cases = [Case(consumer, *size) for consumer in CONSUMERS for size in SIZES]
    found = {case: timed(case, options.repeats, options.threads) for case in cases}
    import pickle; pickle.dump([(tuple(c),t) for c,t in found.items()], open('/tmp/edges.pkl','wb'))
    page = report(found, options.repeats, options.threads)
    if options.output is None:
        print(page)
    else:
        atomic_write_text(options.output, page)


if __name__ == "__main__":
    main()
