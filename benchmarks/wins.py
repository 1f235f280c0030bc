"""Do searches win? Found widths against uniform, flat and random ones of equal cost, trained from scratch alike.

    python benchmarks/wins.py --data-root DATA [--cells 'vgg11-*'] [--methods shape uniform flat] [--minutes 30]

DATA holds fashion-mnist/ (its four idx files) and cifar-10-batches-bin/. A cell is a network, a data set and a budget:
a quarter of the network's params, of its MACs, or of both. In each, every method searches twice, on held-out training
images; what it found is brought to the budget (within 1 %) and trained with five seeds, as are the controls, and
scored on the test set. A method's score for a seed is the mean of its two networks'; differences from a control are
paired by seed and judged by Student's t. The ceiling is the best of fifteen random shapes, each trained once and then,
the best one, with all seeds.

NAMED is the sampler that the claim is about; its options below are fixed before any final training. All that is done
is a line of --rows (JSON), never done again: a killed run goes on, and several calls may each do a part.
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
from typing import Any

HERE = Path(__file__).resolve().parent
NAMED = "shape"
SEEDS = range(5)
SEARCHES = range(2)
CEILING = 15
IMAGES = {"fashion-mnist": (6_000, 28, 1), "cifar10": (6_000, 32, 3)}
"""Training images used, their side and channels."""
MODELS = {"vgg11": 0.125, "mobilenetv2-imagenet": 0.5, "resnet18-imagenet": 0.25}
"""The zoo's networks, and the share of their published widths."""
BUDGETS: Mapping[str, tuple[str, ...]] = {"params": ("params",), "macs": ("macs",), "both": ("params", "macs")}
SHARE = 0.25
EPOCHS = 5
JUDGES = 4_000
"""Further training images, which no network learns from: by these the searches judge."""
RECIPE: Mapping[str, Any] = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "batch_size": 64, "weight_decay": 5e-4,
                             "schedule": "cosine"}  # fmt: skip
SHORTLY: Mapping[str, Any] = {"trials": 10, "epochs": 3, "rungs": 1}


@dataclass(frozen=True)
class Method:
    """A search: its algorithm, preset, options, and arguments of `chanc.search` besides; at_budget: in every trial."""

    algo: str
    preset: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    at_budget: bool = True


_ROUNDS: Mapping[str, Any] = {"trials": 12}
_OWN: Mapping[str, Any] = {**_ROUNDS, "start_width": 0, "min_width": 2, "max_width": 4096}
_HYGIENE: Mapping[str, Any] = {"metric_of": "change", "select_by": "loss", "epochs": 2}
_PAPER: Mapping[str, Any] = {"trials": 6, "start_width": 0, "min_width": 2}
_SHORT: Mapping[str, Any] = {"epochs": 2}
"""The papers' own rules grow a network to ten times its cost within a few trials: they get fewer and shorter ones."""
_MASKED: Mapping[str, Any] = {"step": 1, "min_width": 2, "max_width": 4096, "mask_mode": "sampled"}
"""One training, as long as all trials of `SHORTLY` together; the narrowest group here has 8 channels."""
METHODS: Mapping[str, Method] = {
    "random": Method("random", options={**_ROUNDS, "min_width": 2, "max_width": 4096},
                     arguments={"select_by": "loss", "epochs": 2}),
    "shape": Method("shape", options=SHORTLY),
    "evolve": Method("evolve", options=SHORTLY),
    "optuna": Method("optuna", options=SHORTLY),
    "taylor": Method("taylor"),
    "flexcharts": Method("flexcharts", options=_MASKED, arguments={"epochs": 30}),
    "greedy": Method("greedy", options=_OWN, arguments=_HYGIENE),
    "sa": Method("sa", options=_OWN, arguments=_HYGIENE),
    "conet": Method("conet", options=_OWN, arguments=_HYGIENE),
    "greedy-paper": Method("greedy", "conetv2-resnet34", _PAPER, _SHORT, at_budget=False),
    "sa-paper": Method("sa", "conetv2-resnet34", _PAPER, _SHORT, at_budget=False),
    "conet-paper": Method("conet", "conet-resnet34", _PAPER, _SHORT, at_budget=False),
}  # fmt: skip
CONTROLS = ("uniform", "flat")
IN_FULL = tuple(f"vgg11-{data}-{budget}" for data in IMAGES for budget in ("params", "macs"))
"""Cells in which every method searches; in the others the named one and `SECOND` do."""
SECOND = "taylor"
"""The best of the others in the first two cells in full; with the fewest trainings."""


@dataclass(frozen=True)
class Cell:
    """A network, a data set and what of its cost is cut to a quarter."""

    model: str
    data: str
    budget: str

    @property
    def name(self) -> str:
        return f"{self.model}-{self.data}-{self.budget}"

    @property
    def methods(self) -> tuple[str, ...]:
        """Who searches here."""
        return tuple(METHODS) if self.name in IN_FULL else (NAMED, SECOND)


@dataclass(frozen=True)
class Job:
    """One search (kind "search"), or one training from scratch ("final") of what `source` names with `seed`.

    source: a method and the number of its search ("shape/0"), a control, or a random shape of the ceiling ("draw/3").
    """

    cell: str
    kind: str
    source: str
    seed: int

    @property
    def id(self) -> str:
        return f"{self.cell}:{self.kind}:{self.source}:{self.seed}"


CELLS = {cell.name: cell for cell in (Cell(*key) for key in
         [(m, d, b) for d in IMAGES for m in MODELS for b in BUDGETS])}  # fmt: skip


# One job, in a process of its own with one thread


def network(cell: Cell, folder: Path) -> Path:
    """The ONNX file of the cell's network, exported once."""
    import chanc
    from chanc.frontends import zoo

    path = folder / f"{cell.model}-{cell.data}.onnx"
    if not path.exists():
        _, side, channels = IMAGES[cell.data]
        widths = {name: max(2, round(width * MODELS[cell.model])) for name, width in zoo.table(cell.model).items()}
        chanc.export(f"zoo:{cell.model}", path, shapes=((1, channels, side, side),), widths=widths, channels=channels)
    return path


def space_at(path: Path) -> tuple[Any, Any]:
    """The search space of a network, and the bounds of legal widths."""
    import chanc
    from chanc.study.space import WIDEST, Limits
    from chanc.study.study import space_of

    return space_of(chanc.analyze(path)), Limits(2, WIDEST, 1)


def at_budget(cell: Cell, path: Path, proportions: Mapping[str, float]) -> dict[str, int]:
    """Widths in these proportions at the cell's budget."""
    from chanc.study.targets import project

    space, limits = space_at(path)
    counts = {counter: SHARE * space.count(space.widths, counter) for counter in BUDGETS[cell.budget]}
    return dict(project(space, limits, proportions, counts))


def search(cell: Cell, method: Method, number: int, folder: Path, data_root: str) -> dict[str, Any]:
    """The widths that a search finds, at the budget, and what it cost: images trained on times MACs."""
    import chanc
    from chanc.runs import EpochEvent, read_run

    path = network(cell, folder)
    targets = {f"target_{counter}": f"{SHARE:.0%}" for counter in BUDGETS[cell.budget]} if method.at_budget else {}
    recipe, images = {} if method.preset else RECIPE, IMAGES[cell.data][0]
    out = folder / "searches" / f"{cell.name}-{method.algo}-{method.preset or 'own'}-{number}"
    run = chanc.search(
        path, algo=method.algo, preset=method.preset, data=cell.data, data_root=data_root, seed=number, out=out,
        resume=(out / "config.json").exists(), options={**method.options, **targets}, train=recipe,
        limit_train=images + JUDGES, holdout=JUDGES / (images + JUDGES), normalise="dataset", final_epochs=0,
        **method.arguments,
    )  # fmt: skip
    inside = sum(epoch.metrics["supernet"]["executed"] for epoch in read_run(out).of(EpochEvent)
                 if "supernet" in epoch.metrics)  # fmt: skip
    work = sum(len(trial.epochs) * trial.macs for trial in run.trials) + round(inside / images)
    return {"widths": at_budget(cell, path, run.widths), "epoch_macs": work, "trials": len(run.trials)}


def final(cell: Cell, widths: Mapping[str, int], seed: int, folder: Path, data_root: str) -> dict[str, Any]:
    """Train widths from scratch; the score on the test set."""
    from rich.console import Console

    from chanc.analysis import analyze
    from chanc.ir import load
    from chanc.study.progress import Progress
    from chanc.study.settings import resolve
    from chanc.study.study import load_data, make_engine
    from chanc.training.options import InputOptions

    path = network(cell, folder)
    settings = resolve(
        algo="uniform", data=cell.data, preset_name=None, options={}, train={}, final={**RECIPE, "epochs": EPOCHS},
        limit_train=IMAGES[cell.data][0], input=InputOptions("dataset"),
    )  # fmt: skip
    analysis = analyze(load(path), fold=False)
    whole, _ = load_data(analysis, settings, data_root)
    engine = make_engine(settings.suited(whole.augmentation), whole)
    model = engine.resize(load(path), widths, fresh=True, seed=seed)
    price = engine.price(model)
    checkpoint = folder / f"final-{os.getpid()}.safetensors"
    watch = Progress(1, EPOCHS, Console(), quiet=True)
    watch.trial(0, price.params, price.macs)
    trained = engine.train_final(model, seed=seed, checkpoint=checkpoint, watch=watch)
    checkpoint.unlink(missing_ok=True)
    return {"widths": dict(widths), "params": price.params, "macs": price.macs, "score": trained.score,
            "loss": trained.loss}  # fmt: skip


def do(job: Job, folder: Path, data_root: str, widths: Mapping[str, int] | None) -> dict[str, Any]:
    """What is known after a job."""
    import torch

    torch.set_num_threads(1)
    cell, begun = CELLS[job.cell], time.process_time()
    if job.kind == "search":
        done = search(cell, METHODS[job.source], job.seed, folder, data_root)
    else:
        done = final(cell, widths or control(cell, job.source, folder), job.seed, folder, data_root)
    return {**asdict(job), **done, "cpu_s": round(time.process_time() - begun, 1)}


def control(cell: Cell, source: str, folder: Path) -> dict[str, int]:
    """The widths of a control, or of a random shape."""
    from chanc.study import shapes

    path = network(cell, folder)
    space, _ = space_at(path)
    name, _, number = source.partition("/")
    if name == "draw":
        return at_budget(cell, path, shapes.random(space, 1, int(number), 4.0))
    return at_budget(cell, path, {"uniform": shapes.uniform, "flat": shapes.flat}[name](space))


# All jobs

Asked = tuple[Job, Mapping[str, int] | None]


@dataclass
class Ledger:
    """The rows that are there, by the id of their job."""

    path: Path
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                self._keep(json.loads(line))

    def add(self, row: dict[str, Any]) -> None:
        """Write a row down."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._keep(row)

    def _keep(self, row: dict[str, Any]) -> None:
        self.rows[Job(row["cell"], row["kind"], row["source"], row["seed"]).id] = row


def jobs(cells: Sequence[Cell], methods: Sequence[str], ledger: Ledger) -> Iterator[Asked]:
    """What is to be done, in the order of its worth, with the widths to train where a search has found them."""
    for cell in cells:
        chosen = [name for name in cell.methods if name in methods]
        for name in chosen:
            yield from ((Job(cell.name, "search", name, number), None) for number in SEARCHES)
        for seed in SEEDS:
            for name in (name for name in CONTROLS if name in methods):
                yield Job(cell.name, "final", name, seed), None
            for name in chosen:
                for number in SEARCHES:
                    found = ledger.rows.get(Job(cell.name, "search", name, number).id)
                    if found is not None:
                        yield Job(cell.name, "final", f"{name}/{number}", seed), found["widths"]
        if cell.name in IN_FULL and "ceiling" in methods:
            yield from ((Job(cell.name, "final", f"draw/{number}", 100), None) for number in range(CEILING))
            shapes = [row for row in ledger.rows.values() if row["cell"] == cell.name and row["seed"] == 100]
            if len(shapes) == CEILING:
                best = max(shapes, key=lambda row: row["score"])
                yield from ((Job(cell.name, "final", best["source"], seed), best["widths"]) for seed in SEEDS)


def run_all(args: argparse.Namespace, cells: Sequence[Cell], ledger: Ledger) -> None:
    """Do the jobs, some at a time, until none is left or the time is over; a job that fails is named and left."""
    deadline = time.monotonic() + 60 * args.minutes
    running: dict[str, tuple[subprocess.Popen[str], Path]] = {}
    failed: set[str] = set()
    while True:
        waiting = [(job, widths) for job, widths in jobs(cells, args.methods, ledger)
                   if job.id not in ledger.rows and job.id not in running and job.id not in failed]  # fmt: skip
        for job, widths in waiting[: args.jobs - len(running)] if time.monotonic() < deadline else []:
            running[job.id] = _begin(job, widths, args)
        if not running:
            return
        time.sleep(0.5)
        for key, (process, answer) in list(running.items()):
            if process.poll() is None:
                continue
            del running[key]
            if process.returncode == 0 and answer.exists():
                ledger.add(json.loads(answer.read_text(encoding="utf-8")))
                row = ledger.rows[key]
                print(f"{key}: {row.get('score', row['widths'])} in {row['cpu_s']} s", flush=True)
            else:
                failed.add(key)
                print(f"{key} failed (see {answer.with_suffix('.log')})", flush=True)
            answer.unlink(missing_ok=True)


def _begin(job: Job, widths: Mapping[str, int] | None, args: argparse.Namespace) -> tuple[subprocess.Popen[str], Path]:
    answer = args.work / "jobs" / f"{job.id.replace('/', '-').replace(':', '-')}.json"
    answer.parent.mkdir(parents=True, exist_ok=True)
    asked = json.dumps({"job": asdict(job), "widths": widths})
    command = [sys.executable, str(HERE / "wins.py"), "--data-root", args.data_root, "--work", str(args.work),
               "--one", asked, "--answer", str(answer)]  # fmt: skip
    with answer.with_suffix(".log").open("w") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdout=log, stderr=log, text=True, env=environment), answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--cells", nargs="+", default=["*"], help="patterns of cells")
    parser.add_argument("--methods", nargs="+", default=[*CONTROLS, *METHODS, "ceiling"])
    parser.add_argument("--work", type=Path, default=Path("wins"), help="folder of networks, searches and logs")
    parser.add_argument("--rows", type=Path, default=HERE / "results" / "wins.jsonl")
    parser.add_argument("--page", type=Path, default=HERE / "results" / "wins.md")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time, a thread each")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no job after so many")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.one:
        asked = json.loads(args.one)
        done = do(Job(**asked["job"]), args.work, args.data_root, asked["widths"])
        args.answer.write_text(json.dumps(done), encoding="utf-8")
        return
    from wins_page import page

    ledger = Ledger(args.rows)
    cells = [cell for cell in CELLS.values() if any(fnmatch.fnmatch(cell.name, pattern) for pattern in args.cells)]
    run_all(args, cells, ledger)
    args.page.write_text(page(list(ledger.rows.values())), encoding="utf-8")
    print(f"wrote {args.page}")


if __name__ == "__main__":
    main()
