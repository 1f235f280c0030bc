"""Write docs/coverage.md: the operators with rules, and what becomes of every model of some folders.

    python benchmarks/coverage_rules.py MODELS... [--out docs/coverage.md]

MODELS are folders of .onnx files and of skeletons (.onnx.gz, whose weights are made up). Each model's channel groups
are found, and both oracles are run: half of every exact group, and half as much again with `widen`. An error is the
largest difference of any output over its largest value; a final Sigmoid or Softmax is left off, since random inputs
drive it to 0 or 1.
"""

from __future__ import annotations

import argparse
import textwrap
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from chanc.analysis import Analysis, analyze
from chanc.analysis.rules import REGISTRY as ANALYSIS
from chanc.analysis.rules.quantize import blocked, integer_product
from chanc.backends import ort
from chanc.backends.torch.emitter import REGISTRY as EMITTERS
from chanc.errors import ChancError
from chanc.files import atomic_write_text
from chanc.oracles import compare, zeroed
from chanc.rewriter import rewrite
from chanc.rewriter.rules import REGISTRY as REWRITE
from chanc.testing.skeletons import open_model

SQUASHES = ("Sigmoid", "Softmax")
NEWEST = 1 << 20
ENDS = ("it takes graph input", "it is a graph output")


@dataclass
class Row:
    """What was found of one model."""

    name: str
    groups: str = "-"
    convs: str = "-"
    params: str = "-"
    exact: str = "-"
    shrink: str = "-"
    widen: str = "-"
    reasons: list[str] = field(default_factory=list)

    def cells(self) -> str:
        """The row of the table."""
        parts = (self.name, self.groups, self.convs, self.params, self.exact, self.shrink, self.widen)
        return f"| {' | '.join(parts)} |"


def examine(path: Path) -> Row:
    """Analyse one model and run the oracles; an error of chanc becomes the cell's text."""
    row = Row(path.name.removesuffix(".gz").removesuffix(".onnx"))
    try:
        model = before_squash(open_model(path))
        analysis = analyze(model)
        describe(row, analysis)
        feeds = ort.fitting_feeds(model, batch=1)
        row.shrink = error_of(model, analysis, feeds, 0.5, "select")
        row.widen = error_of(model, analysis, feeds, 1.5, "widen")
    except ChancError as error:
        row.reasons.append(f"{type(error).__name__}: {error}")
    return row


def before_squash(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with what goes into a final Sigmoid or Softmax as output."""
    makers = {name: node for node in model.graph.node for name in node.output}
    for output in model.graph.output:
        maker = makers.get(output.name)
        if maker is not None and maker.op_type in SQUASHES:
            output.name = maker.input[0]
    return model


def describe(row: Row, analysis: Analysis) -> None:
    """Groups, shares and reasons. A layer may change where its in or its out axis does."""
    free = [group for group in analysis.groups if group.resizable]
    layers = {o.initializer for group in analysis.groups for o in group.members}
    moving = {o.initializer for group in free for o in group.members}
    sizes = {name: int(tensor.const_value.size) for name, tensor in analysis.model.graph.initializers.items()
             if tensor.const_value is not None}  # fmt: skip
    touched = {o.initializer for group in free for o in group.operands}
    total = sum(sizes.values())
    row.groups = f"{len(free)} of {len(analysis.groups)}"
    row.convs = f"{len(moving)} of {len(layers)}"
    row.params = f"{100 * sum(sizes[name] for name in touched) / total:.1f} %" if total else "-"
    row.exact = f"{sum(group.exact for group in free)} of {len(free)}"
    inner = [group.reason for group in analysis.groups if not group.resizable and not group.reason.startswith(ENDS)]
    row.reasons = [f"{reason} ({count} times)" if count > 1 else reason for reason, count in Counter(inner).items()]


def error_of(
    model: onnx.ModelProto, analysis: Analysis, feeds: dict[str, np.ndarray], scale: float, transfer: str
) -> str:
    """The error of an oracle over all exact groups, or the refusal."""
    free = [g for g in analysis.groups if g.resizable and g.exact and (transfer == "select" or g.scalable)]
    if not free:
        return "-"
    try:
        result = rewrite(model, {group.id: {"scale": scale} for group in free}, transfer=transfer)
    except ChancError as error:
        return f"refused: {error}"
    expected = zeroed(model, result.trace) if transfer == "select" else model
    outputs = [ort.run(each, feeds, exact=True) for each in (expected, result.model)]
    found = compare(*outputs, [value.name for value in model.graph.output])
    return f"{max(one.error for one in found):.1e}"


def operators() -> list[str]:
    """The table of operators: which rooms know them."""
    analysis, rewriting, emitters = set(ANALYSIS.names()), set(REWRITE.names()), set(EMITTERS.names())
    lines = ["| operator | analysis | rewrite | PyTorch |", "|---|---|---|---|"]
    for domain, name in sorted(analysis | emitters):
        marks = ["yes" if (domain, name) in table else "" for table in (analysis, rewriting, emitters)]
        if not marks[0] or ANALYSIS.find(domain, name, NEWEST) in (blocked, integer_product):
            marks[0] = "opaque"
        lines.append(f"| {domain + '::' if domain else ''}{name} | {' | '.join(marks)} |")
    return lines


def page(rows: dict[str, list[Row]], command: str) -> str:
    """The page as markdown."""
    found = [row for part in rows.values() for row in part]
    good = sum(_small(row.shrink) and _small(row.widen) for row in found)
    lines = ["# Coverage", "", f"Made by `{command}`.", ""]
    lines += textwrap.wrap(
        f"{len(found)} models; on {good} of them both oracles agree to 1e-4. Shares: groups that may change, "
        "convolutions of which an axis may change, parameters on an axis that may change, and exact ones among "
        "the groups that may change (the others stand under a norm or a softmax across channels).",
        120,
    )
    for folder, part in rows.items():
        lines += ["", f"## Models: {folder}", ""]
        lines += ["| model | groups | convolutions | parameters | exact | shrink to 0.5 | widen to 1.5 |"]
        lines += ["|---|---|---|---|---|---|---|", *(row.cells() for row in part)]
        notes = [f"- {row.name}: {'; '.join(row.reasons)}" for row in part if row.reasons]
        if notes:
            lines += ["", "What stays, other than at the model's inputs and outputs:", "", *notes]
    lines += ["", "## Operators", ""]
    lines += textwrap.wrap(
        "Analysis: channels are followed through the operator; opaque: those that enter it stay. Rewrite: the operator "
        "holds widths of its own (sizes, counts, indices), which follow. PyTorch: `chanc codegen` writes it.",
        120,
    )
    return "\n".join([*lines, "", *operators()]) + "\n"


def _small(text: str) -> bool:
    try:
        return float(text) <= 1e-4
    except ValueError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("docs/coverage.md"))
    args = parser.parse_args()
    rows: dict[str, list[Row]] = {}
    for folder in args.folders:
        rows[folder.name] = []
        for path in sorted([*folder.glob("*.onnx"), *folder.glob("*.onnx.gz")]):
            rows[folder.name].append(examine(path))
            print(rows[folder.name][-1].cells(), flush=True)
    atomic_write_text(args.out, page(rows, "python benchmarks/coverage_rules.py MODELS..."))


if __name__ == "__main__":
    main()
