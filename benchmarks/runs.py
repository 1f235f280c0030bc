"""The final trainings of several searches in one table: mean and spread of the seeds, and who beats whom.

chanc search r18.onnx --algo greedy ... --final-seeds 3 --compare uniform,random --out greedy
chanc search r18.onnx --algo sa ... --final-seeds 3 --compare uniform,random --out sa
python benchmarks/runs.py greedy sa [--out benchmarks/results/cifar10.md]
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import statistics
from pathlib import Path
from typing import Any


def scores(run: Path, name: str) -> list[float]:
    """top-1 of every seed of one network, 0 to 1."""
    found = sorted((run / "final").glob(f"{name}-*/result.json"))
    return [json.loads(path.read_text(encoding="utf-8"))["top1"] for path in found]


def command(run: Path) -> str:
    """The command that made a run; the data set by its name."""
    words = json.loads((run / "config.json").read_text(encoding="utf-8"))["environment"]["command"]
    words = [Path(word).name if word.startswith("/") else word for word in words]
    return shlex.join(words)


def spread(values: list[float]) -> str:
    return f" ± {statistics.stdev(values):.2%}" if len(values) > 1 else ""


def rows(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run / "comparison.json").read_text(encoding="utf-8"))["rows"]
    return found


def against(runs: list[Path], rival: str) -> str:
    """How the networks found by all runs stand to one kind of rival, run by run and seed by seed."""
    gains = [a - b for run in runs for a, b in zip(scores(run, "found"), scores(run, rival), strict=False)]
    if len(gains) < 2:
        return ""
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    return (
        f"Found against {rival}, over {len(gains)} pairs of the same seed: {statistics.fmean(gains) * 100:+.2f} points "
        f"(standard error {error * 100:.2f}); better in {sum(gain > 0 for gain in gains)}."
    )


def report(runs: list[Path]) -> str:
    """The table as markdown."""
    lines = ["# Searches compared", ""]
    lines += [f"`{command(run)}`\n" for run in runs]
    lines += ["| run | network | params | MACs | top-1 | seeds |", "|---|---|---|---|---|---|"]
    for run in runs:
        for row in rows(run):
            values = scores(run, row["name"])
            lines.append(
                f"| {run.name} | {row['name']} | {row['params']:,} | {row['macs'] / 1e6:.1f}M "
                f"| {statistics.fmean(values):.2%}{spread(values)} | {', '.join(f'{v:.2%}' for v in values)} |"
            )
    rivals = dict.fromkeys(row["name"] for run in runs for row in rows(run) if row["name"] != "found")
    lines += ["", *(text for rival in rivals if (text := against(runs, rival)))]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    text = report(args.runs)
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
