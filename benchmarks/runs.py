"""The final trainings of several searches in one table: mean and spread of the seeds, and who beats whom.

chanc search r18.onnx --algo greedy ... --final-seeds 3 --compare uniform,random --out greedy
chanc search r18.onnx --algo sa ... --final-seeds 3 --compare uniform,random --out sa
python benchmarks/runs.py greedy sa [--out benchmarks/results/cifar10.md]
"""

from __future__ import annotations

import argparse
import math
import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path

from arguments import target

from chanc.errors import ChancError
from chanc.runs import Record, final_rows, read_run


def scores(run: Record, name: str) -> dict[int, float]:
    """top-1 (0 to 1) of one network, by the seed of its final training."""
    return {event.seed: event.score for event in run.finals if event.name == name}


def command(run: Record) -> str:
    """The command that made a run; the data set by its name."""
    words = run.environment["command"]
    assert isinstance(words, list)
    return shlex.join(Path(str(word)).name if str(word).startswith("/") else str(word) for word in words)


def spread(values: Sequence[float]) -> str:
    return f" ± {statistics.stdev(values):.2%}" if len(values) > 1 else ""


def against(runs: Sequence[Record], rival: str) -> str:
    """How the networks found by all runs stand to one kind of rival, run by run and seed by seed."""
    pairs = [(scores(run, "found"), scores(run, rival)) for run in runs]
    gains = [ours[seed] - theirs[seed] for ours, theirs in pairs for seed in ours if seed in theirs]
    if len(gains) < 2:
        return ""
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    return (
        f"Found against {rival}, over {len(gains)} pairs of the same seed: {statistics.fmean(gains) * 100:+.2f} points "
        f"(standard error {error * 100:.2f}); better in {sum(gain > 0 for gain in gains)}."
    )


def report(runs: Sequence[Record]) -> str:
    """The table as markdown."""
    lines = ["# Searches compared", ""]
    lines += [f"`{command(run)}`\n" for run in runs]
    lines += ["| run | network | params | MACs | top-1 | seeds |", "|---|---|---|---|---|---|"]
    rivals: dict[str, None] = {}
    for run in runs:
        for row in final_rows(run):
            values = list(scores(run, row.name).values())
            rivals |= {row.name: None} if row.name != "found" else {}
            lines.append(
                f"| {run.path.name} | {row.name} | {row.params:,} | {(row.macs or 0) / 1e6:.1f}M "
                f"| {statistics.fmean(values):.2%}{spread(values)} | {', '.join(f'{v:.2%}' for v in values)} |"
            )
    lines += ["", *(text for rival in rivals if (text := against(runs, rival)))]
    return "\n".join(lines) + "\n"


def run(text: str) -> Record:
    """A finished run's folder, read."""
    try:
        found = read_run(text)
    except ChancError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not found.finals:
        raise argparse.ArgumentTypeError(f"{text} has no final trainings")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=run, metavar="RUN")
    parser.add_argument("--out", type=target)
    args = parser.parse_args()
    text = report(args.runs)
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
