"""What chanc does on a GPU, in ten minutes: parts with a budget each, and a page that grows part by part.

    python benchmarks/gpu.py [--parts steps evbmf search finals masking] [--data-root DATA] [--tiny]
                             [--output benchmarks/results/gpu.md]

steps: training steps a second of the hand-written ResNet34 and of the module generated from its export, on a batch that
stays and on augmented ones. evbmf: all layers measured, on the device and on the CPU. search: a greedy search of
ResNet34 on CIFAR-10 at gamma 0.6, as many of its 35 trials as fit. finals: the network found, and uniform and flat ones
at its params and at its MACs, ten epochs each, side by side on the one GPU. masking: short epochs of FlexCHarts and of
DMaskingNAS on the supernet of FlexCHarts, one width a cell, and of a plain training of what they had at their widest.

Beside the page lies a .json of the same name with everything that was measured; parts that were run before stay in it.
Without CIFAR-10 the images are made up: what is measured then is speed. --tiny runs all of it small, on any machine.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import multiprocessing
import platform
import shlex
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arguments import target
from gpu_page import page
from made_up import trained
from torch import Tensor, nn
from training import Step, modules

import chanc
from chanc.analysis import analyze
from chanc.api import export, rewrite, search, train
from chanc.data import Dataset, cifar, data_folder, load
from chanc.data.named.synthetic import read as synthetic
from chanc.errors import TrialError
from chanc.files import atomic_write_json, atomic_write_text
from chanc.frontends import zoo
from chanc.metrics.quality import layers_quality
from chanc.runs import best, read_run
from chanc.runs.overhead import spent
from chanc.runs.supernet import epoch_timings, supernet_epochs
from chanc.study.parts import space_of
from chanc.study.rivals import rivals
from chanc.tasks import Classification
from chanc.training.feed import training_feed
from chanc.training.options import TrainOptions
from chanc.training.train import train as train_graph

RESULTS = Path(__file__).parent / "results"
GAMMA, RIVALS = 0.6, ("uniform", "flat")
Result = dict[str, Any]
Tell = Callable[[Result], None]


@dataclass(frozen=True)
class Masked:
    """How large the part masking is. width: as in `Size`; cells: that have one width each; step: of the widths."""

    network: str
    width: int | None
    cells: int
    step: int
    batch: int
    images: int
    epochs: int


@dataclass(frozen=True)
class Size:
    """How large the parts are. width: of all channel groups, None for the published ones; narrowest: the search's first
    and smallest width; minutes: budgets by part.
    """

    network: str
    width: int | None
    narrowest: int
    batch: int
    trials: int
    trial_epochs: int
    final_epochs: int
    final_batch: int
    images: tuple[int, int]
    workers: int
    rounds: int
    masked: Masked
    minutes: Mapping[str, float]


FULL = Size("resnet34", None, 16, 128, 35, 2, 10, 256, (50_000, 10_000), 5, 5,
            Masked("flexcharts20", None, 20, 8, 96, 4_800, 3),
            {"steps": 1.0, "evbmf": 0.5, "search": 4.0, "finals": 3.0, "masking": 1.5})  # fmt: skip
TINY = Size("vgg11", 4, 4, 16, 1, 1, 1, 32, (64, 32), 1, 1, Masked("vgg11", 4, 0, 2, 16, 64, 1),
            {"steps": 0.02, "evbmf": 0.02, "search": 1.0, "finals": 1.0, "masking": 5.0})  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """What the parts work with. data: what `chanc.data.load` takes; counts: whether accuracy on it is worth a word."""

    size: Size
    device: torch.device
    data: str
    root: str | None
    counts: bool
    folder: Path

    @property
    def images(self) -> Dataset:
        """The data set, in memory."""
        return load(self.data, root=self.root)

    @property
    def model(self) -> Path:
        """The network as ONNX."""
        return self.exported(self.size.network, self.size.width)

    def exported(self, network: str, width: int | None) -> Path:
        """A network of the zoo as ONNX."""
        path = self.folder / f"{network}-{width}.onnx"
        if not path.exists():
            export(f"zoo:{network}", path, width=width)
        return path


def now(device: torch.device) -> float:
    """Seconds, once all that the device was given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds_of(step: Step, count: int, device: torch.device) -> float:
    """Seconds of so many steps; the device is waited for at their end alone."""
    begun = now(device)
    for _ in range(count):
        step()
    return now(device) - begun


def stepping(module: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], device: torch.device) -> Step:
    """One step of SGD with momentum on the next batch, bfloat16 autocast on CUDA."""
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9)
    module.train()

    def step() -> None:
        images, labels = next(batches)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = nn.functional.cross_entropy(module(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def steps(bench: Bench, deadline: float, results: Result, tell: Tell) -> Result:
    """Median steps a second over rounds that take the sides in turn."""
    size, device = bench.size, bench.device
    sides = modules(size.network, device, size.width)
    data = bench.images.limit(train=size.images[0] // size.batch * size.batch)
    options = TrainOptions(batch_size=size.batch, device=device.type)
    feed = training_feed(data, options, "image", device, torch.Generator().manual_seed(0))
    endless = itertools.chain.from_iterable(itertools.repeat(feed.batches))
    still = next(endless)
    with torch.no_grad():
        answers = {name: copy.deepcopy(side).double().eval()(still[0].double()) for name, side in sides.items()}
    torch.testing.assert_close(answers["generated"], answers["twin"], rtol=1e-9, atol=1e-9)
    torch.backends.cudnn.benchmark = True
    loops = {side: stepping(module.to(memory_format=torch.channels_last), itertools.repeat(still), device)
             for side, module in sides.items()}  # fmt: skip
    loops["augmented"] = stepping(sides["generated"], endless, device)
    loops["images alone"] = lambda: next(endless)
    found = _rounds(loops, device, deadline, size.rounds)
    rates = {name: statistics.median(values) for name, values in found.items()}
    return {"network": size.network, "width": size.width, "batch": size.batch, "steps_per_s": rates, "rounds": found}


def _rounds(loops: Mapping[str, Step], device: torch.device, deadline: float, rounds: int) -> dict[str, list[float]]:
    """Steps a second by loop: the time until the deadline is shared out among them, in rounds."""
    counts = {}
    for name, step in loops.items():
        seconds_of(step, 3, device)
        share = (deadline - time.monotonic()) / (2 * len(loops) * rounds)
        counts[name] = max(2, math.floor(share / seconds_of(step, 3, device) * 3))
    found: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, step in loops.items():
            found[name].append(counts[name] / seconds_of(step, counts[name], device))
    return found


def evbmf(bench: Bench, deadline: float, results: Result, tell: Tell) -> Result:
    """Seconds to measure all layers: of the network's own widths, and of widths that all differ."""
    draw = np.random.default_rng(0)
    own = zoo.table(bench.size.network) if bench.size.width is None else dict.fromkeys(
        zoo.table(bench.size.network), bench.size.width)  # fmt: skip
    mixed = {name: max(8, round(width * draw.uniform(0.5, 1.5) / 8) * 8) for name, width in own.items()}
    found: Result = {}
    for kind, widths in {"own widths": own, "mixed widths": mixed}.items():
        weights = _weights(bench.size.network, widths)
        there = {name: torch.from_numpy(weight).to(bench.device) for name, weight in weights.items()}
        sides = {"device": there, "cpu": weights}
        measured = {side: layers_quality(of) for side, of in sides.items()}
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        while not seconds["cpu"] or (time.monotonic() < deadline and len(seconds["cpu"]) < bench.size.rounds):
            for side, of in sides.items():
                begun = now(bench.device)
                layers_quality(of)
                seconds[side].append(now(bench.device) - begun)
        others = sum((one.in_rank, one.out_rank) != (measured["cpu"][name].in_rank, measured["cpu"][name].out_rank)
                     for name, one in measured["device"].items())  # fmt: skip
        median = {side: statistics.median(values) for side, values in seconds.items()}
        found[kind] = {"layers": len(weights), "seconds": median, "layers_of_other_ranks": others}
    return found


def _weights(network: str, widths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Weights of a network's convolutions that look trained."""
    shapes = {name: module.weight.shape for name, module in zoo.build(network, widths=widths).named_modules()
              if isinstance(module, nn.Conv2d)}  # fmt: skip
    return {name: trained(np.random.default_rng(number), *shape[:3])
            for number, (name, shape) in enumerate(shapes.items())}  # fmt: skip


def greedy(bench: Bench, deadline: float, results: Result, tell: Tell) -> Result:
    """As many trials as fit, what they took, and the widths that the search would hand over."""
    size, out = bench.size, bench.folder / "run"
    last_epoch = 15.0 if bench.device.type == "cuda" else 0.0
    search(bench.model, algo="greedy", data=bench.data, data_root=bench.root, trials=size.trials,
           epochs=size.trial_epochs, train={"batch_size": size.batch}, normalise="dataset",
           options={"gamma": GAMMA, "start_width": size.narrowest, "min_width": size.narrowest},
           timeout=deadline - time.monotonic() - last_epoch, out=out)  # fmt: skip
    run = read_run(out)
    time_of = spent(run.timing)
    seconds = {one.id: dict(one.seconds) for one in run.timing}
    trials = [{"params": trial.params, "macs": trial.macs, "score": trial.score, "seconds": seconds[str(trial.id)]}
              for trial in run.trials]  # fmt: skip
    found = best(run)
    return {"network": size.network, "gamma": GAMMA, "wanted": size.trials, "trials": trials,
            "round_to": run.settings["round_to"], "share_beside_training": time_of.share, "beside": dict(time_of.rest),
            "training_s": time_of.training, "counts": bench.counts,
            "widths": dict(found.decision.widths) if found else None}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A network to train in a process of its own; until: when it has to stop, in seconds of `time.time`."""

    name: str
    model: Path
    widths: Mapping[str, int]
    data: str
    root: str | None
    epochs: int
    batch: int
    until: float


class OutOfTime(Exception):
    """The budget is spent."""


def train_one(job: Job) -> Result:
    """Train fresh weights at the job's widths; the epochs that were done before its time was over."""
    torch.set_num_threads(1)
    epochs: list[Result] = []

    def on_epoch(record: Any, module: nn.Module) -> None:
        epochs.append({"loss": record.loss, "score": record.score, "at": time.perf_counter() - begun})

    def on_step(info: Any) -> None:
        if time.time() > job.until:
            raise OutOfTime("the time was over")

    model = rewrite(job.model, dict(job.widths), transfer="init").model
    begun, failed = time.perf_counter(), ""
    try:
        train(model, data=job.data, data_root=job.root, epochs=job.epochs, batch_size=job.batch, normalise="dataset",
              on_step=on_step, on_epoch=on_epoch)  # fmt: skip
    except (OutOfTime, TrialError) as error:
        failed = str(error)
    return {"epochs": epochs, "of": job.epochs, "failed": failed}


def finals(bench: Bench, deadline: float, results: Result, tell: Tell) -> Result:
    """What the found network and its rivals learn in a few epochs, all at once."""
    if not bench.counts:
        return {"skipped": "the images are made up: no accuracy on them means anything"}
    of_search = results.get("search", {})
    widths = of_search.get("widths")
    if not widths:
        return {"skipped": "there are no widths of a search: run the part search first"}
    size, space = bench.size, space_of(analyze(bench.model))
    networks = {name: one[0] for name, one in rivals(space, widths, RIVALS, 0, of_search["round_to"]).items()}
    until = time.time() + deadline - time.monotonic()
    jobs = [Job(name, bench.model, of, bench.data, bench.root, size.final_epochs, size.final_batch, until)
            for name, of in networks.items()]  # fmt: skip
    found: Result = {name: {"params": space.count(of, "params"), "macs": space.count(of, "macs")}
                     for name, of in networks.items()}  # fmt: skip
    with ProcessPoolExecutor(size.workers, multiprocessing.get_context("spawn")) as pool:
        at_work = {pool.submit(train_one, job): job.name for job in jobs}
        for done in as_completed(at_work):
            found[at_work[done]] |= done.result()
            tell({"networks": found, "batch": size.final_batch})
    return {"networks": found, "batch": size.final_batch}


def masking(bench: Bench, deadline: float, results: Result, tell: Tell) -> Result:
    """Seconds and memory of epochs with masks, each method's beside a plain training of the same, widest network.

    The methods differ in how a choice is parameterised, and in its range.
    """
    size = bench.size.masked
    model = bench.exported(size.network, size.width)
    ties = {f"cells.{cell}.*": f"cell{cell}" for cell in range(size.cells)}
    options = {"split": 0.5, "turns": "steps", "step": size.step, "min_width": size.step}
    recipe: Result = {"batch_size": size.batch, "lr": 0.025, "clip_norm": 5.0}
    found: Result = {"network": size.network, "width": size.width, "batch": size.batch, "methods": {}}
    for algo in ("flexcharts", "dmask"):
        if time.monotonic() > deadline:
            break
        search(model, algo=algo, data=bench.data, data_root=bench.root, limit_train=size.images, epochs=size.epochs,
               train=recipe, options=options, ties=ties, normalise="dataset", out=bench.folder / algo)  # fmt: skip
        run = read_run(bench.folder / algo)
        last, timings = supernet_epochs(run)[-1], epoch_timings(run.timing)
        trained_on = round(last.largest["executed"] / last.largest["macs"])
        units = space_of(analyze(model), ties=ties).units
        widest = {group.id: round(last.high[name] * group.size / groups[0].size)
                  for name, groups in units.items() if name in last.high for group in groups}  # fmt: skip
        # The first epoch of a process is slow: kernels are chosen, memory is asked for.
        seconds = {part: statistics.median(one.seconds.get(part, 0.0) for one in timings[1:] or timings)
                   for part in ("train", "resize")}  # fmt: skip
        found["methods"][algo] = {
            "params": last.largest["params"], "macs": last.largest["macs"], "images": trained_on, "seconds": seconds,
            "peak_bytes": max(one.peak_bytes or 0 for one in timings),
            "plain_s": _plain(bench, rewrite(model, widest, transfer="init").model, recipe, trained_on),
        }  # fmt: skip
        tell(found)
    return found


def _plain(bench: Bench, model: Any, recipe: Result, images: int) -> float:
    """Seconds of the training steps of an epoch without masks, after one that warms up."""
    task = Classification()
    data = task.fit(model, bench.images.limit(train=images))
    options = TrainOptions(epochs=1, device=bench.device.type, **recipe)
    return [train_graph(model, data, task, options).spent["train"] for _ in range(2)][-1]


PARTS: dict[str, Callable[[Bench, float, Result, Tell], Result]] = {
    "steps": steps, "evbmf": evbmf, "search": greedy, "finals": finals, "masking": masking,
}  # fmt: skip


def run_parts(bench: Bench, parts: list[str], results: Result, output: Path) -> bool:
    """Run the parts; each one's result is written as soon as it is there, and so is why one failed."""
    whole = True
    for name in parts:

        def tell(result: Result, name: str = name) -> None:
            results[name] = result
            atomic_write_json(output.with_suffix(".json"), results)
            atomic_write_text(output, page(results))

        print(f"{name}: {60 * bench.size.minutes[name]:.0f} s", file=sys.stderr, flush=True)
        begun = time.monotonic()
        try:
            result = PARTS[name](bench, begun + 60 * bench.size.minutes[name], results, tell)
        except Exception as error:  # a part that fails takes nothing from the others
            traceback.print_exc()
            result, whole = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())}"}, False
        tell({**result, "took_s": round(time.monotonic() - begun, 1)})
    return whole


def prepared(options: argparse.Namespace, folder: Path) -> Bench:
    """The device, and the images: CIFAR-10 where it lies in the data folder, else made-up ones."""
    size = TINY if options.tiny else FULL
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not options.tiny and cifar.find(data_folder(options.data_root), "cifar10") is not None:
        return Bench(size, device, "cifar10", options.data_root, True, folder)
    data, path = synthetic(*size.images), folder / "made-up.npz"
    np.savez(path, x_train=data.train_images, y_train=data.train_labels, x_test=data.test_images,
             y_test=data.test_labels)  # fmt: skip
    return Bench(size, device, str(path), None, options.tiny, folder)


def about(bench: Bench) -> Result:
    """Where and with what it is run."""
    cuda = bench.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} thread(s)",
        "torch": torch.__version__, "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "python": platform.python_version(), "chanc": chanc.__version__,
        "data": "cifar10" if bench.data == "cifar10" else "made-up images", "tiny": bench.size is TINY,
        "precision": "bfloat16 autocast" if cuda else "float32", "command": shlex.join(sys.argv),
        "minutes": dict(bench.size.minutes),
    }  # fmt: skip


def known(path: Path, now_about: Result) -> Result:
    """The parts of an earlier call on the same device and data."""
    found: Result = json.loads(path.read_text()) if path.exists() else {}
    same = ("device", "torch", "data", "tiny")
    alike = [found.get("about", {}).get(name) for name in same] == [now_about[name] for name in same]
    return {**(found if alike else {}), "about": now_about}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--data-root", metavar="DATA")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--output", type=target)
    options = parser.parse_args()
    if not options.tiny and not torch.cuda.is_available():
        parser.error("torch sees no GPU here: --tiny runs on a CPU")
    with tempfile.TemporaryDirectory() as folder:
        output = options.output or (Path(folder) / "gpu.md" if options.tiny else RESULTS / "gpu.md")
        bench = prepared(options, Path(folder))
        results = known(output.with_suffix(".json"), about(bench))
        whole = run_parts(bench, options.parts, results, output)
        print(output.read_text())
    sys.exit(0 if whole else 1)


if __name__ == "__main__":
    main()
