"""`chanc train`: train a classifier's weights and write them back into its graph."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chanc.cli.search import GroupedCommand
from chanc.errors import MissingDependencyError, RunError

if TYPE_CHECKING:
    from chanc.data import Dataset
    from chanc.training.options import TrainOptions
    from chanc.training.task import Task

_RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.1, "weight_decay": 5e-4, "schedule": "cosine"},
    "adamw": {"lr": 1e-3, "weight_decay": 1e-2, "schedule": "cosine"},
    "adas": {"lr": 0.03, "weight_decay": 5e-4, "schedule": "constant"},
}


class TrainCommand(GroupedCommand):
    """The headings of `chanc train --help`."""

    headings = (
        ("What", ("data", "data_root", "output", "limit_train", "limit_test", "insert_batchnorm")),
        ("Optimizer", ("epochs", "batch_size", "optimizer", "lr", "momentum", "weight_decay", "adas_beta",
                       "clip_norm", "ema_decay")),
        ("Schedule", ("schedule", "step_epochs", "step_gamma", "final_lr", "warmup", "restart_epochs")),
        ("Images", ("crop_padding", "flip", "cutout", "label_smoothing")),
        ("Running", ("checkpoint", "resume", "seed", "device", "amp", "compile", "deterministic", "quiet")),
    )  # fmt: skip


@click.command(cls=TrainCommand, name="train")
@click.argument("model", type=click.Path())
@click.option("--data", required=True, metavar="NAME|PATH", help="Data set: a name, a folder or an .npz file.")
@click.option("--data-root", type=click.Path(), help="Folder where named data sets lie.")
@click.option("-o", "--output", required=True, metavar="OUT", help="Where to write the trained model.")
@click.option("--limit-train", type=click.IntRange(1), help="Use at most so many training images.")
@click.option("--limit-test", type=click.IntRange(1), help="Use at most so many test images.")
@click.option("--insert-batchnorm", is_flag=True,
              help="First put BatchNorm behind bare convolutions, statistics from training images.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), required=True, help="Epochs in all.")
@click.option("--batch-size", type=click.IntRange(2), default=128, show_default=True, help="Images a step.")
@click.option("--optimizer", type=click.Choice(["sgd", "adamw", "adas"]), default="sgd", show_default=True)
@click.option("--lr", type=float, help="Learning rate. [sgd 0.1, adamw 0.001, adas 0.03]")
@click.option("--momentum", type=float, help="Of sgd and adas. [0.9]")
@click.option("--weight-decay", type=float, help="[5e-4; adamw 0.01]")
@click.option("--adas-beta", type=float, help="AdaS's gain factor. [0.8]")
@click.option("--clip-norm", type=float, help="Largest norm of a step's gradient.")
@click.option("--ema-decay", type=float, help="Keep averaged weights: 0.999 is usual.")
@click.option("--schedule", type=click.Choice(["constant", "step", "cosine", "onecycle", "sgdr"]),
              help="Learning-rate schedule. [cosine; adas sets its own]")  # fmt: skip
@click.option("--step-epochs", type=click.IntRange(1), help="step: epochs between two cuts. [25]")
@click.option("--step-gamma", type=float, help="step: factor of a cut. [0.5]")
@click.option("--final-lr", type=float, help="cosine, sgdr: learning rate at the end. [0]")
@click.option("--warmup", type=float, help="onecycle: share of the steps on the way up. [0.3]")
@click.option("--restart-epochs", type=click.IntRange(1), help="sgdr: length of the first cycle. [10]")
@click.option("--crop-padding", type=click.IntRange(0), help="Random shift, in pixels. [an eighth of the height]")
@click.option("--flip/--no-flip", default=None, help="Mirror images at random. [on; off for digits]")
@click.option("--cutout", type=click.IntRange(0), help="Side of a blanked square, in pixels. [0]")
@click.option("--label-smoothing", type=click.FloatRange(0, 1), help="[0]")
@click.option("--checkpoint", metavar="FILE", help="Write everything to FILE after each epoch (.safetensors).")
@click.option("--resume", is_flag=True, help="Go on from --checkpoint.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of everything random.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--bf16/--no-bf16", "amp", default=True, help="bfloat16 autocast on a GPU. [on]")
@click.option("--compile", is_flag=True, help="Use torch.compile: worth it in long trainings.")
@click.option("--deterministic", is_flag=True, help="Repeat bit by bit on a GPU too (slower).")
@click.option("--quiet", is_flag=True, help="Show nothing but the result.")
def command(
    model: str,
    data: str,
    data_root: str | None,
    output: str,
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
    _refuse_early(Path(output), checkpoint, resume)
    _require_torch()
    from chanc import data as datasets
    from chanc.cli.training_progress import TrainingProgress
    from chanc.ir import check, load, save
    from chanc.tasks import Classification
    from chanc.training.images import recover_norms
    from chanc.training.train import score, train

    loaded = load(model)
    check(loaded)
    whole = datasets.load(data, root=data_root, limit_train=limit_train, limit_test=limit_test, seed=given["seed"])
    dataset = Classification().fit(loaded, whole)
    task, options = _configured(dataset, given)
    before: list[float] = []
    with _joined(options.device) as rank:
        progress = TrainingProgress(options.epochs, quiet=quiet or rank > 0)
        if dataset.note:
            progress.say(f"note: {dataset.note}")
        if insert_batchnorm and not recover_norms(loaded, dataset):
            progress.say("note: no convolution lacks a BatchNorm")
        with progress.shown():
            done = train(
                loaded, dataset, task, options, on_step=progress.step, on_epoch=progress.epoch, checkpoint=checkpoint,
                start=lambda net: before.append(score(net, dataset, task, options)),
            )  # fmt: skip
        if rank == 0:
            save(loaded, output)
            click.echo(
                f"wrote {output}: top-1 {before[0]:.2%} -> {done.result.score:.2%} on {len(dataset.test_labels)} test "
                f"images of {dataset.name}, {done.params} params"
            )


def _configured(dataset: Dataset, given: dict[str, Any]) -> tuple[Task, TrainOptions]:
    """The task, and the options that were given, a recipe for the optimizer, and augmentation that suits the images."""
    from chanc.tasks import configured

    chosen = {name: value for name, value in given.items() if value is not None}
    return configured("classification", {**_RECIPES[given["optimizer"]], **dataset.augmentation, **chosen})


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


def _refuse_early(output: Path, checkpoint: str | None, resume: bool) -> None:
    """Refuse what can't end well before minutes are spent."""
    if resume and checkpoint is None:
        raise click.UsageError("--resume needs --checkpoint FILE, which the earlier training wrote")
    if checkpoint is not None and resume and not Path(checkpoint).exists():
        raise RunError(f"{checkpoint} does not exist: there is no training to resume")
    if checkpoint is not None and not resume and Path(checkpoint).exists():
        raise RunError(f"{checkpoint} exists already: add --resume to go on with it, or choose another name")
    for path in (output, *([Path(checkpoint)] if checkpoint else [])):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("training needs PyTorch: pip install 'chanc[torch]'") from error
