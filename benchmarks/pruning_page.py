"""The page of `pruning.py`: what was found, as tables."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from turns import Runs, ratio, spread


@dataclass(frozen=True)
class Found:
    """Of a network: nodes, runs by work, (smaller kernels, all) by tool, shares of stages of rewrite and analysis."""

    nodes: int
    runs: dict[str, Runs]
    smaller: dict[str, tuple[int, int]]
    rewrite: dict[str, float]
    analysis: dict[str, float]


class Page:
    """Lines of markdown, and the errors that its tables name, as notes."""

    def __init__(self, found: dict[str, Found]) -> None:
        self.found = found
        self.lines: list[str] = []
        self.notes: dict[str, int] = {}

    def table(self, title: str, text: str, head: list[str], row: Callable[[Found], list[str]]) -> None:
        """A section with a table that has a row a network."""
        self.lines += ["", f"## {title}", "", *([text, ""] if text else [])]
        self.lines += [f"| network | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
        self.lines += [f"| {name} | {' | '.join(row(one))} |" for name, one in self.found.items()]

    def seconds(self, runs: Runs) -> str:
        """Seconds on the clock, or where the note is that says why not."""
        if runs.error:
            return f"fails ({self.notes.setdefault(runs.error, len(self.notes) + 1)})"
        return spread(runs.column("wall"), 3)

    def ratio(self, other: Runs, mine: Runs) -> str:
        """How many times longer another work takes: on the clock, and of all cores."""
        if other.error or mine.error:
            return "-"
        return "; ".join(ratio(other.column(one), mine.column(one)) for one in ("wall", "cpu"))


def page(found: dict[str, Found], command: str) -> str:
    """The tables as markdown."""
    packages = ("torch", "torch-pruning", "onnxsim", "onnx", "onnx-ir", "numpy")
    names = ", ".join(f"{name} {version(name)}" for name in packages)
    made = Page(found)
    made.lines += [
        "# Pruning: chanc, Torch-Pruning, onnxsim", "",
        f"`{command}`", "",
        f"Python {platform.python_version()}, {names}; {os.cpu_count()} CPU cores.",
        "Times are seconds on the clock: the median of the runs, with the least and the most. Ratios are those of the",
        "medians, in brackets that of the least favourable pair of runs and of the most; first of the clock, then of",
        "the CPU time of all threads. The tools run in turn in one process. Torch-Pruning works in memory on a PyTorch",
        "module (`benchmarks/twins.py`, `benchmarks/larger.py`), onnxsim from ONNX file to ONNX file (and folds",
        "BatchNorm first); chanc's rewrite includes its own second analysis. All files have an open batch. Those of",
        "torchvision's networks come from PyTorch's TorchScript exporter, the others from the one that is the default",
        "today (`dynamo=True`); a name with .ts is the same module by TorchScript's, which writes shapes as chains of",
        "nodes. An analysis is of a model just loaded, whose shapes it folds.",
    ]  # fmt: skip
    made.table(
        "Channel groups of a loaded model", "",
        ["nodes", "chanc: load, normal form", "chanc `analyze_model`", "Torch-Pruning `build_dependency`",
         "Torch-Pruning / chanc"],
        lambda one: [
            str(one.nodes), *(made.seconds(one.runs[key]) for key in ("opened", "groups", "depend")),
            made.ratio(one.runs["depend"], one.runs["groups"]),
        ],
    )  # fmt: skip
    made.table(
        "All widths halved, from file to file", "",
        ["chanc", "onnxsim simplify, prune", "onnxsim / chanc"],
        lambda one: [
            made.seconds(one.runs["file"]), made.seconds(one.runs["onnxsim"]),
            made.ratio(one.runs["onnxsim"], one.runs["file"]),
        ],
    )  # fmt: skip
    made.table(
        "All widths halved, in memory", "`chanc.rewrite` of a loaded model, which stays as it is, beside a pruner made "
        "and stepped once.",
        ["chanc", "Torch-Pruning", "Torch-Pruning / chanc"],
        lambda one: [
            made.seconds(one.runs["memory"]), made.seconds(one.runs["step"]),
            made.ratio(one.runs["step"], one.runs["memory"]),
        ],
    )  # fmt: skip
    stages, steps = list(next(iter(found.values())).rewrite), list(next(iter(found.values())).analysis)
    made.table(
        "Where the time goes",
        "Shares of one rewrite from file to file, CPU time of its own thread (another one hashes the source); "
        "a stage without those inside it.",
        stages, lambda one: [f"{one.rewrite[stage]:.0%}" for stage in stages],
    )  # fmt: skip
    made.table(
        "Where the time of an analysis goes", "The same of finding the groups of a model just loaded.",
        steps, lambda one: [f"{one.analysis[step]:.0%}" for step in steps],
    )  # fmt: skip
    tools = ("chanc", "onnxsim", "Torch-Pruning")
    made.table(
        "Kernels and matrices that got smaller", "", list(tools),
        lambda one: [" of ".join(map(str, one.smaller.get(tool, "-"))) for tool in tools],
    )  # fmt: skip
    if made.notes:
        made.lines += ["", *(f"({number}) {error}" for error, number in made.notes.items())]
    return "\n".join(made.lines) + "\n"
