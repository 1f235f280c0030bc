"""What a search spends beside training, from its own timing.

    python benchmarks/overhead.py RUN [--network resnet34] [--width 32] [--data cifar10] [--data-root DATA] [--trials 2]
                                  [--epochs 2] [--batch 128] [--limit-train N] [--output benchmarks/results/overhead.md]

RUN is a search that was done. Where there is none, a greedy search is made there, of the zoo's network with all widths
equal; --limit-train makes it short, and its share is then too high: training grows with the images, the rest doesn't.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

import torch
from arguments import at_least, target

from chanc.api import search
from chanc.frontends import zoo
from chanc.frontends.torch import export
from chanc.ir import atomic_write_text
from chanc.runs import Record, read_run
from chanc.runs.overhead import Spent, spent


def make(options: argparse.Namespace) -> None:
    """The search, in RUN."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / f"{options.network}.onnx"
        channels, side = (1, 8) if options.data == "digits" else (3, 32)
        export(zoo.build(options.network, width=options.width, channels=channels),
               torch.zeros(2, channels, side, side), model)  # fmt: skip
        search(model, algo="greedy", data=options.data, data_root=options.data_root, trials=options.trials,
               epochs=options.epochs, limit_train=options.limit_train, train={"batch_size": options.batch},
               options={"start_width": options.width, "min_width": min(16, options.width)}, out=options.run,
               quiet=False, command=sys.argv)  # fmt: skip


def report(run: Record, time: Spent) -> str:
    """The page: the whole, each part, each trial."""
    limit = run.settings.get("limit_train")
    images = f"{limit} of its training images" if limit else "all of its training images"
    lines = [
        "# What a search spends beside training",
        "",
        f"{len(run.trials)} trials of {run.settings.get('epochs')} epochs on {run.settings.get('data')}, {images}, "
        f"{run.environment.get('device')}, {run.environment.get('threads')} thread(s).",
        "Training is its steps and the evaluation of each epoch. All other seconds of the search count as beside it:",
        "reading the data and finding out which pixels the model takes, analysis, rewriting, generating its module,",
        "measuring its layers, saving, drawing the report. They hardly grow with the images, training does.",
        "",
        f"Command: `python {shlex.join(sys.argv)}`",
        "",
        f"**{time.share:.2%}** of {time.total:.1f} s lie beside training.",
        "",
        "| part | seconds | share |",
        "|---|---|---|",
        f"| training | {time.training:.2f} | {1 - time.share:.2%} |",
    ]
    lines += [f"| {name} | {seconds:.2f} | {seconds / time.total:.2%} |" for name, seconds in time.rest.items()]
    lines += ["", "| | training, s | beside, s | of that |", "|---|---|---|---|"]
    for one in run.timing:
        own = spent([one])
        if own.total:
            parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in own.rest.items())
            name = f"trial {int(one.id) + 1}" if one.id.isdigit() else one.id
            lines.append(f"| {name} | {own.training:.2f} | {own.total - own.training:.2f} | {parts} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--network", default="resnet34", choices=zoo.names(), metavar="NAME")
    parser.add_argument("--width", type=at_least(1), default=32)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-root")
    parser.add_argument("--trials", type=at_least(1), default=2)
    parser.add_argument("--epochs", type=at_least(1), default=2)
    parser.add_argument("--batch", type=at_least(2), default=128)
    parser.add_argument("--limit-train", type=at_least(2))
    parser.add_argument("--output", type=target)
    options = parser.parse_args()
    if not (options.run / "config.json").exists():
        make(options)
    run = read_run(options.run)
    text = report(run, spent(run.timing))
    print(text)
    if options.output:
        atomic_write_text(options.output, text)


if __name__ == "__main__":
    main()
