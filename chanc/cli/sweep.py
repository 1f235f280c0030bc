"""`chanc sweep`: the same search for many settings and seeds."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chanc import plugins
from chanc.cli.options import GroupedCommand, Methods, Named, field_option, settable
from chanc.cli.outputs import say
from chanc.cli.sizes import size_options

if TYPE_CHECKING:
    from chanc.study.pools import Pool

WIDTHS = ("min_width", "max_width", "round_to")
"""Options of the methods that are the same for the whole sweep."""


class Values(click.ParamType):  # type: ignore[type-arg]
    """Values with commas between them: 0,0.5,0.8."""

    name = "values"

    def __init__(self, each: click.ParamType | type) -> None:  # type: ignore[type-arg]
        self.each = each if isinstance(each, click.ParamType) else click.types.convert_type(each)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """One value, and that there may be more."""
        return f"{self.each.get_metavar(param, ctx) or self.each.name.upper()},..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Parse each one, or fail with wrong usage."""
        if isinstance(value, tuple):
            return value
        return tuple(self.each.convert(part.strip(), param, ctx) for part in str(value).split(",") if part.strip())


class SweepCommand(GroupedCommand):
    """`chanc sweep`: every option of a search method may have several values."""

    def found(self) -> list[click.Option]:
        """The options of the input, and of the methods but for those that are declared below."""
        from chanc.training.options import InputOptions

        own = [field_option(option) for option in settable(InputOptions, but=("bake",)).values()]
        taken = {param.name or "" for param in (*self.params, *own)} - set(WIDTHS)
        methods = Methods().click_options(taken, wrap=Values)
        return [*own, *(option for option in methods if option.name not in WIDTHS)]

    def grouped(self) -> list[tuple[str, list[str]]]:
        """The headings of --help."""
        sizes = ["dims", "shapes"]
        own = [param.name for param in self.params if isinstance(param, click.Option) and param.name]
        return [
            ("What, and where", [name for name in own if name not in sizes]),
            ("Input", ["normalise", "scale_pixels"]),
            ("Open axes", sizes),
            *Methods().headings("All methods"),
        ]


@click.command(cls=SweepCommand, name="sweep")
@click.argument("model", type=click.Path())
@click.option("--algo", "algos", type=Values(Named("chanc.study.methods.registry:METHODS")), default="greedy",
              show_default=True, help="Search methods.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Number of seeds, from 0.")
@click.option("--preset", type=Named("chanc.study.presets:PRESETS"), help="All settings of a published search.")
@click.option("--data", default="digits", show_default=True, help="Data set: a name, a folder or an .npz file.")
@click.option("--data-root", type=click.Path(), help="Folder where named data sets lie.")
@click.option("--trials", type=click.IntRange(1), help="Trials of each search.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs of each trial.")
@click.option("--limit-train", type=click.IntRange(1), help="Use at most so many training images.")
@click.option("--limit-test", type=click.IntRange(1), help="Use at most so many test images.")
@click.option("--batch-size", type=click.IntRange(2), help="Images a step.")
@click.option("--lr", type=float, help="Learning rate of the trials.")
@click.option("--min-width", type=click.IntRange(1), help="Smallest width, in channels.")
@click.option("--max-width", type=click.IntRange(1), help="Largest width, in channels.")
@click.option("--round-to", type=click.IntRange(1), help="Widths are multiples of this.")
@click.option("--final-epochs", type=click.IntRange(0), show_default="the preset's, or 0",
              help="Final training of each.")  # fmt: skip
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
def command(model: str, algos: tuple[str, ...], seeds: int, **given: Any) -> None:
    """Run `chanc search` on MODEL for every combination of methods, values and seeds.

    \b
    Examples:
      chanc sweep r34.onnx --algo greedy,sa --gamma 0,0.5,0.6,0.7,0.8,0.9 --seeds 3 --data cifar10 --out sweeps/r34
      chanc sweep r34.onnx --algo greedy,sa --gamma 0,0.5,0.6,0.7,0.8,0.9 --seeds 3 --data cifar10 --out sweeps/r34 --resume
      chanc sweep net.onnx --algo uniform,random --target-params 250k,500k,1M --trials 3
      chanc sweep net.onnx --algo greedy,sa --seeds 3 --ray local
      chanc sweep net.onnx --algo greedy,sa --seeds 3 --slurm gpu --workers 8 --time-limit 600

    A method takes the values that it has an option for. Every cell is a run directory below --out; results.json has
    one row a finished cell. With --ray host:port and with --slurm, all machines must see MODEL, the data and --out
    under the same path; each cell gets one GPU where there is any.
    """  # noqa: E501
    from chanc.api import search
    from chanc.errors import RunError
    from chanc.runs import Row
    from chanc.study.sweep import cells, run_cell, sweep

    grid = {name: given.pop(name) for name in Methods().options if name not in WIDTHS}
    todo = cells(algos, {name: values for name, values in grid.items() if values}, range(seeds))
    resume, attempts, out = given.pop("resume"), given.pop("attempts"), given.pop("out")
    place = {name: given.pop(name) for name in ("workers", "ray", "slurm", "time_limit")}
    train = {name: given.pop(name) for name in ("batch_size", "lr")}
    options = {name: given.pop(name) for name in WIDTHS}
    common = {**given, "train": train, "options": options, "final": {"batch_size": train["batch_size"]}}
    pool, at_once = open_pool(out, **place)
    say(f"{len(todo)} cells, {at_once} at a time")
    function = functools.partial(run_cell, search=search)
    result = sweep(model, todo, out=out, resume=resume, pool=pool, attempts=attempts, say=say,
                   function=function, **common)  # fmt: skip
    for row in result.rows:
        found = row.rows.get("found", Row("found"))
        say(f"{row.cell:40}  params {found.params or 0:>11,}  "
                   f"top-1 {'-' if found.top1 is None else format(found.top1, '.2%')}")  # fmt: skip
    if result.failed:
        raise RunError(f"{len(result.failed)} of {len(todo)} cells failed: {', '.join(result.failed)}; "
                       f"--resume tries them again")  # fmt: skip


def open_pool(
    out: str, workers: int | None, ray: str | None, slurm: str | None, time_limit: int | None
) -> tuple[Pool, int | str]:
    """Where the cells run, and how many at a time. Raises as the pools do, or UsageError."""
    if ray is not None and slurm is not None:
        raise click.UsageError("--ray and --slurm don't go together")
    if time_limit is not None and slurm is None:
        raise click.UsageError("--time-limit is for --slurm")
    if ray is not None:
        from chanc.study.pools.ray import RayPool

        pool = RayPool(ray, workers or 0)
        return pool, pool.share.at_once
    if slurm is not None:
        from chanc.study.pools.slurm import SlurmPool

        return SlurmPool(slurm, Path(out) / "slurm", workers or 0, time_limit or 0), workers or "all"
    from chanc.study.pools.local import LocalPool, threads_each, visible_gpus

    plugins.expect("torch", "a sweep on this machine", "torch")
    gpus = visible_gpus() if workers is None else ()
    at_once = len(gpus) or workers or 1
    return LocalPool(at_once, gpus, threads_each(at_once)), at_once
