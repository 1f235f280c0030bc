"""Does `chanc prune` keep more than other tools? Same networks, images, epochs, seeds and MACs.

    python benchmarks/prune.py --data-root DATA [--cells 'vgg11-*'] [--tools chanc tp-taylor] [--minutes 30]

DATA holds fashion-mnist/ (its four idx files) and cifar-10-batches-bin/. A cell is a network and the share of its MACs
that is left. In each, with three seeds:

(a) chanc with labels against Torch-Pruning, one global ranking by Taylor or by group norm, all fine-tuned alike;
(b) chanc without labels beside chanc with labels;
(c) chanc's closed form alone, no training, against onnxsim's pruning with its `apply_pruning_finetune`.

Each network is trained once and kept in --work. All that is done is a line of --rows (JSON), never done again: a killed
run goes on, and several calls may each do a part. Install beside chanc: torch-pruning==1.6.1 onnxsim==0.8.1.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from arguments import at_least, require

HERE = Path(__file__).resolve().parent


class Network(NamedTuple):
    """A network, the data it is for with their shape, the share of its published widths, and its first epochs."""

    data: str
    image: tuple[int, int, int]
    share: float
    epochs: int


NETWORKS = {
    "resnet18": Network("cifar10", (3, 32, 32), 0.1875, 12),
    "vgg11": Network("cifar10", (3, 32, 32), 0.25, 15),
    "mobilenetv2-imagenet": Network("fashion-mnist", (1, 28, 28), 0.5, 12),
    "vit": Network("fashion-mnist", (1, 28, 28), 1.0, 15),
}
TRAIN, JUDGED = 8_000, 1_000
"""Training images of a seed, and test images looked at after an epoch; a result is scored on all test images."""
EPOCHS = 3
RECIPE: Mapping[str, Any] = {"optimizer": "adamw", "lr": 1e-3, "batch_size": 64, "device": "cpu"}
"""Of every fine-tuning; besides, the rate falls as a cosine, and images are shifted and mirrored."""
FIRST_RATE, FIRST_BATCH = 3e-3, 64
EVIDENCE, AT_ONCE = 16, 64
"""Batches that gradients are taken of, and images in each, as chanc does by itself."""
CALIBRATION, CALIBRATED_AT_ONCE = 256, 32
"""Unlabelled images of a closed form, as chanc takes by itself."""
SEARCHED = 10
"""Halvings by which the ratio of the other tools is brought to the budget."""
GUARD = 0.9
"""Largest part of a group's channels that may go, as in chanc."""
SHARES = (50, 30)
"""Per cent of the MACs that may be left."""
SEEDS = range(3)
BASE = "base"
TOOLS = ("chanc-labels", "tp-taylor", "tp-norm", "chanc", "chanc-closed", "onnxsim")
PACKAGES = {"tp-taylor": "torch-pruning", "tp-norm": "torch-pruning", "onnxsim": "onnxsim"}
"""What a tool needs besides chanc."""
PAUSE = 0.5
"""Seconds between two looks at the running jobs."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A tool on a network at a per cent of its MACs with a seed; the tool `BASE` trains the network."""

    network: str
    share: int
    tool: str
    seed: int

    @property
    def cell(self) -> str:
        return f"{self.network}-{self.share}"

    @property
    def id(self) -> str:
        return f"{self.cell}-{self.tool}-{self.seed}"


CELLS = {f"{network}-{share}": (network, share) for network in NETWORKS for share in SHARES}


def job_of(row: Row) -> Job:
    """The job whose result a row is."""
    return Job(row["network"], row["share"], row["tool"], row["seed"])


@dataclass
class Ledger:
    """The rows that are there, by the id of their job."""

    path: Path
    rows: dict[str, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                self.rows[job_of(row).id] = row

    def add(self, row: Row) -> None:
        """Write a row down."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows[job_of(row).id] = row


def jobs(cells: Sequence[str], tools: Sequence[str], ledger: Ledger, work: Path) -> Iterator[Job]:
    """What is to be done, seed by seed; nothing of a network before it is trained and lies in `work`."""
    for network in dict.fromkeys(CELLS[cell][0] for cell in cells):
        own = [Job(network, CELLS[cell][1], tool, seed) for seed in SEEDS for cell in cells if CELLS[cell][0] == network
               for tool in tools]  # fmt: skip
        due = [job for job in own if job.id not in ledger.rows]
        trained = Job(network, 100, BASE, 0)
        if due and (trained.id not in ledger.rows or not (work / f"{network}.onnx").exists()):
            yield trained
        else:
            yield from due


def run_all(args: argparse.Namespace, cells: Sequence[str], ledger: Ledger) -> None:
    """Do the jobs, some at a time, until none is left or the time is over; a job that fails is named and left."""
    deadline = time.monotonic() + 60 * args.minutes
    running: dict[Job, tuple[subprocess.Popen[str], Path]] = {}
    failed: set[Job] = set()
    while True:
        known = failed.union(running)
        waiting = [job for job in jobs(cells, args.tools, ledger, args.work) if job not in known]
        for job in waiting[: args.jobs - len(running)] if time.monotonic() < deadline else []:
            running[job] = _begin(job, args)
        if not running:
            return
        time.sleep(PAUSE)
        for job, (process, answer) in list(running.items()):
            if process.poll() is None:
                continue
            del running[job]
            if process.returncode == 0 and answer.exists():
                ledger.add(row := json.loads(answer.read_text(encoding="utf-8")))
                print(f"{job.id}: {row['score']:.2%} with {row['macs']:,} MACs in {row['cpu_s']} s", flush=True)
            else:
                failed.add(job)
                print(f"{job.id} failed (see {answer.with_suffix('.log')})", flush=True)
            answer.unlink(missing_ok=True)


def _begin(job: Job, args: argparse.Namespace) -> tuple[subprocess.Popen[str], Path]:
    answer: Path = args.work / "jobs" / f"{job.id}.json"
    answer.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(HERE / "prune.py"), "--data-root", args.data_root, "--work", str(args.work),
               "--one", json.dumps(asdict(job)), "--answer", str(answer)]  # fmt: skip
    with answer.with_suffix(".log").open("w") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdout=log, stderr=log, text=True, env=environment), answer


def do(job: Job, folder: Path, data_root: str) -> Row:
    """What is known after a job, which has this process for itself."""
    import torch
    from prune_tools import Work, measured

    torch.set_num_threads(1)
    begun = time.process_time()
    found = measured(Work(job.network, folder, data_root, job.share / 100, job.seed), job.tool)
    return {**asdict(job), **found, "cpu_s": round(time.process_time() - begun, 1)}


def arguments() -> argparse.ArgumentParser:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--cells", nargs="+", default=["*"], help=f"patterns of {' '.join(CELLS)}")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS), metavar="TOOL",
                        help=" ".join(TOOLS))  # fmt: skip
    parser.add_argument("--work", type=Path, default=Path("prune"), help="folder of trained networks and logs")
    parser.add_argument("--rows", type=Path, default=HERE / "results" / "prune.jsonl")
    parser.add_argument("--page", type=Path, default=HERE / "results" / "prune.md")
    parser.add_argument("--jobs", type=at_least(1), default=os.cpu_count() or 1, help="processes, a thread each")
    parser.add_argument("--minutes", type=at_least(0.0), default=1e6, help="begin no job after so many; 0: the page")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    return parser


def chosen(parser: argparse.ArgumentParser, patterns: Sequence[str]) -> list[str]:
    """The cells that a pattern fits; where one fits none, that is the end."""
    for pattern in patterns:
        if not fnmatch.filter(CELLS, pattern):
            parser.error(f"no cell is like {pattern}: there are {', '.join(CELLS)}")
    return [cell for cell in CELLS if any(fnmatch.fnmatch(cell, pattern) for pattern in patterns)]


def main() -> None:
    parser = arguments()
    args = parser.parse_args()
    cells = chosen(parser, args.cells)
    if args.one:
        done = do(Job(**json.loads(args.one)), args.work, args.data_root)
        args.answer.write_text(json.dumps(done), encoding="utf-8")
        return
    if args.minutes:
        require(parser, *dict.fromkeys(PACKAGES[tool] for tool in args.tools if tool in PACKAGES))
    from prune_page import page

    args.work.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(args.rows)
    run_all(args, cells, ledger)
    args.page.write_text(page(list(ledger.rows.values())), encoding="utf-8")
    print(f"wrote {args.page}")


if __name__ == "__main__":
    main()
