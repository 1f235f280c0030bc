"""CNAS, reduced: edges pruned by saliency against random ones and an unpruned network, at equal params.

    python benchmarks/cnas.py [--data fashion-mnist cifar10] [--seeds 3] [--network cnas:cells=3,nodes=3,f=8]
                              [--images 2000] [--epochs 8] [--final-epochs 8] [--sparsity 0.5] [--data-root FOLDER]
                              [--runs runs/cnas] [--output benchmarks/results/cnas.md]

A search a data set and seed; each ends in final trainings on the test images: found from scratch (CNAS-R), tuned from
the search's weights (CNAS-W), random edges, and the whole network with narrower layers. Killed, it goes on from the
last epoch, and trains nothing twice. The page tells of the runs that are done.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from arguments import at_least, target

from chanc.frontends import open_spec
from chanc.frontends.torch import export
from chanc.ir import atomic_write_text
from chanc.runs import EpochEvent, Record, difference, points, read_run
from chanc.runs.overhead import FINAL
from chanc.runs.paired import standard_error
from chanc.study.study import search

SHAPES = {"fashion-mnist": (1, 28), "cifar10": (3, 32)}
TITLES = {
    "found": "pruned, trained from scratch (R)",
    "tuned": "pruned, the search's weights (W)",
    "random-params": "random edges",
    "uniform-params": "no pruning, narrower",
}
RECIPE = {"lr": 0.05, "schedule": "cosine", "device": "cpu"}


def searched(options: argparse.Namespace, data: str, seed: int) -> None:
    """One run, begun or gone on with."""
    place = folder(options, data, seed)
    if (place / "events.jsonl").exists():
        search(out=place, resume=True, data_root=options.data_root, quiet=False)
        return
    channels, size = SHAPES[data]
    model = place.parent / f"{data}.onnx"
    if not model.exists():
        model.parent.mkdir(parents=True, exist_ok=True)
        module = open_spec(f"zoo:{options.network}", seed=0, channels=channels)
        export(module, torch.zeros(1, channels, size, size), model)
    search(
        model, algo="cnas", data=data, data_root=options.data_root, out=place, seed=seed, epochs=options.epochs,
        options={"sparsity": options.sparsity, "consumers": "*.pointwise.*,*.conv1.*", "batches": options.batches,
                 "tune_lr": options.tune_lr},
        train=RECIPE, final={**RECIPE, "nesterov": True, "batch_size": 64, "weight_decay": 2e-4, "final_lr": 1e-4},
        final_epochs=options.final_epochs, compare=("random-params", "uniform-params"),
        limit_train=options.images, limit_test=options.images, quiet=False,
    )  # fmt: skip


def folder(options: argparse.Namespace, data: str, seed: int) -> Path:
    return Path(options.runs) / f"{data}-{seed}"


def done(options: argparse.Namespace, data: str) -> list[Record]:
    """The runs whose final trainings are all there."""
    found = [folder(options, data, seed) for seed in range(options.seeds)]
    records = [read_run(path) for path in found if (path / "comparison.json").exists()]
    return [record for record in records if {event.name for event in record.finals} == set(TITLES)]


def table(records: Sequence[Record]) -> Iterator[str]:
    """Each network's mean, and how much better what was found is, paired by seeds."""
    yield "| network | params | MACs | top-1 | found is better by |"
    yield "|---|---|---|---|---|"
    scores = {name: by_seed(records, name) for name in TITLES}
    for name, title in TITLES.items():
        events = [event for record in records for event in record.finals if event.name == name]
        mean, error = statistics.fmean(scores[name].values()), standard_error(list(scores[name].values()))
        against = difference(scores["found"], scores[name]) if name != "found" else None
        told = f"{points(against)} ({against.judgement})" if against is not None else ""
        params, macs = (round(statistics.fmean(getattr(event, count) for event in events)) for count in COUNTS)
        spread = f" ± {error:.2%}" if error is not None else ""
        yield f"| {title} | {params:,} | {macs / 1e6:.2f} M | {mean:.2%}{spread} | {told} |"


COUNTS = ("params", "macs")


def by_seed(records: Sequence[Record], name: str) -> Mapping[str, float]:
    """top-1 by the run; one final training each."""
    return {record.path.name: event.score for record in records for event in record.finals if event.name == name}


def told(record: Record) -> str:
    """What became of a search, in a line."""
    epochs = record.of(EpochEvent)
    first, last = epochs[0].metrics["left"], epochs[-1].metrics["left"]
    whole = next(one for one in reversed(epochs) if one.metrics["left"] == first)
    return (
        f"- `{record.path.name}`: {first['inputs']:,.0f} inputs and {first['params']:,.0f} params, "
        f"{last['inputs']:,.0f} and {last['params']:,.0f} after {len(epochs) - whole.id - 1} steps; held-out top-1 "
        f"{whole.score:.2%} before them and {epochs[-1].score:.2%} at the end; saliency and masks took "
        f"{overhead(record):.1%} of the training's time"
    )


def overhead(record: Record) -> float:
    """Seconds of saliency and masks over those of training, of the search's epochs."""
    lines = [line.seconds for line in record.timing if not line.id.startswith(FINAL)]
    spent = {name: sum(line.get(name, 0.0) for line in lines) for name in ("saliency", "cut", "train")}
    return (spent["saliency"] + spent["cut"]) / spent["train"]


def page(options: argparse.Namespace) -> str:
    lines = ["# CNAS, reduced", "", *(line for line in (__doc__ or "").split("\n\n")[-1].splitlines()), ""]
    lines += [
        f"Reduced from the paper's 20 cells, F = 36, 50,000 images, 150 and 630 epochs to `zoo:{options.network}`, "
        f"{options.images:,} training and {options.images:,} test images, {options.epochs} epochs before the first "
        f"step, one after each, {options.final_epochs} at the end; {options.sparsity:.0%} of the params go. Params "
        "don't count columns that are zero. Besides the operations' inputs those of the convolution that brings the "
        "input of two cells back to size (`preprocess0.conv1`, of the cells that follow a reduction) may go, which the "
        "paper keeps.",
        "",
    ]  # fmt: skip
    for data in options.data:
        records = done(options, data)
        lines += [f"## {data}, {len(records)} of {options.seeds} seeds", ""]
        lines += [*table(records), "", *map(told, records), ""] if records else []
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--seeds", type=at_least(1), default=3)
    parser.add_argument("--network", default="cnas:cells=3,nodes=3,f=8")
    parser.add_argument("--images", type=at_least(100), default=2000)
    parser.add_argument("--epochs", type=at_least(1), default=8)
    parser.add_argument("--final-epochs", type=at_least(1), default=8)
    parser.add_argument("--batches", type=at_least(1), default=5, help="batches of a saliency")
    parser.add_argument("--tune-lr", type=at_least(0.0), default=0.01, help="learning rate between the steps")
    parser.add_argument("--sparsity", type=at_least(0.0), default=0.5)
    parser.add_argument("--data-root")
    parser.add_argument("--runs", default="runs/cnas")
    parser.add_argument("--output", type=target, default="benchmarks/results/cnas.md")
    options = parser.parse_args()
    for seed in range(options.seeds):
        for data in options.data:
            searched(options, data, seed)
            atomic_write_text(options.output, page(options))


if __name__ == "__main__":
    main()
