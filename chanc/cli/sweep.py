"""`chanc sweep`: the same search for many settings and seeds."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from chanc.cli.axes import Values, axis_option, several, split
from chanc.cli.options import GroupedCommand, Headings, Methods, Named
from chanc.cli.outputs import say
from chanc.cli.pools import open_pool
from chanc.cli.search import command as search_command
from chanc.cli.search import of_the_user, rivals
from chanc.cli.sizes import size_options

if TYPE_CHECKING:
    from chanc.study.sweep import Cell

OF_THE_SWEEP = ("out", "resume", "timeout", "planted", "quiet", "workers", "ray", "slurm", "time_limit", "dims",
                "shapes")  # fmt: skip
"""Options of a search that the sweep has instead of its cells."""

AS_THEY_ARE = ("keep", "ties", "metrics", "compare", "log", "normalise", "scale_pixels", "bake")
"""Options whose value is a list already, or has commas: all cells have the same, but for an --axis."""

WIDTHS = ("min_width", "max_width", "round_to")
"""Options of the methods that are the same for all cells where they have one value."""


def searched() -> dict[str, click.Option]:
    """The options of `chanc search` that a cell may have, by name."""
    known = (*search_command.params, *search_command.found())
    return {option.name: option for option in known
            if isinstance(option, click.Option) and option.name and option.name not in OF_THE_SWEEP}  # fmt: skip


class SweepCommand(GroupedCommand):
    """`chanc sweep`: the options of `chanc search`, which may have several values."""

    def found(self) -> list[click.Option]:
        """The options of a search but for those that are declared below."""
        own = {param.name for param in self.params} | {"seed"}
        return [option if name in AS_THEY_ARE else several(option)
                for name, option in searched().items() if name not in own]  # fmt: skip

    def grouped(self) -> Headings:
        """The headings of --help: the sweep's own, and then those of the search."""
        own = [param.name for param in self.params if isinstance(param, click.Option) and param.name]
        others = [(heading, [name for name in names if name not in own])
                  for heading, names in search_command.grouped()]  # fmt: skip
        return [("The sweep", own), *others]


@click.command(cls=SweepCommand, name="sweep")
@click.argument("model", type=click.Path())
@click.option("--algo", type=Values(Named("chanc.study.methods.registry:METHODS")), default=None,
              show_default="the preset's, or greedy", help="Search methods.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Number of seeds, from 0.")
@axis_option(searched)
@click.option("--out", type=click.Path(), default="sweep", show_default=True, help="The folder of the sweep.")
@click.option("--resume", is_flag=True, help="Go on with the sweep in --out: finished cells are never run again.")
@click.option("--workers", type=click.IntRange(1),
              help="Cells at a time; default: one a GPU, else one; on Ray and Slurm as many as fit.")  # fmt: skip
@click.option("--ray", metavar="ADDRESS", help="Run the cells on Ray: host:port, auto, or local to start one.")
@click.option("--slurm", metavar="PARTITION", help="Run the cells as jobs of Slurm.")
@click.option("--time-limit", type=click.IntRange(1), metavar="MINUTES",
              help="Time of a Slurm job; by default a day, or the partition's limit.")  # fmt: skip
@size_options
@click.option("--attempts", type=click.IntRange(1), default=2, show_default=True, help="Starts of a cell that fails.")
def command(model: str, seeds: int, axes: dict[str, tuple[Any, ...]], **given: Any) -> None:
    """Run `chanc search` on MODEL for every combination of methods, values and seeds.

    \b
    Examples:
      chanc sweep r34.onnx --algo greedy,sa --gamma 0,0.5,0.6,0.7,0.8,0.9 --seeds 3 --data cifar10 --out sweeps/r34
      chanc sweep r34.onnx --algo greedy,sa --gamma 0,0.5,0.6,0.7,0.8,0.9 --seeds 3 --data cifar10 --out sweeps/r34 --resume
      chanc sweep net.onnx --algo uniform,random --target-params 250k,500k,1M --trials 3
      chanc sweep net.onnx --axis lr=0.01,0.03,0.1 --axis transfer=grow,svd --axis metric-of=weights,change --seeds 3
      chanc sweep net.onnx --algo greedy,evolve --final-epochs 30 --compare baseline,uniform --seeds 3
      chanc sweep net.onnx --algo greedy,sa --seeds 3 --ray local
      chanc sweep net.onnx --algo greedy,sa --seeds 3 --slurm gpu --workers 8 --time-limit 600

    Every option of `chanc search` may have several values, by its own name or as an --axis. A method takes the values
    that it has an option for. Every cell is a run directory below --out; results.json has one row a finished cell. A
    final training that several cells have in common, that of the baseline for one, is done once. With --ray host:port
    and with --slurm, all machines must see MODEL, the data and --out under the same path; each cell gets one GPU where
    there is any.
    """  # noqa: E501
    from chanc.api import search
    from chanc.errors import RunError
    from chanc.runs import Row
    from chanc.study.sweep import run_cell, sweep

    resume, attempts, out = given.pop("resume"), given.pop("attempts"), given.pop("out")
    place = {name: given.pop(name) for name in ("workers", "ray", "slurm", "time_limit")}
    sizes = {name: given.pop(name) for name in ("dims", "shapes")}
    todo, common = plan(of_the_user(given), axes, seeds)
    pool, at_once = open_pool(out, **place)
    say(f"{len(todo)} cells, {at_once} at a time")
    function = functools.partial(run_cell, search=search)
    result = sweep(model, todo, out=out, resume=resume, pool=pool, attempts=attempts, say=say,
                   function=function, **sizes, **common)  # fmt: skip
    for row in result.rows:
        found = row.rows.get("found", Row("found"))
        say(f"{row.cell:40}  params {found.params or 0:>11,}  "
                   f"top-1 {'-' if found.top1 is None else format(found.top1, '.2%')}")  # fmt: skip
    if result.failed:
        raise RunError(f"{len(result.failed)} of {len(todo)} cells failed: {', '.join(result.failed)}; "
                       f"--resume tries them again")  # fmt: skip


def plan(given: Mapping[str, Any], axes: dict[str, tuple[Any, ...]], seeds: int) -> tuple[list[Cell], dict[str, Any]]:
    """The cells of a sweep, and the arguments of `chanc.search` that they all have.

    Raises ChancError as `cells`, and for an option that is given twice.
    """
    from chanc.study.places import placed
    from chanc.study.sweep import cells

    methods = Methods()
    always = ("algo", *(name for name in methods.options if name not in WIDTHS))
    grid, fixed = split(given, axes, always=always, never=AS_THEY_ARE)
    if "compare" in grid:
        grid["compare"] = tuple(rivals(text) for text in grid["compare"])
    if "compare" in fixed:
        fixed["compare"] = rivals(fixed["compare"])
    if "data" not in grid:
        fixed.setdefault("data", "digits")
    algos, seeded = grid.pop("algo", ()), grid.pop("seed", range(seeds))
    todo = [dataclasses.replace(cell, options=methods.chosen(cell.algo, cell.options))
            for cell in cells(algos, grid, seeded, fixed)]  # fmt: skip
    return todo, placed(fixed)
