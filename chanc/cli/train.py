"""`chanc train`: train a network's weights for a task and write them back into its graph."""

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
from chanc.cli.options import GroupedCommand, TaskName, field_option, own_options, settable, task_options
from chanc.cli.outputs import force_option, refuse_early, say
from chanc.cli.sizes import size_options
from chanc.errors import RunError


class TrainCommand(GroupedCommand):
    """`chanc train`: its options besides those below are the fields of InputOptions, TrainOptions and the task."""

    headings = (
        ("What", ("data", "data_root", "task", "teacher", "logits", "task_option", "output", "force", "limit_train",
                  "limit_test", "insert_batchnorm")),
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
@click.option("--data", required=True, metavar="NAME|PATH", help="Data set: a name, a folder or an .npz file; without "
              "labels also a folder of images, arrays by the names of the inputs, or random.")  # fmt: skip
@click.option("--data-root", type=click.Path(), help="Folder where named data sets lie.")
@click.option("--task", type=TaskName(), default="classification", show_default=True,
              help="What it is trained for.")  # fmt: skip
@click.option("--teacher", metavar="T.onnx", help="The model that MODEL learns from, for --task distillation.")
@click.option("--task-option", multiple=True, metavar="NAME=VALUE", help="An option of a task MODULE:CLASS.")
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
    teacher: str | None,
    task_option: tuple[str, ...],
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
    """Train MODEL, an ONNX classifier of images, or any network for another task; write OUT: its graph with new values.

    \b
    Examples:
      chanc train r18.onnx --data cifar10 --epochs 30 -o trained.onnx
      chanc train small.onnx --data photos/ --epochs 10 --optimizer adamw --label-smoothing 0.1 -o out.onnx
      chanc train folded.onnx --data cifar10 --epochs 10 --insert-batchnorm -o out.onnx
      chanc train r18.onnx --data cifar10 --epochs 300 --checkpoint r18.safetensors -o out.onnx
      chanc train half.onnx --task distillation --teacher whole.onnx --data photos/ --epochs 5 -o out.onnx
      chanc train net.onnx --task my_tasks:Detection --task-option weight=2 --data feeds.npz --epochs 5 -o out.onnx
      torchrun --nproc-per-node 4 -m chanc train r50.onnx --data cifar10 --epochs 90 -o out.onnx

    Classification trains and measures MODEL's first output, distillation all outputs of floats. With torchrun the
    samples of each step are shared among the processes; the result is that of one process.
    """
    _check_resume(checkpoint, resume)
    refuse_early(output, model, teacher, force=force)
    refuse_early(checkpoint, model, beside=output, force=None)
    plugins.require("torch", "training", "torch")
    from chanc.api import train
    from chanc.cli.training_progress import TrainingProgress
    from chanc.ir import save
    from chanc.tasks import task_class

    options = {name: value for name, value in given.items() if value is not None} | own_options(task, task_option)
    score_name = task_class(task).score_name
    with _joined(options.get("device", "auto")) as rank:
        progress = TrainingProgress(options["epochs"], score_name, quiet=quiet or rank > 0)
        with progress.shown():
            done = train(
                model,
                data,
                task=task,
                teacher=teacher,
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
                f"wrote {output}: {_scores(score_name, done.before, done.top1)} on {done.test_images} test "
                f"{'images' if score_name == 'top1' else 'samples'} of {done.data}, {done.params} params"
            )


def _scores(name: str, before: float, after: float) -> str:
    from chanc.cli.training_progress import shown

    return f"{shown(name, before)} -> {shown(name, after).split()[-1]}"


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
