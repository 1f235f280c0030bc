"""The page docs/coverage.md, from the rows that coverage.py measured."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import frameworks_page

from chanc.analysis.rules import REGISTRY as ANALYSIS
from chanc.analysis.rules.quantize import blocked, packed
from chanc.backends.torch.emitter import REGISTRY as EMITTERS
from chanc.rewriter.rules import REGISTRY as REWRITE

Json = Mapping[str, Any]
COMMAND = "python benchmarks/coverage.py --models MODELS..."
TOLERANCE = 1e-4
NEWEST = 1 << 20
ENDS = ("it takes graph input", "it is a graph output")
"""How the reasons begin of groups at the ends of a model, which stay in any model."""

KINDS = {"exact": "exact", "doubled": "doubled", "untold": "can't tell", "left": "left alone"}
HOW = """\
Weights: the share of all weights that stand on an axis of a group that may change. Groups: those that may change, of \
those that a layer makes or takes; two or so always stay, at the model's input and output. Half: `chanc rewrite \
--scale 0.5`, as it is judged: groups that compute what the original does without the dropped channels (exact); \
groups that a norm across channels sees, which are verified by doubling (doubled); groups of which no judge can tell; \
a group of one unit can't be halved and stays as wide as before. Where half of a network is so dead that its outputs \
hardly depend on the inputs, exact groups are doubled, too. 1.5 times: likewise with `--scale 1.5 --transfer widen`. \
In brackets the largest difference of an output over its largest entry, and how many groups needed float64. PyTorch: \
the same difference between onnxruntime and the files of `chanc codegen`. Training: the loss of one batch before and \
after two steps down the gradient, each of which moves a tensor by a thousandth of its norm or less, by \
`chanc.training.module.trainable`, after which the weights are written back into the graph and read again; \
classifiers on random labels, others on their own outputs, shifted."""
OPERATORS = """\
Analysis: channels are followed through the operator; opaque: those that enter it stay. Rewrite: the operator holds \
widths of its own (sizes, counts, indices), which follow. PyTorch: `chanc codegen` writes it."""


def page(rows: Sequence[Json], models: int) -> str:
    """The page as markdown; `models` is how many there are, with a row or without."""
    lines = ["# Coverage", "", f"Made by `{COMMAND}`.", "", *summed_up(rows, models), "", *wrapped(HOW), ""]
    lines += frameworks_page.section(frameworks_page.read(frameworks_page.ROWS))
    lines.pop()
    for folder in dict.fromkeys(row["folder"] for row in rows):
        part = [row for row in rows if row["folder"] == folder]
        lines += ["", f"## Models: {folder}", ""]
        lines += ["| model | weights | groups | half | 1.5 times | PyTorch | training |", "|---" * 7 + "|"]
        lines += [f"| {' | '.join(cells(row))} |" for row in part]
        notes = [note for row in part for note in notes_of(row)]
        lines += ["", "What stays or fails, and why:", "", *notes] if notes else []
    return "\n".join([*lines, "", "## Operators", "", *wrapped(OPERATORS), "", *operators()]) + "\n"


def line(row: Json) -> str:
    """A row as one line of progress."""
    parts = ("half", "widen", "codegen", "training")
    seconds = " ".join(f"{part} {row[part]['seconds']:.0f}s" for part in parts)
    return f"{', '.join(cells(row))} ({seconds}, {row['gigabytes']} GB)"


def summed_up(rows: Sequence[Json], models: int) -> list[str]:
    """A list of what holds for how many models."""

    def count(holds: Callable[[Json], bool]) -> int:
        return sum(holds(row) for row in rows)

    def of(holds: Callable[[Json], bool]) -> str:
        return f"{count(holds)} of {models}"

    lines = [
        f"- weights: in {of(lambda row: whole(row) >= 0.99)} models 99 % or more may change",
        f"- groups: in {of(lambda row: not inner(row))} models all may change but those at inputs and outputs",
    ]
    for part, name in (("half", "half"), ("widen", "1.5 times")):
        lines.append(
            f"- {name}: {of(lambda row, part=part: verified(row[part]))} verified, "
            f"{count(lambda row, part=part: verified(row[part]) and row[part]['doubled'] > 0)} of them with groups "
            "doubled because a norm across channels sees them, "
            f"{count(lambda row, part=part: verified(row[part]) and row[part]['float64'] > 0)} in float64; "
            f"{count(lambda row, part=part: row[part]['untold'] > 0)} have groups of which no judge can tell, "
            f"{count(lambda row, part=part: bool(fault(row, part)))} are refused or wrong"
        )
    near = f"{TOLERANCE:g}, or within twice what rounding makes"
    lines.append(f"- PyTorch: {of(equal)} written, and equal to onnxruntime within {near}")
    lines.append(f"- training: {of(lambda row: not fault(row, 'training'))} train")
    lines += [f"- not measured yet: {models - len(rows)} of {models}"] if len(rows) < models else []
    return [part for text in lines for part in textwrap.wrap(text, 120, subsequent_indent="  ")]


def whole(row: Json) -> float:
    """The share of the weights that may change."""
    return row["free_params"] / row["params"] if row["params"] else 0.0


def fault(row: Json, part: str) -> str:
    """What is wrong with a part of a row, if anything."""
    return row["fault"] or row[part]["fault"]


def verified(judged: Json) -> bool:
    """Whether all groups that changed were found right."""
    return not judged["fault"] and not judged["untold"] and judged["exact"] + judged["doubled"] > 0


def equal(row: Json) -> bool:
    """Whether the module computes what the graph does, but for rounding."""
    error, noise = row["codegen"]["error"], row["codegen"]["noise"]
    return not fault(row, "codegen") and error is not None and error <= max(TOLERANCE, 2 * noise)


def cells(row: Json) -> list[str]:
    """The cells of the table."""
    groups = f"{row['free_groups']} of {row['groups']}"
    found = [row["name"], f"{100 * whole(row):.1f} %", groups, rewrite_cell(row, "half"), rewrite_cell(row, "widen")]
    error, losses = row["codegen"]["error"], row["training"]["losses"]
    noise = f", rounding makes {row['codegen']['noise']:.0e}" if row["codegen"]["noise"] else ""
    found.append("no" if fault(row, "codegen") else f"{error:.0e}{noise}")
    return [*found, "no" if fault(row, "training") else f"{losses[0]:.3g} → {losses[-1]:.3g}"]


def rewrite_cell(row: Json, part: str) -> str:
    """How many groups were verified in which way."""
    judged = row[part]
    if fault(row, part):
        return "wrong" if judged["fault"].startswith("wrong") else "refused"
    counts = ", ".join(f"{judged[kind]} {word}" for kind, word in KINDS.items() if judged[kind])
    if (same := row["free_groups"] - sum(judged[kind] for kind in KINDS)) > 0:
        counts += f", {same} as wide as before"
    double = f", {judged['float64']} in float64" if judged["float64"] else ""
    deaf = ", doubled too" if judged["deaf"] else ""
    return f"{counts or 'nothing'}{deaf} ({judged['error']:.0e}{double})"


def inner(row: Json) -> Json:
    """The reasons of groups that stay though they aren't at an end of the model, and how many have each."""
    return {reason: count for reason, count in row["reasons"].items() if not reason.startswith(ENDS)}


def notes_of(row: Json) -> Iterator[str]:
    """Lines on what stays or fails in a model, if anything does."""
    said = []
    stays = Counter[str]()
    for reason, count in inner(row).items():
        stays[briefly(reason)] += count
    said += [f"{count} group{'s stay' if count > 1 else ' stays'}: {reason}" for reason, count in stays.most_common()]
    for part, word in (("half", "half"), ("widen", "1.5 times"), ("codegen", "PyTorch"), ("training", "training")):
        said += [f"{word}: {briefly(row[part]['fault'])}"] if row[part]["fault"] else []
        said += [f"{word}: {briefly(reason)}" for reason in dict.fromkeys(row[part].get("reasons", ()))]
    said += [row["fault"]] if row["fault"] else []
    yield from textwrap.wrap(f"- {row['name']}: {'; '.join(said)}", 120, subsequent_indent="  ") if said else ()


def briefly(reason: str) -> str:
    """A reason without the names of single nodes."""
    return re.sub(r"\((\w+) '[^']*'\)", r"(\1)", reason).replace("|", "/")


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 120)


def operators() -> list[str]:
    """The table of operators: which rooms know them."""
    analysis, rewriting, emitters = set(ANALYSIS.names()), set(REWRITE.names()), set(EMITTERS.names())
    lines = ["| operator | analysis | rewrite | PyTorch |", "|---|---|---|---|"]
    for domain, name in sorted(analysis | emitters):
        marks = ["yes" if (domain, name) in table else "" for table in (analysis, rewriting, emitters)]
        if not marks[0] or domain == "chanc" or ANALYSIS.find(domain, name, NEWEST) in (blocked, packed):
            marks[0] = "opaque"
        lines.append(f"| {domain + '::' if domain else ''}{name} | {' | '.join(marks)} |")
    return lines
