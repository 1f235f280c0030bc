"""The page of `wins.py`: for each cell, who is better than uniform and flat widths of equal cost, and by how much."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wins import CELLS, CONTROLS, EPOCHS, METHODS, NAMED, SEARCHES, SEEDS, SHARE, Cell

from chanc.runs.paired import Difference, difference, standard_error

Row = Mapping[str, Any]
Cells = Mapping[Cell, Sequence[Row]]
Scores = dict[str, dict[str, float]]
"""Of each method, by seed: the mean score of the networks that its searches found."""
SUMMARIES = {"All cells of one budget": ("params", "macs"), "Those of equal params": ("params",),
             "Those of equal MACs": ("macs",), "Cells of both budgets": ("both",)}  # fmt: skip
"""Titles, and the budgets of the cells that are put together."""
ANCHOR = (
    "The nearest published figures are NeuralScale's (Lee & Lee 2020, CVPR workshops), of wide networks in long "
    "trainings, at equal params and a quarter of the widths: +3.04 points over uniform widths (VGG11, CIFAR-10), +8.56 "
    "(MobileNetV2, CIFAR-100), +3.41 (ResNet18, TinyImageNet)."
)


def page(rows: Sequence[Row]) -> str:
    """The whole page, as markdown: of cells in which the controls and the named sampler have all their seeds."""
    cells = {cell: [row for row in rows if row["cell"] == cell.name] for cell in CELLS.values()}
    cells = {cell: of for cell, of in cells.items() if _whole(scores(of), *CONTROLS, NAMED)}
    parts = [_head(cells), *_summary(cells), *(_cell(cell, of) for cell, of in cells.items())]
    return "\n\n".join(parts) + "\n"


def scores(rows: Sequence[Row]) -> Scores:
    """By method and seed; only seeds for which all of a method's networks were trained."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row["kind"] == "final" and row["seed"] in SEEDS:
            found.setdefault(_method(row), {}).setdefault(str(row["seed"]), []).append(row["score"])
    whole = {name: {seed: of for seed, of in seeds.items() if len(of) == _networks(name)}
             for name, seeds in found.items()}  # fmt: skip
    return {name: {seed: statistics.fmean(of) for seed, of in seeds.items()} for name, seeds in whole.items()}


def _method(row: Row) -> str:
    name = str(row["source"]).partition("/")[0]
    return "ceiling" if name == "draw" else name


def _networks(name: str) -> int:
    return 1 if name in (*CONTROLS, "ceiling") else len(SEARCHES)


def _head(cells: Cells) -> str:
    lines = [
        "# Found widths against uniform and flat ones of equal cost",
        f"`python benchmarks/wins.py --data-root DATA`; {EPOCHS} epochs from scratch, {SHARE:.0%} of the cost. The "
        f"claim is about `{NAMED}` with the options of `wins.py`. Differences are in points of test accuracy, paired "
        "by seed, ± half of the 95 % interval (Student's t); *better* and *worse* lie outside of it.",
    ]
    verdicts = [(cell, _verdicts(scores(rows), NAMED)) for cell, rows in cells.items()]
    single = [said for cell, said in verdicts if cell.budget != "both" and len(said) == len(CONTROLS)]
    if single:
        wins = sum(all(one.judgement == "better" for one in said.values()) for said in single)
        losses = sum(any(one.judgement == "worse" for one in said.values()) for said in single)
        lines.append(f"`{NAMED}` is better than both in {wins} of {len(single)} cells of one budget, and worse than "
                     f"one of them in {losses}.")  # fmt: skip
    return "\n\n".join([*lines, *_ceilings(cells)])


def _ceilings(cells: Cells) -> Iterator[str]:
    """How far the named sampler is from the best of the random shapes."""
    found = [difference(of.get(NAMED, {}), of.get("ceiling", {})) for of in map(scores, cells.values())]
    if points := [f"{100 * one.mean:+.2f}" for one in found if one is not None]:
        yield (f"Less the ceiling `{NAMED}` has {', '.join(points)} points, in the cells that have one. All that was "
               "tried there is in the tables: every method, random shapes and the papers' own rules.")  # fmt: skip


def _summary(cells: Cells) -> Iterator[str]:
    """Each method over all cells of some budgets, of those in which all its networks are trained."""
    said = ("Means of the cells' differences, in points, ± the standard error over cells; how many of them are better "
            "and how many worse, each by its own interval. The *better one* is that of the two controls which has the "
            "higher mean in the cell: a search isn't told which one that is.")  # fmt: skip
    for title, budgets in SUMMARIES.items():
        chosen = {cell.name: rows for cell, rows in cells.items() if cell.budget in budgets}
        of = {name: scores(rows) for name, rows in chosen.items()}
        methods = [name for name in (*METHODS, "ceiling") if any(_whole(one, name) for one in of.values())]
        if methods:
            yield f"## {title}"
            if said:
                yield said
            if budgets == ("params",):
                yield ANCHOR
            heads = ("", "cells", "against uniform", "against flat", "against the better one", "searched for")
            yield "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|",
                             *(_overall(name, chosen, of) for name in methods)])  # fmt: skip
            said = ""


def _whole(of: Scores, *names: str) -> bool:
    """Whether these have a score with each seed."""
    return all(len(of.get(name, {})) == len(SEEDS) for name in names)


def _overall(name: str, rows: Mapping[str, Sequence[Row]], of: Mapping[str, Scores]) -> str:
    whole = {cell: one for cell, one in of.items() if _whole(one, name, *CONTROLS)}
    better = {cell: max(CONTROLS, key=lambda control: statistics.fmean(one[control].values()))
              for cell, one in whole.items()}  # fmt: skip
    against = [
        _counted([found for cell, one in whole.items() if (found := difference(one[name], one[rival(cell)]))])
        for rival in (lambda _: "uniform", lambda _: "flat", better.__getitem__)
    ]  # fmt: skip
    costs = [cost for cell in whole if (cost := _searched(name, rows[cell])) is not None]
    title = f"**{name}**" if name == NAMED else name
    spent = f"{statistics.fmean(costs):.1f} trainings" if costs else ""
    return f"| {title} | {len(whole)} | {' | '.join(against)} | {spent} |"


def _counted(found: Sequence[Difference]) -> str:
    """The mean over cells, and the verdicts."""
    if not found:
        return ""
    means = [100 * one.mean for one in found]
    error = standard_error(means)
    said = [one.judgement for one in found]
    return (f"{statistics.fmean(means):+.2f}" + ("" if error is None else f" ± {error:.2f}")
            + f" ({said.count('better')} better, {said.count('worse')} worse)")  # fmt: skip


def _verdicts(of: Scores, name: str) -> dict[str, Difference]:
    """A method against each control that there is."""
    found = {control: difference(of.get(name, {}), of.get(control, {})) for control in CONTROLS}
    return {control: one for control, one in found.items() if one is not None and one.n > 1}


def _cell(cell: Cell, rows: Sequence[Row]) -> str:
    of = scores(rows)
    lines = [f"## {cell.model}, {cell.data}, a quarter of {'both' if cell.budget == 'both' else 'its ' + cell.budget}",
             "", "| | params | MACs | top-1 | n | against uniform | against flat | searched for |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    order = sorted(of, key=lambda name: -statistics.fmean(of[name].values()) if of[name] else 0.0)
    return "\n".join([*lines, *(_line(name, of, rows) for name in order if of[name]), *_random(rows)])


def _line(name: str, of: Scores, rows: Sequence[Row]) -> str:
    finals = [row for row in rows if row["kind"] == "final" and row["seed"] in SEEDS and _method(row) == name]
    params, macs = (" ".join(dict.fromkeys(f"{row[key]:,}" for row in finals)) for key in ("params", "macs"))
    error = standard_error(list(of[name].values()))
    score = f"{statistics.fmean(of[name].values()):.2%}" + (f" ± {error:.2%}" if error is not None else "")
    said = _verdicts(of, name)
    against = [_points(said[control]) if control in said and control != name else "" for control in CONTROLS]
    title = f"**{name}**" if name == NAMED else name
    return f"| {title} | {params} | {macs} | {score} | {len(of[name])} | {' | '.join(against)} | {_cost(name, rows)} |"


def _points(one: Difference) -> str:
    return f"{one.mean * 100:+.2f} ± {(one.reach or 0.0) * 100:.2f} {one.judgement}"


def _cost(name: str, rows: Sequence[Row]) -> str:
    cost = _searched(name, rows)
    return "" if cost is None else f"{cost:.1f} trainings"


def _searched(name: str, rows: Sequence[Row]) -> float | None:
    """How many trainings of the found network a search took, by MACs times epochs."""
    macs = {row["source"]: row["macs"] for row in rows if row["kind"] == "final"}
    costs = [row["epoch_macs"] / (EPOCHS * macs[f"{name}/{row['seed']}"]) for row in rows
             if row["kind"] == "search" and row["source"] == name and f"{name}/{row['seed']}" in macs]  # fmt: skip
    return statistics.fmean(costs) if costs else None


def _random(rows: Sequence[Row]) -> Iterator[str]:
    tried = [row["score"] for row in rows if row["kind"] == "final" and row["seed"] not in SEEDS]
    if tried:
        yield ""
        yield (f"Random shapes, each trained once: {len(tried)}, {min(tried):.2%} to {max(tried):.2%}, mean "
               f"{statistics.fmean(tried):.2%}. The ceiling is the best of them, trained again.")  # fmt: skip
