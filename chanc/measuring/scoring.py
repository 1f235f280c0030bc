"""How right a model is where it is deployed, in onnxruntime, and how far another one agrees with it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from chanc import plugins
from chanc.backends import ort
from chanc.data.arrays import read_arrays
from chanc.data.dataset import Dataset
from chanc.errors import ModelError, RunError
from chanc.ir import load
from chanc.ir.sizes import Sizes, bind, per_sample, sizes_of
from chanc.oracles.agreement import Agreement, Tally

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chanc.training.deployed import Score, Scores
    from chanc.training.task import Task

    Array = NDArray[np.generic]
    Feeds = Mapping[str, Array]
    Batches = Iterable[tuple[Sequence[Feeds], Any]]
    Tell = Callable[[float], None]

BATCH = 64


@dataclass(frozen=True)
class Evaluated:
    """Scores of a model and of another, the other's minus the model's, and how far they agree, output by output.

    Without labels there is no score, without another model no agreement. score_name: what is scored, "top1" for one.
    samples: that both were run on. pixels: a line on what the models were given.
    """

    samples: int
    pixels: str
    score_name: str = ""
    score: Score | None = None
    other: Score | None = None
    difference: Score | None = None
    outputs: tuple[Agreement, ...] = ()


def evaluate(
    model: Any,
    other: Any = None,
    *,
    data: str | os.PathLike[str] | Mapping[str, NDArray[Any]],
    task: str = "classification",
    data_root: str | os.PathLike[str] | None = None,
    limit_test: int | None = None,
    batch_size: int | None = None,
    threads: int = 0,
    normalise: str | None = None,
    scale_pixels: str | None = None,
    dims: Sizes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    on_batch: Callable[[float], None] | None = None,
) -> Evaluated:
    """Score a model in onnxruntime, with n and a standard error; of two also how far they agree, output by output.

    data: a data set by name or path, whose test part is taken (`chanc.data.load`), or inputs without labels: arrays by
    the names of the model's inputs, or an .npz file of them. Those tell only of two models. task: whose score it is, a
    name of `chanc.tasks.TASKS`. limit_test: images at most. batch_size: samples a run; without it images go by 64, and
    inputs without labels all at once. threads: inside an operator, 0 leaves it to onnxruntime. normalise, scale_pixels:
    as for `train`: where they aren't given, each model gets the pixels that its metadata tells of, else those that it
    was made for. dims, shapes: sizes of open axes, as `chanc.analyze` takes them: the images are brought to these.
    seed: of a choice of images. on_batch: is told which share of the work is done.

    Raises: ModelError for a model that can't be run on the data, of whose input can't be told what it was made for, or
    for two whose outputs can't be compared; DataError for data that can't be read or don't fit; RunError where there is
    nothing to tell; MissingDependencyError without onnxruntime, and for data with labels without PyTorch.
    """
    models = [one for one in (model, other) if one is not None]
    sessions = [ort.session(one, threads=threads) for one in models]
    feeds = _feeds(data, models[0])
    if feeds is not None:
        if other is None:
            raise RunError("inputs without labels tell of two models how far they agree: give the other one")
        count = ort.samples(feeds) or 1
        batches: Batches = (([part, part], None) for part in ort.in_batches(feeds, batch_size or count))
        return _judged(sessions, batches, [], Evaluated(count, "the inputs as they are"), on_batch)
    plugins.require("torch", "scoring", "torch")
    from chanc import data as datasets
    from chanc.tasks import configured
    from chanc.training.deployed import Scores, held_out

    what = configured(task, {})[0]
    if what.wants_teacher:
        raise RunError(f"{task} compares with a teacher: leave --task out, two models are compared anyway")
    whole = datasets.load(data, root=data_root, limit_test=limit_test, seed=seed)
    loaded = [_sized(one, dims, shapes) for one in models]
    sets, pixels = _pixels(loaded, whole, what, normalise, scale_pixels)
    each = [held_out(one, fitted, batch_size or BATCH) for one, fitted in zip(loaded, sets, strict=True)]
    batches = (([inputs for inputs, _ in parts], parts[0][1]) for parts in zip(*each, strict=True))
    begun = Evaluated(len(whole.test_labels), pixels, what.score_name)
    return _judged(sessions, batches, [Scores(what, one) for one in sets], begun, on_batch)


def _feeds(data: str | os.PathLike[str] | Feeds, model: Any) -> Feeds | None:
    """Inputs without labels, if that is what the data are. Raises: DataError for those of another model."""
    if isinstance(data, Mapping):
        return data
    path = Path(data)
    if path.suffix != ".npz" or not path.is_file():
        return None
    named = {value.name for value in load(model, copy=False).graph.inputs}
    held: list[str] = []
    read_arrays(path, lambda present: held.extend(present) or ())  # the names alone
    return ort.read_feeds(path, model) if named & set(held) else None


def _sized(model: Any, dims: Sizes | None, shapes: Mapping[str, Sequence[int]] | None) -> ir.Model:
    """A copy of the model whose images have the sizes that are given for its open axes."""
    loaded = load(model)
    bind(loaded, per_sample(loaded, sizes_of(loaded, dims, shapes)))
    return loaded


def _pixels(
    models: Sequence[ir.Model], whole: Dataset, task: Task, normalise: str | None, scale_pixels: str | None
) -> tuple[list[Dataset], str]:
    """The data as each model takes them, and a line that says how. What isn't told of the second follows the first."""
    from chanc.training.contract import settle
    from chanc.training.options import InputOptions

    asked, sets, told = InputOptions(normalise, scale_pixels), list[Dataset](), list[str]()
    for model in models:
        first = sets[0].input if sets else None
        found, line = settle(model, task.fit(model, whole), task, asked, "auto", otherwise=first)
        sets.append(found)
        told.append(line)
    if len(sets) == 1 or sets[0].input == sets[1].input:
        return sets, told[0]
    return sets, f"of the first model {told[0]}; of the other {told[1]}"


def _judged(
    sessions: Sequence[Any], batches: Batches, scores: Sequence[Scores], begun: Evaluated, tell: Tell | None
) -> Evaluated:
    """What all batches say: inputs of each model and labels, if there are scores."""
    tallies: list[Tally] = []
    done = 0
    for inputs, labels in batches:
        outputs = [ort.run_batch(session, given) for session, given in zip(sessions, inputs, strict=True)]
        for score, given, said in zip(scores, inputs, outputs, strict=bool(scores)):
            score.add(given, said, labels)
        if len(outputs) == 2:
            tallies = tallies or [Tally(name) for name in outputs[0]]
            for tally, pair in zip(tallies, _pairs(*outputs), strict=True):
                tally.add(*pair)
        done += ort.samples(inputs[0])
        if tell is not None:
            tell(done / begun.samples)
    found = [score.score() for score in scores]
    return dataclasses.replace(
        begun,
        score=found[0] if found else None,
        other=found[1] if len(found) == 2 else None,
        difference=scores[0].better(scores[1]) if len(scores) == 2 else None,
        outputs=tuple(tally.agreement() for tally in tallies),
    )


def _pairs(one: Feeds, other: Feeds) -> list[tuple[Array, Array]]:
    """The outputs of two models that go together: by name, else by their order. Raises: ModelError."""
    if one.keys() == other.keys():
        return [(value, other[name]) for name, value in one.items()]
    if len(one) != len(other):
        raise ModelError(f"the models have other outputs: {', '.join(one)} and {', '.join(other)}")
    return list(zip(one.values(), other.values(), strict=True))
