"""The four ways to let a consumer read a part of a tensor, side by side in onnxruntime.

    python benchmarks/edges.py [--repeats 100] [--threads 1] [--output benchmarks/results/edges.md]

Two consumers read one tensor of C channels, each its own share of them. Where all read the same the producer makes no
more ("producer"); else each reads a slice of a producer whose channels are in a fitting order, or gathers its channels,
or reads all of them with weights that are zero ("dense"). Widths are as they come, or rounded up to multiples of 8 or
16 by channels that are read by zeros. All models of a case are run in turns, in random order, and lower quartiles are
compared: on a machine that others use as well the median of longer runs may be one that was interrupted.
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

from chanc.analysis import analyze
from chanc.backends import ort
from chanc.ir import atomic_write_text
from chanc.rewriter import rewrite
from chanc.rewriter.edges import consumers
from chanc.rewriter.edges.chains import CUT, POINT
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
    """The lower quartile of the seconds of each way at each width, all of them run in turns."""
    widths = sorted({case.width(r, grain) for r in RETENTIONS for grain in GRAINS} - {case.channels})
    keys: list[Key] = [(way, width) for width in widths for way in WAYS] + [("dense", case.channels)]
    opened = [ort.session(model(case, *key), threads=threads) for key in keys]
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 16, case.side, case.side)).astype(np.float32)}
    seconds = np.zeros((repeats + 5, len(keys)))
    rng = np.random.default_rng(0)
    for turn in seconds:
        for k in rng.permutation(len(opened)):  # one that always came last would always be interrupted
            start = time.perf_counter()
            opened[k].run(None, feeds)
            turn[k] = time.perf_counter() - start
    return dict(zip(keys, np.quantile(seconds[5:], 0.25, axis=0).tolist(), strict=True))


def chosen(case: Case, width: int) -> str:
    """What chanc makes of two consumers that read `width` channels each, from either end of the tensor."""
    whole = model(case, "dense", case.channels)
    ends = [range(width), range(case.channels - width, case.channels)]
    names = [name for name, operands in consumers(analyze(whole)).items() if "w_1" in operands]
    edges = {name: list(units) for name, units in zip(names, ends, strict=True)}
    return rewrite(whole, {"format": 2, "edges": edges}).trace.edges[names[0]].how


def report(found: Mapping[Case, Mapping[Key, float]], repeats: int, threads: int) -> str:
    """The page: a row a case and retention, the ways relative to dense, and what chanc chooses."""
    rows, right, lost, told = [], 0, [], 0
    for case, times in found.items():
        dense = times["dense", case.channels]
        for retention in RETENTIONS:
            cells = []
            for grain in GRAINS:
                width = case.width(retention, grain)
                ratios = [times.get((way, width), dense) / dense for way in WAYS]
                cells.append(f"{width} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios))
            width = case.width(retention, 8)
            how = chosen(case, width) if width < case.channels else "dense"
            if width < case.channels:
                best = min(1.0, *(times[way, width] / dense for way in WAYS[1:]))
                mine = 1.0 if how == "dense" else times["slice", width] / dense
                told, right, lost = told + 1, right + (mine <= 1.05 * best), [*lost, mine / best - 1]
            names = f"{case.consumer} | {case.channels} | {case.out} | {case.side}"
            rows.append(f"| {names} | {1e6 * dense:.0f} | {retention} | {' | '.join(cells)} | {how} |")
    heads = " | ".join(f"width by {grain} | {' | '.join(WAYS)}" for grain in GRAINS)
    return "\n".join([
        "# Edges: four ways to read a part of a tensor",
        "",
        f"onnxruntime {onnxruntime.__version__}, {_processor()}, {threads} thread(s), batch 1; lower quartiles of",
        f"{repeats} runs of each model, in turns. Command: `python {shlex.join(sys.argv)}`",
        "",
        *(__doc__ or "").split("\n\n")[2].splitlines(),
        "",
        "Figures are times over that of dense (in microseconds: two consumers and the 1x1 convolution before them). A",
        "share of channels is rounded up to a multiple of 1, 8 or 16; where that gives all nothing is cut: 1.00.",
        "",
        f"- A slice costs what a gather costs: {_apart(found)}.",
        "  So a producer in another order gains little here.",
        "- Widths that are no multiples of 8 cost more than they save: even where nothing is cut such a model takes",
        f"  {_odd(found):.2f} times the time of the one with the next multiple of 8 (median). 16 gains nothing more.",
        "- Multiples of 8: what chanc chooses (last column) is within 5 % of the faster of cut and dense in",
        f"  {right} of {told} rows; at worst it takes {max(lost):.0%} longer. An element that is cut counts as",
        f"  {CUT:.0f} multiply-accumulates, one that is computed as {POINT:.0f}: fitted to such rows.",
        "",
        f"| consumer | channels | out | side | dense, us | share | {heads} | chosen |",
        "|---" * (7 + 4 * len(GRAINS)) + "|",
        *rows,
        "",
    ])  # fmt: skip


def _apart(found: Mapping[Case, Mapping[Key, float]]) -> str:
    """The quotient of slice and gather over all models: the median and its spread."""
    each = [t["slice", width] / t["gather", width] for t in found.values() for way, width in t if way == "slice"]
    low, median, high = np.percentile(each, (10, 50, 90))
    return f"{median:.2f} times as much (median; {low:.2f} to {high:.2f} are 80 % of all)"


def _odd(found: Mapping[Case, Mapping[Key, float]]) -> float:
    """The time of a producer of odd width over that of the next multiple of 8: the median."""
    widths = [(case, case.width(r, 1), case.width(r, 8)) for case in found for r in RETENTIONS]
    whole = {case: found[case]["dense", case.channels] for case in found}
    return float(np.median([
        found[case]["producer", odd] / found[case].get(("producer", even), whole[case])
        for case, odd, even in widths if odd % 8
    ]))  # fmt: skip


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "processor unknown")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=at_least(1), default=100)
    parser.add_argument("--threads", type=at_least(1), default=1)
    parser.add_argument("--output", type=target, metavar="FILE", help="Write a page; else print it.")
    options = parser.parse_args()
    cases = [Case(consumer, *size) for consumer in CONSUMERS for size in SIZES]
    found = {case: timed(case, options.repeats, options.threads) for case in cases}
    page = report(found, options.repeats, options.threads)
    if options.output is None:
        print(page)
    else:
        atomic_write_text(options.output, page)


if __name__ == "__main__":
    main()
