"""Do width methods find a bottleneck that was put there? A table of all of them, with random widths beside.

    python benchmarks/planted.py [--networks narrow] [--methods greedy random] [--jobs 2] [--work planted]

It is the test of `chanc search --planted`: a small residual network has the channels of its stream starved to a quarter
and its other layers widened to equal params; a search of ten trials, all at that cost, starts there (or one training as
long as all of them, where widths change inside). A method passes where the stream regains at least half of what it lost
in four of five seeds. Training is alike for all (scikit-learn's digits, SGD, three epochs a trial), and each method has
one set of options, for all seeds. Of two networks one has a stream of 16 channels, the other of 8.

Each search is a line of --rows (JSON), never done again: a killed call goes on. A process has one thread. A method of
your own is a line of METHODS.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arguments import at_least, target

HERE = Path(__file__).resolve().parent
EPOCHS = 3
RECIPE: Mapping[str, Any] = {"optimizer": "sgd", "lr": 0.1, "schedule": "cosine"}


@dataclass(frozen=True)
class Net:
    """A network without the defect: channels of its stream and of its last layer, and images in a batch."""

    stream: int
    last: int
    batch: int


NETS: Mapping[str, Net] = {"wide": Net(16, 24, 64), "narrow": Net(8, 12, 32)}


@dataclass(frozen=True)
class Method:
    """Options of the method, and arguments of `chanc.search` besides."""

    options: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)


_BY_LOSS = Method(arguments={"select_by": "loss"})
_HALVED = Method({"rungs": 2})
METHODS: Mapping[str, Method] = {
    "random": _BY_LOSS,
    "greedy": _BY_LOSS,
    "sa": _BY_LOSS,
    "conet": _BY_LOSS,
    "shape": _HALVED,
    "evolve": _HALVED,
    "optuna": _HALVED,
    "taylor": Method(),
    "flexcharts": Method(),
    "dmask": Method(),
}
"""Who is tested, with its options; `random` is what the others are measured by."""

Row = dict[str, Any]


def sound(net: Net, work: Path) -> Path:
    """Two convolutions around the stream, and a third with stride 2."""
    from chanc.ir import save
    from chanc.testing.graphs import Graph

    graph = Graph()
    stream = graph.input("image", [1, 1, 8, 8], dynamic={0: "n"}).conv(net.stream).bn().relu()
    stream = (stream + stream.conv(net.stream).bn().relu().conv(net.stream).bn()).relu()
    work.mkdir(parents=True, exist_ok=True)
    save(graph.ir(stream.conv(net.last, stride=2).bn().relu().gap().flatten().gemm(10)), work / "sound.onnx")
    return work / "sound.onnx"


def do(name: str, method: str, seed: int, work: Path) -> Row:
    """One search, and the width that the starved group has after it."""
    import torch

    import chanc
    from chanc.study.planted import regained, sow

    torch.set_num_threads(1)
    begun, net, of, folder = time.process_time(), NETS[name], METHODS[method], work / f"{name}-{method}-{seed}"
    source, defect = sow(sound(net, folder), folder)
    width = regained(source, defect, search=chanc.search, algo=method, seed=seed, out=folder / "run", data="digits",
                     options=of.options, epochs=EPOCHS, train={**RECIPE, "batch_size": net.batch},
                     **of.arguments)  # fmt: skip
    return {"net": name, "method": method, "seed": seed, "width": width, "group": defect.group, "own": defect.own,
            "starved": defect.starved, "goal": defect.goal, "cpu_s": round(time.process_time() - begun, 1)}  # fmt: skip


# All searches


def known(rows: Path) -> list[Row]:
    """What has been done."""
    return [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()] if rows.exists() else []


def left(rows: Sequence[Row], nets: Sequence[str], methods: Sequence[str], seeds: int) -> list[tuple[str, str, int]]:
    """What is to be done, seed by seed, so that a table of a few seeds has all methods."""
    done = {(row["net"], row["method"], row["seed"]) for row in rows}
    every = [(net, method, seed) for net in nets for seed in range(seeds) for method in methods]
    return [one for one in every if one not in done]


def run_all(args: argparse.Namespace, waiting: Sequence[tuple[str, str, int]]) -> None:
    """Do the searches, some at a time; one that fails is named and left."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as pool:
        jobs = {pool.submit(do, *one, args.work): one for one in waiting}
        for job in as_completed(jobs):
            if (error := job.exception()) is not None:
                print(f"{jobs[job]} failed: {error}", flush=True)
                continue
            row = json.dumps(job.result())
            with args.rows.open("a", encoding="utf-8") as file:
                file.write(row + "\n")
            print(row, flush=True)


# The page


def page(rows: Sequence[Row]) -> str:
    """The tables, as markdown."""
    from chanc.study.planted import NEEDED, TRIALS

    head = [
        "# The planted defect",
        "`python benchmarks/planted.py`: small residual networks, on scikit-learn's digits, with the channels of the "
        "stream starved to a quarter and the other layers widened to equal params. Searches "
        f"of {TRIALS} trials at that cost start there, or one training as long; a table has the stream's width after "
        "each, brought to equal cost. In bold it has regained at least half of what it lost; a method passes where it "
        f"does so in {NEEDED} of its seeds. `random` draws widths and keeps those of the lowest held-out loss: what it "
        "regains takes no method. `dmask` chooses among widths up to twice those at the start, which is less than half "
        "of the gap.",
    ]
    tables = [_table(name, [row for row in rows if row["net"] == name]) for name in NETS]
    return "\n\n".join([*head, *(table for table in tables if table)]) + "\n"


def _table(name: str, rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    seeds, one, net = sorted({row["seed"] for row in rows}), rows[0], NETS[name]
    title = (f"## The {name} network\n\nIts stream fell from {one['own']} to {one['starved']} channels; regained from "
             f"{one['goal']:g} on. Batches of {net.batch}.")  # fmt: skip
    head = (f"| method | {' | '.join(f'seed {seed}' for seed in seeds)} | regained | | CPU seconds a search |\n"
            f"|---|{'---|' * len(seeds)}---|---|---|")  # fmt: skip
    lines = [_line(method, own, seeds) for method in METHODS if (own := [r for r in rows if r["method"] == method])]
    return f"{title}\n\n{head}\n" + "".join(lines).rstrip("\n")


def _line(name: str, rows: Sequence[Row], seeds: Sequence[int]) -> str:
    from chanc.study.planted import NEEDED

    by_seed = {row["seed"]: row for row in rows}
    cells = [_width(by_seed[seed]) if seed in by_seed else "" for seed in seeds]
    regained = sum(row["width"] >= row["goal"] for row in rows)
    said = "" if name == "random" or len(rows) < len(seeds) else "passes" if regained >= NEEDED else "fails"
    cost = statistics.fmean(row["cpu_s"] for row in rows)
    return f"| {name} | {' | '.join(cells)} | {regained} of {len(rows)} | {said} | {cost:.0f} |\n"


def _width(row: Row) -> str:
    return f"**{row['width']}**" if row["width"] >= row["goal"] else str(row["width"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETS, default=[*NETS])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--seeds", type=at_least(1), default=5)
    parser.add_argument("--work", type=Path, default=Path("planted"), help="folder of networks and searches")
    parser.add_argument("--rows", type=target, default=HERE / "results" / "planted.jsonl")
    parser.add_argument("--page", type=target, default=HERE / "results" / "planted.md")
    parser.add_argument("--jobs", type=at_least(1), default=os.cpu_count() or 1, help="searches at a time")
    args = parser.parse_args()
    run_all(args, left(known(args.rows), args.networks, args.methods, args.seeds))
    if rows := known(args.rows):
        args.page.write_text(page(rows), encoding="utf-8")
        print(f"wrote {args.page}")


if __name__ == "__main__":
    main()
