"""`chanc search`: find better widths by training trials."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

PRESET_NAMES = ("conetv2-resnet34", "conetv2-darts7", "conet-darts7", "conet-resnet34")
F = TypeVar("F", bound=Callable[..., Any])


class GroupedCommand(click.Command):
    """A command whose options are listed under headings in --help."""

    headings: Sequence[tuple[str, Sequence[str]]] = ()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options heading by heading; what stands under none comes last."""
        records = {
            param.name: param.get_help_record(ctx) for param in self.get_params(ctx) if isinstance(param, click.Option)
        }
        for heading, names in (*self.headings, ("Other", tuple(records))):
            rows = [row for name in names if (row := records.pop(name, None)) is not None]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


class SearchCommand(GroupedCommand):
    """The headings of `chanc search --help`."""

    headings = (
        ("What", ("algo", "preset", "data", "data_root", "out", "resume")),
        ("Trials", ("trials", "epochs", "limit_train", "limit_test", "holdout", "batch_size", "lr", "weight_decay",
                    "optimizer", "crop_padding", "flip", "seed", "device", "deterministic")),
        ("Widths", ("start_width", "min_width", "max_width", "round_to", "max_params", "max_macs", "max_latency")),
        ("Weights between trials", ("transfer", "reset", "adas_carry", "from_weights")),
        ("greedy and sa", ("gamma", "first_step", "best_by", "alpha", "zeta")),
        ("conet", ("delta", "mu", "phi", "phi_by", "kappa_at", "at_delta", "at_minimum")),
        ("uniform and random", ("target_params", "target_macs", "low", "high", "spread")),
        ("Final training", ("final_epochs", "final_lr", "final_weight_decay", "final_schedule", "final_seeds",
                            "compare")),
    )  # fmt: skip


class Count(click.ParamType[int]):
    """A whole number that may end in k, M or G: 500k, 1.5M."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse it, or fail with wrong usage."""
        if isinstance(value, int):
            return value
        sizes = {"k": 10**3, "m": 10**6, "g": 10**9}
        text = str(value).replace(",", "").replace("_", "")
        unit = sizes.get(text[-1:].lower(), 1)
        try:
            count = round(float(text[:-1] if unit > 1 else text) * unit)
        except (ValueError, OverflowError):
            count = 0
        if count < 1:
            self.fail(f"{value!r} is not a count above 0 (500000, 500k, 1.5M)", param, ctx)
        return count


def sampler_options(command: F) -> F:
    """The options of the samplers; one that the chosen method doesn't have is wrong usage."""
    choices = click.Choice
    options: list[tuple[str, dict[str, Any]]] = [
        ("--gamma", {"type": float, "help": "greedy, sa: weight of the past, 0 to 1: it decides how large the model "
                     "gets; conet: smallest phi that may still flip."}),
        ("--first-step", {"type": choices(["+16", "paper"]), "help": "After trial 1: every width +16, or the rule."}),
        ("--best-by", {"type": choices(["global", "group"]), "help": "Best trial as a whole, or group by group."}),
        ("--alpha", {"type": float, "help": "sa: temperature at the start."}),
        ("--zeta", {"type": choices(["code", "alpha-squared"]), "help": "sa: acceptance as in the code or the paper."}),
        ("--delta", {"type": float, "help": "Rank slope below which a group shrinks."}),
        ("--mu", {"type": float, "help": "Largest condition of a group that may grow."}),
        ("--phi", {"type": float, "help": "First relative step of a width."}),
        ("--phi-by", {"type": choices(["group", "global"]), "help": "One phi a group, or one for all."}),
        ("--kappa-at", {"type": choices([">", ">="]), "help": "Whether a condition of exactly mu shrinks."}),
        ("--at-delta", {"type": choices(["no-op", "expand"]), "help": "What a slope of exactly delta does."}),
        ("--at-minimum", {"type": choices(["hold", "expand"]), "help": "What shrinking at the minimum does."}),
        ("--target-params", {"type": Count(), "help": "Params that all trials shall have (500k, 1.5M)."}),
        ("--target-macs", {"type": Count(), "help": "MACs that all trials shall have."}),
        ("--low", {"type": float, "help": "uniform: lowest factor of the ladder."}),
        ("--high", {"type": float, "help": "uniform: highest factor of the ladder."}),
        ("--spread", {"type": float, "help": "random: factors are drawn from 1/spread to spread."}),
        ("--start-width", {"type": click.IntRange(0), "help": "Channels of each group in trial 1; 0: the model's."}),
        ("--min-width", {"type": click.IntRange(1), "help": "Smallest width, in channels."}),
        ("--max-width", {"type": click.IntRange(1), "help": "Largest width, in channels."}),
        ("--round-to", {"type": click.IntRange(1), "help": "Widths are multiples of this (and of a group's step)."}),
    ]  # fmt: skip
    for name, attributes in reversed(options):
        command = click.option(name, **attributes)(command)
    return command


@click.command(cls=SearchCommand, name="search")
@click.argument("model", type=click.Path())
@click.option("--algo", type=click.Choice(["greedy", "sa", "conet", "uniform", "random"]), help="The search method.")
@click.option("--preset", type=click.Choice(PRESET_NAMES), help="Settings of a published search; yours win over it.")
@click.option("--data", default="digits", show_default=True, help="Data set: a name, a folder or an .npz file.")
@click.option("--data-root", type=click.Path(), help="Folder where named data sets lie.")
@click.option("--out", type=click.Path(), default="run", show_default=True, help="The run directory.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--trials", type=click.IntRange(1), help="Number of trials.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs of each trial.")
@click.option("--limit-train", type=click.IntRange(1), help="Use at most so many training images.")
@click.option("--limit-test", type=click.IntRange(1), help="Use at most so many test images.")
@click.option("--holdout", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.1, show_default=True,
              help="Share of the training images that trials are judged on.")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(2), help="Images a step.")
@click.option("--lr", type=float, help="Learning rate of the trials (of AdaS: the initial one).")
@click.option("--weight-decay", type=float, help="L2 of the trials.")
@click.option("--optimizer", type=click.Choice(["adas", "sgd", "adamw"]), help="Optimizer of the trials.")
@click.option("--crop-padding", type=click.IntRange(0), help="Random shift of training images, in pixels.")
@click.option("--flip/--no-flip", default=None, help="Mirror training images at random. [on; off for digits]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of everything random.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to train.")
@click.option("--deterministic", is_flag=True, default=None,
              help="Repeat bit by bit on a GPU too (slower); a CPU always does.")  # fmt: skip
@click.option("--max-params", type=Count(), help="Budget of parameters (500k, 1.5M).")
@click.option("--max-macs", type=Count(), help="Budget of MACs for one input.")
@click.option("--max-latency", type=float, metavar="MS", help="Budget of milliseconds in onnxruntime, batch 1.")
@click.option("--transfer", type=click.Choice(["svd", "reflect", "select", "widen", "init"]), default="svd",
              show_default=True, help="How weights follow a change of widths.")  # fmt: skip
@click.option("--reset", is_flag=True, help="Draw norms and linear layers anew after each change of widths.")
@click.option("--adas-carry", is_flag=True, help="Keep AdaS's learning rates from trial to trial.")
@click.option("--from-weights", is_flag=True, help="Start from the model's own weights, not from fresh ones.")
@click.option("--final-epochs", type=click.IntRange(0), show_default="the preset's, or 0",
              help="Train the best widths from scratch for so long, and the rivals with the same recipe.")  # fmt: skip
@click.option("--final-lr", type=float, help="Learning rate of the final trainings.")
@click.option("--final-weight-decay", type=float, help="L2 of the final trainings.")
@click.option("--final-schedule", type=click.Choice(["constant", "step", "cosine", "onecycle", "sgdr"]),
              help="Learning-rate schedule of the final trainings.")  # fmt: skip
@click.option("--final-seeds", type=click.IntRange(1), default=1, show_default=True, help="Repeats of each one.")
@click.option("--compare", default="baseline,uniform", show_default=True,
              help="Rivals of the final training: baseline, uniform, random, or none.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="Show nothing but the path of the run.")
@sampler_options
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
    click.echo(f"best model: {run.model}")


def arguments(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `chanc.study.study` from the command's options."""
    from chanc.study.presets import preset
    from chanc.study.sampler import SAMPLERS

    take = given.pop
    algo = given["algo"] or (preset(given["preset"]).algo if given["preset"] else "greedy")
    final = {name: take(f"final_{name}") for name in ("lr", "weight_decay", "schedule")}
    names = ("batch_size", "lr", "weight_decay", "optimizer", "crop_padding", "flip", "device", "deterministic")
    train = {name: take(name) for name in names}
    shared = {name: train[name] for name in ("batch_size", "crop_padding", "flip", "device", "deterministic")}
    compare = [name for name in take("compare").split(",") if name.strip() and name.strip() != "none"]
    known = {entry.name for entry in dataclasses.fields(SAMPLERS[algo])}
    every = {entry.name for cls in SAMPLERS.values() for entry in dataclasses.fields(cls)}
    options = {name: take(name) for name in sorted(every & set(given) - {"trials", "seed"})}
    for name, value in options.items():
        if value is not None and name not in known:
            raise click.UsageError(f"--{name.replace('_', '-')} is no option of the {algo} search")
    carry = take("adas_carry")
    return {
        **given,
        "carry_optimizer": carry,
        "compare": [name.strip() for name in compare],
        "options": {name: value for name, value in options.items() if value is not None},
        "train": train,
        "final": {**shared, **final},
    }
