"""Do width methods find a bottleneck that was put there? A table of all of them, with random widths beside.

    python benchmarks/planted.py [--methods greedy random] [--jobs 2] [--work planted]

It is the test of `chanc search --planted`: a small residual network has the channels of its stream starved to a quarter,
two, and its other layers widened to equal params (trained from scratch, it loses several points by it); a search of ten trials, all at that cost, starts there (or one training as
long as all of them, where widths change inside). A method passes where the stream regains at least half of what it lost
in four of five seeds. Training is alike for all (scikit-learn's digits, SGD, three epochs a trial), and each method has
one set of options, for all seeds.

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
RECIPE: Mapping[str, Any] = {"optimizer": "sgd", "lr": 0.1, "batch_size": 32, "schedule": "cosine"}


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


def sound(work: Path) -> Path:
    """The network without the defect: two convolutions around a stream of 8 channels, and a third with stride 2."""
    from chanc.ir import save
    from chanc.testing.graphs import Graph

    graph = Graph()
    stream = graph.input("image", [1, 1, 8, 8], dynamic={0: "n"}).conv(8).bn().relu()
    stream = (stream + stream.conv(8).bn().relu().conv(8).bn()).relu()
    work.mkdir(parents=True, exist_ok=True)
    save(graph.ir(stream.conv(12, stride=2).bn().relu().gap().flatten().gemm(10)), work / "sound.onnx")
    return work / "sound.onnx"


def do(method: str, seed: int, work: Path) -> Row:
    """One search, and the width that the starved group has after it."""
    import torch

    import chanc
    from chanc.study.planted import regained, sow

    torch.set_num_threads(1)
    begun, of, folder = time.process_time(), METHODS[method], work / f"{method}-{seed}"
    source, defect = sow(sound(folder), folder)
    width = regained(source, defect, search=chanc.search, algo=method, seed=seed, out=folder / "run", data="digits",
                     options=of.options, epochs=EPOCHS, train=RECIPE, **of.arguments)  # fmt: skip
    return {"method": method, "seed": seed, "width": width, "group": defect.group, "own": defect.own,
            "starved": defect.starved, "goal": defect.goal, "cpu_s": round(time.process_time() - begun, 1)}  # fmt: skip


# All searches


def known(rows: Path) -> list[Row]:
    """What has been done."""
    return [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()] if rows.exists() else []


def left(rows: Sequence[Row], methods: Sequence[str], seeds: int) -> list[tuple[str, int]]:
    """What is to be done, seed by seed, so that a table of a few seeds has all methods."""
    done = {(row["method"], row["seed"]) for row in rows}
    return [(method, seed) for seed in range(seeds) for method in methods if (method, seed) not in done]


def run_all(args: argparse.Namespace, waiting: Sequence[tuple[str, int]]) -> None:
    """Do the searches, some at a time; one that fails is named and left."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as pool:
        jobs = {pool.submit(do, method, seed, args.work): (method, seed) for method, seed in waiting}
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
    """The table, as markdown."""
    from chanc.study.planted import NEEDED, TRIALS

    methods = [name for name in METHODS if any(row["method"] == name for row in rows)]
    seeds = sorted({row["seed"] for row in rows})
    one = rows[0]
    head = [
        "# The planted defect",
        "`python benchmarks/planted.py`: a small residual network, on scikit-learn's digits, with the channels of its "
        f"stream starved from {one['own']} to {one['starved']} and its other layers widened to equal params. Searches "
        f"of {TRIALS} trials at that cost start there, or one training as long; the table has the stream's width after "
        "each, brought to equal cost. In bold it has regained at least half of what it lost "
        f"({one['goal']:g} channels); a method passes where it does so in {NEEDED} of {len(seeds)} seeds. `random` "
        "draws widths and keeps those of the lowest held-out loss: what it regains takes no method.",
        f"| method | {' | '.join(f'seed {seed}' for seed in seeds)} | regained | | CPU seconds a search |\n"
        f"|---|{'---|' * len(seeds)}---|---|---|",
    ]
    lines = [_line(name, [row for row in rows if row["method"] == name], seeds) for name in methods]
    return "\n\n".join(head) + "\n" + "".join(lines)


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
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--seeds", type=at_least(1), default=5)
    parser.add_argument("--work", type=Path, default=Path("planted"), help="folder of networks and searches")
    parser.add_argument("--rows", type=target, default=HERE / "results" / "planted.jsonl")
    parser.add_argument("--page", type=target, default=HERE / "results" / "planted.md")
    parser.add_argument("--jobs", type=at_least(1), default=os.cpu_count() or 1, help="searches at a time")
    args = parser.parse_args()
    run_all(args, left(known(args.rows), args.methods, args.seeds))
    if rows := known(args.rows):
        args.page.write_text(page(rows), encoding="utf-8")
        print(f"wrote {args.page}")


if __name__ == "__main__":
    main()
