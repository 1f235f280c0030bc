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
from chanc.data import Data, Dataset, DataSource
from chanc.data.arrays import names_in
from chanc.data.iterables import LABELS
from chanc.errors import DataError, ModelError, RunError
from chanc.ir import load
from chanc.ir.sizes import Sizes, bind, per_sample, sizes_of
from chanc.oracles.agreement import Agreement, Tally

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chanc.training.deployed import Score, Scores
    from chanc.training.options import InputOptions
    from chanc.training.task import Task

    Array = NDArray[np.generic]
    Feeds = Mapping[str, Array]
    Parts = Iterable[tuple[Sequence[Feeds], Any]]
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
    data: DataSource,
    task: str | Task = "classification",
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

    data: as for `train`, of which the test part is taken; or inputs, all of which are taken: arrays by the names of the
    model's inputs, or an .npz file of them. Data without labels tell only of two models. task: whose score it is, as
    for `train`. limit_test: samples at most. batch_size: samples a run; without it they go by 64, and inputs all at
    once. threads: inside an operator, 0 leaves it to onnxruntime. normalise, scale_pixels: as for `train`: where they
    aren't given, each model gets the pixels that its metadata tells of, the other else those of the model, the model
    those that it was made for. dims, shapes: sizes of open axes, as `chanc.analyze` takes them: images are brought to
    these. seed: of a choice of samples. on_batch: is told which share of the work is done.

    Raises: ModelError for a model that can't be run on the data, of whose input can't be told what it was made for, or
    for two whose outputs can't be compared; DataError for data that can't be read or don't fit; RunError where there is
    nothing to tell; MissingDependencyError without onnxruntime, and but for inputs without PyTorch.
    """
    if any(given is not None and given < 1 for given in (limit_test, batch_size)) or threads < 0:
        raise RunError("a limit of samples and a batch size must be at least 1, threads at least 0")
    models = [one for one in (model, other) if one is not None]
    sessions = [ort.session(one, threads=threads) for one in models]
    feeds = _feeds(data, models[0])
    if feeds is not None:
        _require_two(models)
        _require_images(normalise, scale_pixels)
        count = min(ort.samples(feeds), limit_test or ort.samples(feeds))
        taken = next(ort.in_batches(feeds, count or 1))
        parts: Parts = (([part, part], None) for part in ort.in_batches(taken, batch_size or count or 1))
        return _judged(sessions, parts, [], Evaluated(count or 1, "the inputs are fed as they are"), on_batch)
    plugins.require("torch", "scoring", "torch")
    from chanc.training.deployed import Scores, held_out
    from chanc.training.inputs import data_of
    from chanc.training.options import InputOptions

    loaded = [_sized(one, dims, shapes) for one in models]
    whole = data_of(loaded[0], data, data_root, None, limit_test, seed, sizes_of(load(models[0]), dims, shapes))
    what = judge(task, whole)
    if what.wants_teacher:
        _require_two(models)
    if not isinstance(whole, Dataset):
        _require_images(normalise, scale_pixels)
    sets, told = _fitted(loaded, whole, what, InputOptions(normalise, scale_pixels))
    each = [held_out(one, fitted, batch_size or BATCH) for one, fitted in zip(loaded, sets, strict=True)]
    parts = (([inputs for inputs, _ in batches], batches[0][1]) for batches in zip(*each, strict=True))
    scores = [] if what.wants_teacher else [Scores(what, one) for one in sets]
    begun = Evaluated(whole.counts[1], told, what.score_name if scores else "")
    return _judged(sessions, parts, scores, begun, on_batch)


def _require_two(models: Sequence[Any]) -> None:
    if len(models) < 2:
        raise RunError("data without labels tell of two models how far they agree: give the other one")


def _require_images(*asked: str | None) -> None:
    if any(one is not None for one in asked):
        raise DataError("such inputs are fed as they are: --normalise and --scale-pixels are for images")


def _feeds(data: DataSource, model: Any) -> Feeds | None:
    """Inputs to run on, if that is what the data are. Raises: DataError for those of another model."""
    if isinstance(data, Mapping):
        return data
    if not isinstance(data, str | os.PathLike) or Path(data).suffix != ".npz" or not Path(data).is_file():
        return None
    held, graph = names_in(data), load(model, copy=False).graph
    mine = LABELS not in held and any(value.name in held for value in graph.inputs)
    return ort.read_feeds(data, model) if mine else None


def _sized(model: Any, dims: Sizes | None, shapes: Mapping[str, Sequence[int]] | None) -> ir.Model:
    """A copy of the model whose images have the sizes that are given for its open axes."""
    loaded = load(model)
    bind(loaded, per_sample(loaded, sizes_of(loaded, dims, shapes)))
    return loaded


def judge(task: str | Task, data: Data) -> Task:
    """The task that was asked for; in place of a classification, where there are no labels, the one that needs none."""
    from chanc.tasks import Classification, Distillation, configured

    what = configured(task, {})[0]
    return Distillation() if isinstance(what, Classification) and not data.labelled else what


def _fitted(models: Sequence[ir.Model], data: Data, task: Task, asked: InputOptions) -> tuple[list[Data], str]:
    """The data as each model takes them, and a line that says how."""
    from chanc.tasks import Classification, classifies
    from chanc.training.contract import settle

    sets, told = list[Data](), list[str]()
    for model in models:
        found, line = task.fit(model, data), "the inputs are fed as they are"
        if isinstance(found, Dataset):
            knows = Classification() if task.wants_teacher and classifies(model, data) else task
            first = sets[0].input if sets and isinstance(sets[0], Dataset) else None
            found, line = settle(model, found, knows, asked, "auto", otherwise=first)
        sets.append(found)
        told.append(line)
    if len(set(told)) == 1 or told[1].endswith("as the other model takes it"):
        return sets, told[0]
    return sets, f"{told[0]}; of the other model {told[1]}"


def _judged(
    sessions: Sequence[Any], parts: Parts, scores: Sequence[Scores], begun: Evaluated, tell: Tell | None
) -> Evaluated:
    """What all batches say: inputs of each model and labels, if there are scores."""
    tallies: list[Tally] = []
    done = 0
    for inputs, labels in parts:
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
