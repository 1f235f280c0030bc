"""`chanc search`: find better widths by training trials."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import click

from chanc.cli.options import Count, GroupedCommand, Headings, Methods, Named, field_option, settable, task_options
from chanc.cli.outputs import say
from chanc.cli.sizes import size_options
from chanc.fields import Option

FINAL = ("lr", "weight_decay", "schedule")
"""Training options that the final trainings have of their own."""

SHARED = ("batch_size", "crop_padding", "flip", "device", "deterministic")
"""Training options of the trials that the final trainings share."""


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
            ("What", ("algo", "preset", "data", "data_root", "task", *task_options(), "out", "resume")),
            ("Open axes", ("dims", "shapes")),
            ("Trials", ("trials", "epochs", "limit_train", "limit_test", "holdout", "seed", "metrics", *train)),
            ("Input", ("normalise", "scale_pixels", "bake")),
            ("Budgets", ("max_params", "max_macs", "max_latency")),
            *Methods().headings("Widths"),
            ("Weights between trials", ("transfer", "reset", "adas_carry", "from_weights")),
            ("Final training", ("final_epochs", *(f"final_{name}" for name in final), "final_seeds", "compare")),
        )


def training_options() -> tuple[dict[str, Option], dict[str, Option]]:
    """The fields of TrainOptions that are options of a search: for its trials, and for its final trainings."""
    from chanc.training.options import TrainOptions

    fields = settable(TrainOptions, but=("epochs", "seed"))
    # The preset, or the method's usual recipe, gives what isn't given: no default of TrainOptions does.
    plain = {name: dataclasses.replace(one, default=one.default is True, shown="") for name, one in fields.items()}
    plain["flip"] = dataclasses.replace(plain["flip"], shown=fields["flip"].shown)
    return {name: one for name, one in plain.items() if name != "final_lr"}, {name: plain[name] for name in FINAL}


def _final_option(option: Option) -> click.Option:
    name = f"final_{option.name}"
    return field_option(dataclasses.replace(option, name=name, help=f"The same for the final trainings: {option.help}"))


@click.command(cls=SearchCommand, name="search")
@click.argument("model", type=click.Path())
@click.option("--algo", type=Named("chanc.study.methods.registry:METHODS"), help="The search method.")
@click.option("--preset", type=Named("chanc.study.presets:PRESETS"),
              help="Settings of a published search; yours win over it.")  # fmt: skip
@click.option("--data", default="digits", show_default=True, help="Data set: a name, a folder or an .npz file.")
@click.option("--data-root", type=click.Path(), help="Folder where named data sets lie.")
@click.option("--task", type=Named("chanc.tasks:TASKS"), default="classification", show_default=True,
              help="What networks are trained for.")  # fmt: skip
@click.option("--out", type=click.Path(), default="run", show_default=True, help="The run directory.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--trials", type=click.IntRange(1), help="Number of trials.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs of each trial.")
@click.option("--limit-train", type=click.IntRange(1), help="Use at most so many training images.")
@click.option("--limit-test", type=click.IntRange(1), help="Use at most so many test images.")
@click.option("--holdout", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.1, show_default=True,
              help="Share of the training images that trials are judged on.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of everything random.")
@click.option("--max-params", type=Count(), help="Budget of parameters (500k, 1.5M).")
@click.option("--max-macs", type=Count(), help="Budget of MACs for one input.")
@click.option("--max-latency", type=float, metavar="MS", help="Budget of milliseconds in onnxruntime, batch 1.")
@click.option("--transfer", type=Named("chanc.rewriter:TRANSFERS"), show_default="grow; svd in presets",
              help="How weights follow a change of widths.")  # fmt: skip
@click.option("--reset", is_flag=True, help="Draw norms and linear layers anew after each change of widths.")
@click.option("--adas-carry", is_flag=True, help="Keep AdaS's learning rates from trial to trial.")
@click.option("--from-weights", is_flag=True, help="Start from the model's own weights, not from fresh ones.")
@click.option("--metric", "metrics", multiple=True, type=Named("chanc.metrics.registry:METRICS"),
              help="Measure this of the layers too, besides quality; may be given several times.")  # fmt: skip
@click.option("--final-epochs", type=click.IntRange(0), show_default="the preset's, or 0",
              help="Train the best widths from scratch for so long, and the rivals with the same recipe.")  # fmt: skip
@click.option("--final-seeds", type=click.IntRange(1), default=1, show_default=True, help="Repeats of each one.")
@click.option("--compare", default="baseline,uniform", show_default=True,
              help="Rivals of the final training: baseline, uniform, random, or none.")  # fmt: skip
@size_options
@click.option("--quiet", is_flag=True, help="Show nothing but the path of the run.")
def command(model: str, **given: Any) -> None:
    """Search for the best widths of MODEL, an ONNX file, by training trials in PyTorch.

    \b
    Examples:
      chanc export zoo:resnet18 --width 16 --classes 10 --size 8 -o r18.onnx
      chanc search r18.onnx --algo greedy --data digits --trials 6 --final-epochs 10
      chanc search r34.onnx --preset conetv2-resnet34 --data cifar10 --out runs/r34
      chanc search r34.onnx --preset conetv2-resnet34 --data cifar10 --out runs/r34 --resume
      chanc search net.onnx --algo sa --data photos/ --max-params 1.5M --round-to 8
      chanc search net.onnx --algo random --target-macs 50M --data cifar10 --trials 20

    Ctrl-C stops it; the same command with --resume goes on with the next trial and the same random numbers. The run
    directory holds best.onnx, model.py (plain PyTorch) with its weights, report.html, and the log, events.jsonl.
    """
    from chanc.api import search

    run = search(model, **arguments(given), command=["chanc", *sys.argv[1:]])
    say(f"best model: {run.model}")


def arguments(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `chanc.search` from the command's options."""
    from chanc.study.presets import preset

    methods, take = Methods(), given.pop
    algo = given["algo"] or (preset(given["preset"]).algo if given["preset"] else "greedy")
    options = methods.chosen(algo, {name: take(name) for name in methods.options})
    final = {name: take(f"final_{name}") for name in FINAL}
    train = {name: take(name) for name in training_options()[0]}
    of_task = {name: take(name) for name in task_options()}
    compare = [name.strip() for name in take("compare").split(",")]
    carry = take("adas_carry")
    return {
        **given,
        "carry_optimizer": carry,
        "bake": bool(take("bake")),
        "compare": [name for name in compare if name and name != "none"],
        "options": options,
        "train": {**train, **of_task},
        "final": {**{name: train[name] for name in SHARED}, **of_task, **final},
    }
