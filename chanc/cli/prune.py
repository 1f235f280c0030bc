"""`chanc prune`: any model.onnx within a budget, and still right."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import click

from chanc.cli.budgets import BUDGETS, budget_options
from chanc.cli.options import GroupedCommand, TaskName, field_option, own_options, settable, task_options
from chanc.cli.outputs import force_option, refuse_early, say
from chanc.cli.sizes import size_options


class PruneCommand(GroupedCommand):
    """`chanc prune`: its options besides those below are the fields of InputOptions, TrainOptions and the task."""

    headings = (
        ("Budget", (*BUDGETS, "steps")),
        ("Data", ("data", "data_root", "task", "logits", "task_option", "limit_train", "limit_test")),
        ("Channels", ("edges", "importance", "keep", "ratios", "heads", "round_to", "min_width")),
        ("Recovery", ("refit", "insert_batchnorm", "epochs", "batch_size", "optimizer", "lr", "weight_decay")),
        ("Input", ("normalise", "scale_pixels")),
        ("Open axes", ("dims", "shapes")),
        ("Running", ("output", "force", "run", "resume", "seed", "device", "quiet")),
    )

    def found(self) -> list[click.Option]:
        """An option for each field."""
        from chanc.training.options import InputOptions, TrainOptions

        options = {**settable(InputOptions, but=("bake",)), **settable(TrainOptions, but=("epochs",)), **task_options()}
        # What isn't given follows from the optimizer, which is AdamW here.
        optimizer = options.pop("optimizer")
        return [field_option(dataclasses.replace(optimizer, default=None, shown="adamw")),
                *map(field_option, options.values())]  # fmt: skip


@click.command(cls=PruneCommand, name="prune")
@click.argument("model", type=click.Path())
@click.option("-o", "--output", required=True, metavar="OUT", help="Where to write the pruned model.")
@force_option
@budget_options
@click.option("--data", metavar="NAME|PATH", help="A data set, a folder of images, arrays by the names of the inputs, "
              "or random; labels are not needed.")  # fmt: skip
@click.option("--data-root", type=click.Path(), help="Folder where named data sets lie.")
@click.option("--task", type=TaskName(), default="distillation", show_default=True,
              help="What it shall be good at: by default at saying what MODEL says.")  # fmt: skip
@click.option("--task-option", multiple=True, metavar="NAME=VALUE", help="An option of a task MODULE:CLASS.")
@click.option("--edges", is_flag=True, help="Cut edges in place of channels: each layer drops inputs of its own.")
@click.option("--importance", metavar="NAME", help="By what channels are judged. [taylor; without --data l2]")
@click.option("--steps", type=click.IntRange(1), default=1, show_default=True,
              help="Meet the budget in so many steps, and recover in each.")  # fmt: skip
@click.option("--refit/--no-refit", default=True, help="Refit the layers that remain in closed form. [refit]")
@click.option("--insert-batchnorm/--no-insert-batchnorm", default=None, help="Train with BatchNorm behind bare "
              "convolutions, folded again at the end. [for classification]")  # fmt: skip
@click.option("--epochs", type=click.IntRange(0), default=3, show_default=True, help="Epochs of training in each step.")
@click.option("--limit-train", type=click.IntRange(1), help="Use at most so many training samples.")
@click.option("--limit-test", type=click.IntRange(1), help="Use at most so many samples to judge by.")
@click.option("--run", metavar="DIR", help="Where the steps are kept as they end. [OUT without its suffix, -prune]")
@click.option("--resume", is_flag=True, help="Go on with the run that was stopped.")
@size_options
@click.option("--quiet", is_flag=True, help="Show nothing but the result.")
def command(
    model: str, output: str, force: bool, data: str | None, task: str, task_option: tuple[str, ...], epochs: int,
    steps: int, run: str | None, resume: bool, quiet: bool, **given: Any,
) -> None:  # fmt: skip
    """Bring MODEL, an ONNX file, under a budget and back to what it did; write OUT.

    \b
    Examples:
      chanc prune model.onnx -o half.onnx --max-macs 50% --data photos/            no labels, no training code
      chanc prune model.onnx -o half.onnx --max-macs 50% --data feeds.npz --steps 3
      chanc prune model.onnx -o fast.onnx --max-latency 60% --data photos/
      chanc prune r18.onnx -o small.onnx --max-params 30% --data cifar10 --task classification --epochs 10
      chanc prune model.onnx -o half.onnx --max-macs 50%                           by its weights alone
      chanc prune model.onnx -o half.onnx --max-macs 50% --data photos/ --edges    each layer drops inputs of its own
      chanc prune --resume model.onnx -o half.onnx --max-macs 50% --data photos/

    Those channels go that are worth least for what they cost. Every rewrite is verified; then the layers that remain
    are refitted to MODEL in closed form, and the network is trained to say what MODEL says. Ctrl-C stops it, --resume
    goes on after the last step that was done.
    """
    from chanc.api import prune, save
    from chanc.cli.pruning_progress import PruningProgress, table
    from chanc.tasks import task_class

    refuse_early(output, model, force=force)
    options = {name: value for name, value in given.items() if value is not None} | own_options(task, task_option)
    folder = None if data is None else Path(run or f"{Path(output).with_suffix('')}-prune")
    progress = PruningProgress(steps, epochs, task_class(task).score_name, quiet=quiet)
    with progress.shown():
        done = prune(
            model, data=data, task=task, steps=steps, epochs=epochs, run=folder, resume=resume, say=progress.say,
            begin=progress.begin, watch=progress, command=["chanc", *sys.argv[1:]], **options,
        )  # fmt: skip
    save(done.model, output)
    if not quiet:
        table(model, output, done)
    say(f"wrote {output}")
    if folder is not None:
        from chanc.report import write_report

        say(f"what became of it: {write_report(folder)}")
