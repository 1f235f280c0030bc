"""`chanc train`: train a classifier's weights and write them back into its graph."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from chanc import plugins
from chanc.cli.options import GroupedCommand, Named, field_option, settable, task_options
from chanc.cli.outputs import force_option, refuse_early, say
from chanc.cli.sizes import size_options
from chanc.errors import RunError


class TrainCommand(GroupedCommand):
    """`chanc train`: its options besides those below are the fields of InputOptions, TrainOptions and the task."""

    headings = (
        ("What", ("data", "data_root", "task", "output", "force", "limit_train", "limit_test", "insert_batchnorm")),
        ("Optimizer", ("epochs", "batch_size", "optimizer", "lr", "momentum", "nesterov", "weight_decay", "adas_beta",
                       "evbmf", "clip_norm", "drop_path", "spatial_dropout", "ema_decay")),
        ("Schedule", ("schedule", "step_epochs", "step_gamma", "final_lr", "warmup", "restart_epochs",
                      "restart_factor")),
        ("Input", ("normalise", "scale_pixels", "bake")),
        ("Open axes", ("dims", "shapes")),
        ("Images", ("crop_padding", "flip", "cutout", "label_smoothing")),
        ("Running", ("checkpoint", "resume", "seed", "device", "amp", "compile", "deterministic", "quiet")),
    )  # fmt: skip

    def found(self) -> list[click.Option]:
        """An option for each field."""
        from chanc.training.options import InputOptions, TrainOptions

        options = {**settable(InputOptions), **settable(TrainOptions), **task_options()}
        epochs = dataclasses.replace(options.pop("epochs"), default=None)
        return [field_option(epochs, required=True), *map(field_option, options.values())]


@click.command(cls=TrainCommand, name="train")
@click.argument("model", type=click.Path())
@click.option("--data", required=True, metavar="NAME|PATH", help="Data set: a name, a folder or an .npz file.")
@click.option("--data-root", type=click.Path(), help="Folder where named data sets lie.")
@click.option("--task", type=Named("chanc.tasks:TASKS"), default="classification", show_default=True,
              help="What it is trained for.")  # fmt: skip
@click.option("-o", "--output", required=True, metavar="OUT", help="Where to write the trained model.")
@force_option
@click.option("--limit-train", type=click.IntRange(1), help="Use at most so many training images.")
@click.option("--limit-test", type=click.IntRange(1), help="Use at most so many test images.")
@click.option("--insert-batchnorm", is_flag=True,
              help="First put BatchNorm behind bare convolutions, statistics from training images.")  # fmt: skip
@click.option("--checkpoint", metavar="FILE", help="Write everything to FILE after each epoch (.safetensors).")
@click.option("--resume", is_flag=True, help="Go on from --checkpoint.")
@size_options
@click.option("--quiet", is_flag=True, help="Show nothing but the result.")
def command(
    model: str,
    data: str,
    data_root: str | None,
    task: str,
    output: str,
    force: bool,
    limit_train: int | None,
    limit_test: int | None,
    insert_batchnorm: bool,
    checkpoint: str | None,
    resume: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Train MODEL, an ONNX classifier of images, and write OUT: the same graph with new values.

    \b
    Examples:
      chanc train r18.onnx --data cifar10 --epochs 30 -o trained.onnx
      chanc train small.onnx --data photos/ --epochs 10 --optimizer adamw --label-smoothing 0.1 -o out.onnx
      chanc train folded.onnx --data cifar10 --epochs 10 --insert-batchnorm -o out.onnx
      chanc train r18.onnx --data cifar10 --epochs 300 --checkpoint r18.safetensors -o out.onnx
      torchrun --nproc-per-node 4 -m chanc train r50.onnx --data cifar10 --epochs 90 -o out.onnx

    MODEL's first output is trained and measured. With torchrun the images of each step are shared among the
    processes; the result is that of one process.
    """
    _check_resume(checkpoint, resume)
    refuse_early(output, model, force=force)
    refuse_early(checkpoint, model, beside=output, force=None)
    plugins.require("torch", "training", "torch")
    from chanc.api import train
    from chanc.cli.training_progress import TrainingProgress
    from chanc.ir import save

    options = {name: value for name, value in given.items() if value is not None}
    with _joined(options.get("device", "auto")) as rank:
        progress = TrainingProgress(options["epochs"], quiet=quiet or rank > 0)
        with progress.shown():
            done = train(
                model,
                data,
                task=task,
                data_root=data_root,
                limit_train=limit_train,
                limit_test=limit_test,
                insert_batchnorm=insert_batchnorm,
                checkpoint=checkpoint,
                say=progress.say,
                on_step=progress.step,
                on_epoch=progress.epoch,
                **options,
            )
        if rank == 0:
            save(done.model, output)
            say(
                f"wrote {output}: {_scores(task, done.before, done.top1)} on {done.test_images} test images of "
                f"{done.data}, {done.params} params"
            )


def _scores(task: str, before: float, after: float) -> str:
    from chanc.tasks import TASKS

    name = TASKS[task].score_name
    return f"top-1 {before:.2%} -> {after:.2%}" if name == "top1" else f"{name} {before:.4g} -> {after:.4g}"


@contextlib.contextmanager
def _joined(device: str) -> Iterator[int]:
    """The rank of this process; 0 where torchrun has not started several."""
    from chanc.training.distributed import joined, processes

    if processes() == 1:
        yield 0
        return
    with joined(device) as rank:
        yield rank
    # All is written. gloo's threads can abort the interpreter on its way out, and torchrun would call that a failure.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _check_resume(checkpoint: str | None, resume: bool) -> None:
    """Refuse what would lose a training, or has none to go on with."""
    if resume and checkpoint is None:
        raise click.UsageError("--resume needs --checkpoint FILE, which the earlier training wrote")
    if checkpoint is not None and resume and not Path(checkpoint).exists():
        raise RunError(f"{checkpoint} does not exist: there is no training to resume")
    if checkpoint is not None and not resume and Path(checkpoint).exists():
        raise RunError(f"{checkpoint} exists already: add --resume to go on with it, or choose another name")
