"""`chanc search`: find better widths by training trials."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from chanc.cli.options import (
    Count,
    Duration,
    GroupedCommand,
    Headings,
    Methods,
    Named,
    TaskName,
    field_option,
    settable,
    task_options,
)
from chanc.cli.outputs import say
from chanc.cli.pools import open_pool
from chanc.cli.sizes import size_options
from chanc.fields import Option

if TYPE_CHECKING:
    from chanc.study.pools import Pool

RUN = ("out", "resume", "timeout", "log", "planted")
"""Options of the run as such."""

MEASURED = ("metrics", "metric_of", "select_by")
"""Options of what is measured in trials."""

PLACE = ("workers", "ray", "slurm", "time_limit")
"""Options of where trials run side by side."""


class SearchCommand(GroupedCommand):
    """`chanc search`: its options besides those below are fields of methods, tasks, InputOptions and TrainOptions."""

    def found(self) -> list[click.Option]:
        """The options of the input, of the trials' training, of the final ones, and of the methods."""
        from chanc.training.options import InputOptions

        train, final = training_options()
        options = [*map(field_option, settable(InputOptions).values()), *map(field_option, train.values()),
                   *map(_final_option, final.values()), *map(field_option, task_options().values())]  # fmt: skip
        taken = {param.name or "" for param in (*self.params, *options)}
        return [*options, *Methods().click_options(taken)]

    def grouped(self) -> Headings:
        """The headings of --help."""
        train, final = training_options()
        return (
            ("What", ("algo", "preset", "data", "data_root", "task", *task_options(), *RUN)),
            ("Open axes", ("dims", "shapes")),
            ("Trials", ("trials", "epochs", "limit_train", "limit_test", "holdout", "seed", *MEASURED, *train)),
            ("Input", ("normalise", "scale_pixels", "bake")),
            ("Budgets", ("target_params", "target_macs", "target_latency", "max_params", "max_macs", "max_latency")),
            ("Groups", ("keep", "ties")),
            ("Trials side by side", PLACE),
            *Methods().headings("Widths"),
            ("Weights between trials", ("transfer", "reset", "carry_optimizer", "from_weights")),
            ("Final training", ("final_epochs", *(f"final_{name}" for name in final), "final_seeds", "compare")),
        )


def training_options() -> tuple[dict[str, Option], dict[str, Option]]:
    """The fields of TrainOptions that are options of a search: for its trials, and for its final trainings."""
    from chanc.study.places import FINAL
    from chanc.training.options import TrainOptions

    fields = settable(TrainOptions, but=("epochs", "seed"))
    # The preset, or the method's usual recipe, gives what isn't given: no default of TrainOptions does.
    plain = {name: dataclasses.replace(one, default=one.default is True, shown="") for name, one in fields.items()}
    plain["flip"] = dataclasses.replace(plain["flip"], shown=fields["flip"].shown)
    return {name: one for name, one in plain.items() if name != "final_lr"}, {name: plain[name] for name in FINAL}


def _final_option(option: Option) -> click.Option:
    name = f"final_{option.name}"
    return field_option(dataclasses.replace(option, name=name, help=f"The same for the final trainings: {option.help}"))


def _ties(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """The name by pattern; wrong usage where one of the two is missing."""
    found = dict(word.rpartition("=")[::2] for word in given)
    if not all(pattern and name for pattern, name in found.items()):
        raise click.BadParameter("write PATTERN=NAME, as in --tie 'layer1.*=first'", ctx, param)
    return found


@click.command(cls=SearchCommand, name="search")
@click.argument("model", type=click.Path(), required=False)
@click.option("--algo", type=Named("chanc.study.methods.registry:METHODS"), help="The search method.")
@click.option("--preset", type=Named("chanc.study.presets:PRESETS"),
              help="Settings of a published search; yours win over it.")  # fmt: skip
@click.option("--data", default="digits", show_default=True, help="Data set: a name, a folder or an .npz file.")
@click.option("--data-root", type=click.Path(), help="Folder where named data sets lie.")
@click.option("--task", type=TaskName(), default="classification", show_default=True,
              help="What networks are trained for.")  # fmt: skip
@click.option("--out", type=click.Path(), default="run", show_default=True, help="The run directory.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out, which knows its model and options.")
@click.option("--planted", is_flag=True, help="Test the method: starve one group of MODEL, and see in five searches "
                                            "of ten trials whether it is found, and by random widths too.")  # fmt: skip
@click.option("--timeout", type=Duration(), help="Stop after so long, at the end of an epoch (90s, 30m, 1h30m).")
@click.option("--log", multiple=True, type=Named("chanc.runs.loggers:LOGGERS"),
              help="Tell a tracker of experiments what happens, too; may be given several times.")  # fmt: skip
@click.option("--trials", type=click.IntRange(1), help="Number of trials; with --resume, how many in all.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs of each trial.")
@click.option("--limit-train", type=click.IntRange(1), help="Use at most so many training images.")
@click.option("--limit-test", type=click.IntRange(1), help="Use at most so many test images.")
@click.option("--holdout", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.1, show_default=True,
              help="Share of the training images that trials are judged on.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of everything random.")
@click.option("--max-params", type=Count(), help="Ceiling of parameters (500k, 1.5M).")
@click.option("--max-macs", type=Count(), help="Ceiling of MACs for one input.")
@click.option("--max-latency", type=float, metavar="MS", help="Ceiling of milliseconds in onnxruntime, batch 1.")
@click.option("--keep", multiple=True, metavar="PATTERN",
              help="Groups that stay as they are, by id or by a layer's name ('head.*'); may be given several times.")
@click.option("--tie", "ties", multiple=True, metavar="PATTERN=NAME", callback=_ties,
              help="Groups that are scaled by one factor: all that have one NAME; may be given several times.")
@click.option("--transfer", type=Named("chanc.rewriter:TRANSFERS"), show_default="grow; svd in presets",
              help="How weights follow a change of widths.")  # fmt: skip
@click.option("--reset", is_flag=True, help="Draw norms and linear layers anew after each change of widths.")
@click.option("--adas-carry", "carry_optimizer", is_flag=True, help="Keep AdaS's learning rates from trial to trial.")
@click.option("--from-weights", is_flag=True, help="Start from the model's own weights, not from fresh ones.")
@click.option("--metric", "metrics", multiple=True, type=Named("chanc.metrics.registry:METRICS"),
              help="Measure this of the layers too, besides quality; may be given several times.")  # fmt: skip
@click.option("--metric-of", type=click.Choice(["weights", "change"]), show_default="change, weights with a preset",
              help="Measure the weights, or the change that the trial's training made to them.")  # fmt: skip
@click.option("--select-by", type=click.Choice(["metric", "loss", "score"]), default="metric", show_default=True,
              help="The best trial: the method's own, or that of the best held-out loss or score.")  # fmt: skip
@click.option("--final-epochs", type=click.IntRange(0), show_default="the preset's, or 0",
              help="Train the best widths from scratch for so long, and the rivals with the same recipe.")  # fmt: skip
@click.option("--final-seeds", type=click.IntRange(1), default=1, show_default=True, help="Repeats of each one.")
@click.option("--compare", default="baseline,uniform,flat,random", show_default=True,
              help="Rivals of the final training, or none. All but baseline stand there twice, at equal params and at "
                   "equal MACs; uniform-params is one of the two.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1),
              help="Trials at a time, each in a process of its own; for shape, evolve and optuna.")  # fmt: skip
@click.option("--ray", metavar="ADDRESS", help="Run these on Ray: host:port, auto, or local to start one.")
@click.option("--slurm", metavar="PARTITION", help="Run these as jobs of Slurm.")
@click.option("--time-limit", type=click.IntRange(1), metavar="MINUTES",
              help="Time of a Slurm job; by default a day, or the partition's limit.")  # fmt: skip
@size_options
@click.option("--quiet", is_flag=True, help="Show nothing but the path of the run.")
def command(model: str | None, **given: Any) -> None:
    """Search for the best widths of MODEL, an ONNX file, by training trials in PyTorch.

    \b
    Examples:
      chanc export zoo:resnet18 --width 16 --classes 10 --size 8 -o r18.onnx
      chanc search r18.onnx --algo greedy --data digits --trials 6 --final-epochs 10
      chanc search r34.onnx --preset conetv2-resnet34 --data cifar10 --out runs/r34
      chanc search --resume --out runs/r34
      chanc search --resume --out runs/r34 --trials 50 --timeout 30m
      chanc search net.onnx --algo sa --data photos/ --max-params 1.5M --round-to 8
      chanc search net.onnx --algo random --target-macs 50M --data cifar10 --trials 20
      chanc search net.onnx --algo shape --target-params 25% --target-macs 25% --data cifar10
      chanc search net.onnx --algo evolve --target-latency 80% --keep 'stem.*' --tie 'layer1.*=first'
      chanc search net.onnx --algo optuna --sampler cmaes --target-macs 25% --trials 60
      chanc search net.onnx --algo flexcharts --target-macs 50% --data cifar10 --epochs 50
      chanc search net.onnx --algo cnas --sparsity 0.5 --data cifar10 --epochs 50 --final-epochs 100
      chanc search net.onnx --algo evolve --target-params 500k --trials 60 --ray auto --workers 8
      chanc search net.onnx --algo greedy --planted --data digits --epochs 3 --out planted

    With targets all trials cost the same, to 1 % where the steps of the widths allow. shape, evolve and optuna look at
    the loss on held-out images: many networks are trained shortly, the best of them for longer. flexcharts and dmask
    train one network, whose widths change inside; they have no trials. cnas trains one network, too: its layers drop
    inputs, each its own.

    Ctrl-C and --timeout stop it; --resume goes on with the same random numbers, and needs nothing but --out: MODEL and
    the options are the run's. --trials may be raised then, and the final training be another one. The run directory
    holds best.onnx, model.py (plain PyTorch) with its weights, report.html, and the log, events.jsonl.
    """
    from chanc.api import search
    from chanc.study.outcome import how_to_go_on

    if model is None and (given["planted"] or not given["resume"]):
        raise click.UsageError("Missing argument 'MODEL': only --resume finds it in the run directory")
    quiet = given.pop("quiet")
    place = {name: given.pop(name) for name in PLACE}
    if any(place.values()):
        given["pool"], given["at_once"] = _pool(given["out"], **place)
    if given["planted"]:
        _planted(model, arguments(of_the_user(given)), quiet)
        return
    run = search(model, **arguments(of_the_user(given)), quiet=quiet, command=["chanc", *sys.argv[1:]])
    if run.stopped:
        say(f"stopped by --timeout: {how_to_go_on(run.path)}")
    elif run.model.exists():
        say(f"best model: {run.model}")


def _pool(out: str, **place: Any) -> tuple[Pool, int]:
    """Where trials run side by side, and how many at a time."""
    pool, at_once = open_pool(out, **place)
    if not isinstance(at_once, int):
        raise click.UsageError("--slurm needs --workers: how many trials there are at a time")
    return pool, at_once


def _planted(model: str | None, asked: dict[str, Any], quiet: bool) -> None:
    from rich.console import Console

    from chanc.api import search
    from chanc.study.planted import SET_HERE, planted

    if wrong := [name.replace("_", "-") for name in SET_HERE if name in asked]:
        raise click.UsageError(f"--planted sets --{wrong[0]} itself")
    place = Path(asked.pop("out", "run"))
    result = planted(model, search=search, out=place, say=(lambda line: None) if quiet else say, **asked)
    if not quiet:
        Console().print(result.table())
    say(result.verdict)


def of_the_user(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options with None for what was not given: a run that is resumed has its own."""
    source = click.get_current_context().get_parameter_source
    return {name: None if source(name) is ParameterSource.DEFAULT else value for name, value in given.items()}


def arguments(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `chanc.search` from the command's options."""
    from chanc.study.places import placed
    from chanc.study.presets import preset

    methods, take = Methods(), given.pop
    take("planted", None)
    algo = given["algo"] or (preset(given["preset"]).algo if given["preset"] else _algo_of(given))
    options = methods.chosen(algo, {name: take(name) for name in methods.options})
    compare = take("compare")
    every = {**given, **options, "compare": None if compare is None else rivals(compare)}
    return placed({name: value for name, value in every.items() if value is not None})


def rivals(text: str) -> list[str]:
    """The names in --compare."""
    return [name for word in text.split(",") if (name := word.strip()) and name != "none"]


def _algo_of(given: Mapping[str, Any]) -> str:
    """The method of the run that is resumed, or the one that is taken where none is named."""
    from chanc.runs import read_run
    from chanc.runs.rundir import refuse_empty

    if not given["resume"]:
        return "greedy"
    folder = Path(given["out"] or "run")
    refuse_empty(folder)
    return str(read_run(folder).settings.get("algo"))
