"""The page of `prune.py`: what each tool keeps of each network, paired differences by seed, and what they say."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from prune import BASE, CELLS, EPOCHS, NETWORKS, SEEDS, TOOLS, TRAIN, Row, job_of

from chanc.runs.paired import MARGIN, Difference, difference, standard_error

RIVALS = ("tp-taylor", "tp-norm")
WANTED = 2
"""Cells in which (a) has to be better by two standard errors."""

Scores = Mapping[str, Mapping[str, float]]
"""Of each tool, by seed: top-1, 0 to 1."""


def page(rows: Sequence[Row]) -> str:
    """The whole page, as markdown."""
    before = {row["network"]: row["macs"] for row in rows if row["tool"] == BASE}
    of = {cell: [row for row in rows if job_of(row).cell == cell] for cell in CELLS}
    begun = {cell: own for cell, own in of.items() if own}
    fair = {cell: scores([row for row in own if not over(row, before)]) for cell, own in begun.items()}
    cells = (_cell(cell, own, fair[cell], before) for cell, own in begun.items())
    out = sum(any(row["tool"] == "onnxsim" and over(row, before) for row in own) for own in begun.values())
    return "\n\n".join([_head(), *_verdicts(fair, out), *_bases(rows), *cells]) + "\n"


def over(row: Row, before: Mapping[str, int]) -> bool:
    """Whether a result has more MACs than it may, of what its network had: the tool can't do it."""
    whole = before.get(row["network"])
    return whole is not None and 100 * row["macs"] > row["share"] * whole


def scores(rows: Sequence[Row]) -> Scores:
    """Of one cell's rows."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["tool"], {})[str(row["seed"])] = row["score"]
    return found


def against(of: Scores, tool: str, other: str) -> Difference | None:
    """A tool minus another; None before both have all seeds."""
    found = difference(of.get(tool, {}), of.get(other, {}))
    return found if found is not None and found.n == len(SEEDS) else None


def judgement(one: Difference) -> str:
    """By two standard errors; differences that are all alike show no spread to be judged by."""
    if not one.error or abs(one.mean) <= 2 * one.error:
        return "can't tell"
    return "better" if one.mean > 0 else "worse"


def _head() -> str:
    data = ", ".join(f"{name} on {network.data}" for name, network in NETWORKS.items())
    return "\n\n".join([
        "# `chanc prune` beside Torch-Pruning and onnxsim",
        "`python benchmarks/prune.py --data-root DATA`",
        f"Reduced for two cores: narrow networks ({data}); {TRAIN:,} training images, trained first for some minutes "
        f"on one thread, then {EPOCHS} epochs of fine-tuning in one step of pruning; {len(SEEDS)} seeds, which change "
        "the images, their order and the training, not the first network, of which there is one.",
        "All fine-tuning is `chanc.train` with one recipe (AdamW, cosine) and equal images, epochs and seeds. chanc's "
        "evidence and Torch-Pruning's Taylor see as many of these images, each its own draw; chanc refits layers in "
        "closed form before it trains, as it always does. Torch-Pruning 1.6.1 ranks all channels at once "
        "(GroupTaylorImportance, or GroupMagnitudeImportance without training for sparsity), in one step at the "
        "largest ratio within the MACs, then is exported. Neither tool may take more than nine tenths of a group, "
        "neither rounds widths. onnxsim 0.8.1 scales all widths alike and folds BatchNorm. chanc counts the MACs of "
        "all, and scores all on the whole test set.",
        "Differences are in points of top-1, paired by seed, ± their standard error; *better* and *worse* are beyond "
        "two of them. A result over the budget is compared with none: the tool can't bring that network there.",
    ])  # fmt: skip


def _verdicts(cells: Mapping[str, Scores], out: int) -> list[str]:
    """A line on each of (a), (b) and (c); on none that has no whole cell. out: cells that onnxsim can't do."""
    lines = [_labelled(cells), _unlabelled(cells), _closed(cells, out)]
    found = [f"- {line}" for line in lines if line]
    return ["\n".join(found)] if found else []


def _labelled(cells: Mapping[str, Scores]) -> str:
    pairs = [[against(of, "chanc-labels", rival) for rival in RIVALS] for of in cells.values()]
    whole = [[judgement(one) for one in pair if one is not None] for pair in pairs if None not in pair]
    if not whole:
        return ""
    worse, better = sum("worse" in said for said in whole), sum(set(said) == {"better"} for said in whole)
    met = _met(not worse and better >= WANTED, len(whole))
    return (f"(a) chanc with labels is worse than one of Torch-Pruning's two in {worse} of {len(whole)} cells, and "
            f"better than both in {better} (asked for: 0, and {WANTED} of {len(CELLS)}): {met}.")  # fmt: skip


def _unlabelled(cells: Mapping[str, Scores]) -> str:
    whole = _whole(cells, "chanc", "chanc-labels")
    if not whole:
        return ""
    within = sum(one.mean >= -MARGIN for one in whole)
    return (f"(b) Without labels chanc is within a point of itself with labels in {within} of {len(whole)} cells "
            f"(asked for: all): {_met(within == len(whole), len(whole))}.")  # fmt: skip


def _closed(cells: Mapping[str, Scores], out: int) -> str:
    whole = _whole(cells, "chanc-closed", "onnxsim")
    if not whole:
        return ""
    worse, better = sum(one.mean < 0 for one in whole), sum(judgement(one) == "better" for one in whole)
    met = _met(not worse and 2 * better > len(whole), len(whole) + out)
    others = f" In {out} more onnxsim stays over the budget." if out else ""
    return (f"(c) The closed form alone is below onnxsim's at all in {worse} of {len(whole)} cells, and better in "
            f"{better} (asked for: 0, and most): {met}.{others}")  # fmt: skip


def _whole(cells: Mapping[str, Scores], tool: str, other: str) -> list[Difference]:
    return [one for of in cells.values() if (one := against(of, tool, other)) is not None]


def _met(holds: bool, cells: int) -> str:
    said = "met" if holds else "not met"
    return said if cells == len(CELLS) else f"{said} so far"


def _bases(rows: Sequence[Row]) -> list[str]:
    lines = [f"| {row['network']} | {row['params']:,} | {row['macs']:,} | {row['score']:.2%} |" for row in rows
             if row["tool"] == BASE]  # fmt: skip
    return ["\n".join(["## Before", "", "| | params | MACs | top-1 |", "|---|---|---|---|", *lines])] if lines else []


def _cell(cell: str, rows: Sequence[Row], fair: Scores, before: Mapping[str, int]) -> str:
    network, share = CELLS[cell]
    lines = [f"## {network}, {share} % of the MACs", "", "| | params | MACs | top-1 | n | seconds |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    owns = [[row for row in rows if row["tool"] == tool] for tool in TOOLS]
    lines += [_line(own, before) for own in owns if own]
    pairs = [*(("(a)", "chanc-labels", rival) for rival in RIVALS), ("(b)", "chanc", "chanc-labels"),
             ("(c)", "chanc-closed", "onnxsim")]  # fmt: skip
    told = [f"- {part} {tool} minus {other}: {_points(one)}" for part, tool, other in pairs
            if (one := against(fair, tool, other)) is not None]  # fmt: skip
    return "\n".join([*lines, *(["", *told] if told else [])])


def _line(own: Sequence[Row], before: Mapping[str, int]) -> str:
    """The means of a tool's rows in a cell."""
    mean = {key: statistics.fmean(row[key] for row in own) for key in ("params", "macs", "score", "cpu_s")}
    whole = before.get(own[0]["network"])
    macs = f"{mean['macs']:,.0f}" + (f" ({mean['macs'] / whole:.1%})" if whole else "")
    macs += ": over the budget" if any(over(row, before) for row in own) else ""
    error = standard_error([row["score"] for row in own])
    score = f"{mean['score']:.2%}" + (f" ± {error:.2%}" if error is not None else "")
    return f"| {own[0]['tool']} | {mean['params']:,.0f} | {macs} | {score} | {len(own)} | {mean['cpu_s']:.0f} |"


def _points(one: Difference) -> str:
    error = f" ± {one.error * 100:.2f}" if one.error is not None else ""
    return f"{one.mean * 100:+.2f}{error} {judgement(one)}"
