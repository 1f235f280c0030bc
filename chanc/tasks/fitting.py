"""Data, a model and a task put together: what is fed to the model, and to its teacher, and why."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import onnx_ir as ir

from chanc import plugins
from chanc.data import Data, DataSource, Samples
from chanc.data.contract import recorded
from chanc.errors import ChancError, DataError, ModelError, RunError
from chanc.ir.sizes import Sizes
from chanc.tasks.classification import Classification
from chanc.training.inputs import data_of, fit_samples, inputs_of
from chanc.training.options import InputOptions
from chanc.training.task import Task


class Fed(NamedTuple):
    """Data as a model takes them, the task that they are for, and one line on how the model is fed."""

    data: Data
    task: Task
    told: str


def fed(
    model: ir.Model, source: DataSource, task: Task | Callable[[Data], Task], asked: InputOptions, *,
    teacher: ir.Model | None = None, root: str | os.PathLike[str] | None = None, limit_train: int | None = None,
    limit_test: int | None = None, sizes: Sizes | None = None, device: str = "auto", seed: int = 0, fresh: bool = True,
) -> Fed:  # fmt: skip
    """Read data for a model and a task, and bring them to what the model takes.

    task: or what chooses one by the data. sizes: of open axes, for inputs that are made up. fresh: as for `fitted`.

    Raises: as `chanc.training.inputs.data_of` and `fitted`.
    """
    whole = data_of(model, source, root, limit_train, limit_test, seed, sizes)
    what = task if isinstance(task, Task) else task(whole)
    data, told = fitted(model, whole, what, asked, device, teacher, fresh=fresh)
    return Fed(data, what, told)


def fitted(
    model: ir.Model, data: Data, task: Task, asked: InputOptions, device: str, teacher: ir.Model | None = None,
    *, fresh: bool = True,
) -> tuple[Data, str]:  # fmt: skip
    """The data as the model takes them, and one line on that.

    Images go through the contract of the model, of the teacher where there is one: it is the one whose weights know it.
    Other samples are fed as they are. fresh: whether the model may have been never trained, which a teacher was.

    Raises: DataError or ModelError where they don't fit, where options for images were given for other samples, and
    where model and teacher were made for other pixels; RunError for a teacher of whom nothing is learned.
    """
    from chanc.training.contract import settle
    from chanc.training.module import ended

    if teacher is not None and not task.wants_teacher:
        raise RunError(f"the task {task.name} learns nothing from a teacher: distillation does")
    with plugins.guarded(f"the task {task.name}", DataError):
        found = task.fit(ended(model)[0], data)
    if isinstance(found, Samples):
        if asked != InputOptions():
            raise DataError(f"{data.name} has arrays, which are fed as they are: --normalise, --scale-pixels and "
                            "--bake are for images")  # fmt: skip
        return fit_samples(model, found), f"the inputs are fed as they are: {', '.join(inputs_of(model))}"
    knows = model if teacher is None else teacher
    judge = Classification() if task.wants_teacher and classifies(knows, data) else task
    settled, told = settle(knows, found, judge, asked, device, fresh=fresh and teacher is None)
    if teacher is not None and asked.contract(found) is None:
        mine = recorded(model.metadata_props, settled.input.layout)
        if mine is not None and mine != settled.input:
            raise ModelError(f"the model was made for {mine}, its teacher for {settled.input}: they can't see the same")
    return settled, told


def classifies(model: ir.Model, data: Data) -> bool:
    """Whether the first output of a model has a column for each class of data with labels."""
    if not data.labelled:
        return False
    try:
        Classification().fit(model, data)
    except ChancError:
        return False
    shape = model.graph.outputs[0].shape
    return shape is not None and len(shape) == 2
