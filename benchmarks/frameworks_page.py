"""The table of frameworks in docs/coverage.md, from the rows that frameworks.py measured."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Json = Mapping[str, Any]
ROWS = Path(__file__).parent / "results" / "frameworks.jsonl"
HEAD = "## Frameworks"
HOW = """\
Made by `python benchmarks/frameworks.py`: a ResNet-14 (of scikit-learn a perceptron) for scikit-learn's digits, in \
each framework, exported by `chanc export`. Export: the largest difference between onnxruntime and the framework, over \
the largest output, at a batch of 3. BN: BatchNorms in the file. T: Transposes that are left, one where the input \
keeps its channels last. Weights, groups, half and 1.5 times: as above. Trained: accuracy before and after two epochs, \
and how far onnxruntime is from the trained network in PyTorch. Search: accuracy of three trials of one epoch on 400 \
images."""


def read(path: Path) -> list[Json]:
    """The rows of earlier runs."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def section(rows: Sequence[Json]) -> list[str]:
    """The section as lines, a blank one at its end."""
    if not rows:
        return []
    heads = ["from", "written by", "export", "BN", "T", "weights", "groups", "half", "1.5 times", "trained", "search"]
    lines = [HEAD, "", *textwrap.wrap(HOW, 120), "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    faults = [part for row in rows if row["fault"] for part in textwrap.wrap(f"- {row['name']}: {row['fault']}", 120)]
    return [*lines, *(f"| {' | '.join(cells(row))} |" for row in rows), "", *([*faults, ""] if faults else [])]


def cells(row: Json) -> list[str]:
    """The cells of a row; what was not reached is empty."""
    exporter = f"{row['exporter']}, opset {row['opset']}"
    export = f"{row['difference']:.0e}" + ("" if row["batch"] == "batch" else f", batch {row['batch']}")
    found = [row["name"], exporter, export, str(row["norms"]), str(row["transposes"]), f"{100 * row['share']:.1f} %"]
    trained = f"{row['before']:.2f} → {row['after']:.2f} ({row['equal']:.0e})"
    search = ", ".join(f"{score:.2f}" for score in row["trials"])
    return [*found, row["groups"], judged(row["half"]), judged(row["widen"]), trained, search]


def judged(found: Json) -> str:
    """How many groups were verified, and how far an output was off."""
    if not found or found["fault"]:
        return "wrong" if found else ""
    kinds = {"exact": "exact", "doubled": "doubled", "untold": "can't tell", "left": "left alone"}
    counts = ", ".join(f"{found[kind]} {word}" for kind, word in kinds.items() if found[kind])
    return f"{counts or 'nothing'} ({found['error']:.0e})"


def put(page: str, rows: Sequence[Json]) -> str:
    """The page with the section in place of the one that it has, or before its first one."""
    first, *parts = page.split("\n## ")
    parts = [part for part in parts if not f"## {part}".startswith(HEAD)]
    mine = "\n".join(section(rows)).removeprefix("## ").rstrip()
    return "\n## ".join([first, *([mine + "\n"] if mine else []), *parts])
