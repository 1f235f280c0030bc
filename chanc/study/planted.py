"""The planted defect: does a search find a bottleneck that was put there?

One channel group of the model is starved to a quarter of its width, and all others are scaled up until the network has
as many parameters as before. A search that starts there passes where, within ten trials (or one training of as many
epochs, where widths change inside) and at that cost, the group regains at least half of what it lost in four of five
seeds. Random widths stand beside it: what they regain, nobody needs a method for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from chanc.analysis import Analysis, analyze
from chanc.errors import ModelError
from chanc.files import atomic_write_json
from chanc.ir import load, save
from chanc.rewriter import rewrite
from chanc.runs import clear_errors
from chanc.study.methods.registry import fields_of, trains_itself
from chanc.study.outcome import Run
from chanc.study.parts import space_of
from chanc.study.space import WIDEST, Limits, SearchGroup, Space, Widths
from chanc.study.targets import project

SEEDS, TRIALS, NEEDED = 5, 10, 4
SET_HERE = ("seed", "resume", "timeout", "max_params", "max_macs", "max_latency", "final_epochs")
"""Arguments of a search that the test sets itself."""
CONTROL = "random"


@dataclass(frozen=True)
class Defect:
    """What was planted: the group, its own width and the starved one, all widths, and the params that they cost."""

    group: str
    own: int
    starved: int
    widths: Widths
    params: int

    @property
    def goal(self) -> float:
        """The width, in channels, at which half of the gap is regained."""
        return (self.own + self.starved) / 2


@dataclass(frozen=True)
class Planted:
    """The group's width that each seed's search ended with, brought to equal cost, by method."""

    defect: Defect
    algo: str
    widths: Mapping[str, tuple[int, ...]]

    def regained(self, algo: str) -> int:
        """In how many seeds the group regained at least half of the gap."""
        return sum(width >= self.defect.goal for width in self.widths[algo])

    @property
    def passed(self) -> bool:
        """Whether the method did so in four of five seeds."""
        return self.regained(self.algo) >= NEEDED

    def table(self) -> Table:
        """A row a seed, for a terminal."""
        defect = self.defect
        shown = Table(title=f"{defect.group}: starved from {defect.own} channels to {defect.starved}; "
                            f"regained from {defect.goal:g} on", title_justify="left", header_style="bold")  # fmt: skip
        shown.add_column("seed")
        for algo in self.widths:
            shown.add_column(algo, justify="right")
        for seed in range(SEEDS):
            widths = [of[seed] for of in self.widths.values()]
            shown.add_row(str(seed), *(f"{width} {'yes' if width >= defect.goal else 'no'}" for width in widths))
        shown.add_row("regained", *(f"{self.regained(algo)} of {SEEDS}" for algo in self.widths))
        return shown

    @property
    def verdict(self) -> str:
        """One sentence."""
        return (f"{self.algo} {'passes' if self.passed else 'fails'}: the group regains half of the gap in "
                f"{self.regained(self.algo)} of {SEEDS} seeds ({NEEDED} are needed), with {CONTROL} widths in "
                f"{self.regained(CONTROL)}")  # fmt: skip


def planted(
    model: object,
    *,
    search: Callable[..., Run],
    algo: str = "greedy",
    out: Path = Path("run"),
    trials: int = TRIALS,
    options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda line: None,
    **asked: Any,
) -> Planted:
    """Plant the defect and search from there with each seed, and with random widths; goes on with what lies in `out`.

    search: `chanc.search`, whose arguments `asked` are; its seeds, budgets and final trainings are set here. Raises
    ModelError where no group can be starved, and what the search raises.
    """
    source, defect = sow(model, out)
    widths: dict[str, tuple[int, ...]] = {}
    for one in dict.fromkeys((algo, CONTROL)):
        found = []
        for seed in range(SEEDS):
            found.append(regained(source, defect, search=search, algo=one, seed=seed, out=out / f"{one}-seed{seed}",
                                  trials=trials, options=options, **asked))  # fmt: skip
            say(f"{one}, seed {seed}: {found[-1]} channels")
        widths[one] = tuple(found)
    result = Planted(defect, algo, widths)
    with clear_errors(out):
        atomic_write_json(out / "planted.json", {**asdict(result), "passed": result.passed})
    return result


def sow(model: object, out: Path) -> tuple[Path, Defect]:
    """Plant the defect and leave the network in `out`: its file, and what was planted."""
    analysis = analyze(load(model), fold=False)
    defect = plant(analysis)
    source = out / "planted.onnx"
    with clear_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        save(rewrite(analysis.model, defect.widths, transfer="select", fold=False).model, source)
    return source, defect


def regained(
    source: Path,
    defect: Defect,
    *,
    search: Callable[..., Run],
    algo: str,
    seed: int,
    out: Path,
    trials: int = TRIALS,
    options: Mapping[str, Any] | None = None,
    **asked: Any,
) -> int:
    """The starved group's width, in channels at equal cost, after one search in `out`, which goes on where it was."""
    own, there = _options(algo, options or {}, defect), (out / "config.json").exists()
    length = _length(algo, trials, asked.get("epochs"))
    run = search(source, algo=algo, out=out, resume=there, seed=seed, options=own, **{**asked, **length})
    return at_cost(space_of(analyze(load(source), fold=False)), run.widths, defect.params)[defect.group]


def plant(analysis: Analysis) -> Defect:
    """Starve the group that most layers hang on; among equal ones the middle one of the graph."""
    space = space_of(analysis)
    layers = {group.id: len(group.members) for group in analysis.groups}
    groups = [group for group in space.resizable if group.size // 4 // group.step]
    if not groups or len(space.resizable) < 2:
        raise ModelError("no defect can be planted: it takes two groups that may change, one of them of four steps")
    middle = (len(groups) - 1) / 2
    place = max(range(len(groups)), key=lambda index: (layers[groups[index].id], -abs(index - middle)))
    chosen, params = groups[place], space.count(space.widths, "params")
    widths = _others_scaled(space, chosen, params)
    return Defect(chosen.id, chosen.size, widths[chosen.id], widths, space.count(widths, "params"))


def at_cost(space: Space, widths: Mapping[str, int], params: int) -> Widths:
    """The widths in their proportions at equal cost: what a method made of the size is not what is judged here."""
    return project(space, Limits(1, WIDEST, 1), dict(widths), {"params": params})


def _others_scaled(space: Space, chosen: SearchGroup, params: int) -> Widths:
    starved = chosen.size // 4 // chosen.step * chosen.step
    limits = Limits(1, WIDEST, 1)

    def at(factor: float) -> Widths:
        return {**limits.scale(space, space.widths, factor), chosen.id: starved}

    factors = np.linspace(1.0, 4.0, 1201)
    return at(float(min(factors, key=lambda factor: abs(space.count(at(float(factor)), "params") - params))))


def _length(algo: str, trials: int, epochs: int | None) -> dict[str, int]:
    """A method that trains by itself gets as many epochs as all trials of another together."""
    if not trains_itself(algo):
        return {"trials": trials}
    return {"epochs": trials * epochs} if epochs is not None else {}


def _options(algo: str, given: Mapping[str, Any], defect: Defect) -> dict[str, Any]:
    """The options that a method has: a start at the planted widths, bounds with room, all trials at equal cost.

    A starved group may be as narrow as a few channels: legal widths, on every device, are as fine as half of it, and
    those of masks any. Masks have some hundred steps here, the papers' have 13,000: they learn faster, and train at
    widths as they would be.
    """
    room = {"start_width": 0, "min_width": max(1, defect.starved // 2), "max_width": 4 * max(defect.widths.values()),
            "round_to": max(1, min(2, defect.starved // 2)), "step": 1, "mask_lr": 0.3, "mask_mode": "sampled",
            "target_params": defect.params}  # fmt: skip
    known = fields_of(algo)
    return {name: value for name, value in {**room, **given}.items() if name in known and value is not None}
