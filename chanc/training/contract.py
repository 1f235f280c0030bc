"""Which pixels a model was made for: as asked for, as its metadata says, or as its weights show.

Weights that were trained tell: on some training images the model is right far more often, and surer of it, with the
pixels that it has learned from. What can't be told is asked for; nothing is replaced in silence.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch

from chanc.cost.cost import cost
from chanc.data.batches import Batches
from chanc.data.contract import InputContract, recorded
from chanc.data.dataset import Dataset
from chanc.errors import DataError, ModelError
from chanc.training.devices import pick_device
from chanc.training.evaluation import Evaluation, evaluate
from chanc.training.feed import Feed
from chanc.training.images import image_input
from chanc.training.module import Trainable, to_device, trainable
from chanc.training.options import BLUE_FIRST, InputOptions
from chanc.training.task import Task
from chanc.training.train import rehearse

IMAGENET = InputContract(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE = InputContract(1.0, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0))
MOST, LEAST = 512, 64
"""How many training images are measured."""
NUMBERS, MACS = 1 << 23, 1 << 35
"""Fewer of them where they hold more numbers, or the network takes more MACs for them: it is seconds on a CPU."""
BATCH = 64
CLEARLY = 0.05
"""Top-1 that lies so much lower, beyond twice its standard error, is clearly lower."""


@dataclass(frozen=True)
class Candidate:
    """A usual contract: what it is called, and how it is asked for."""

    contract: InputContract
    name: str
    option: str


def settle(
    model: ir.Model,
    data: Dataset,
    task: Task,
    asked: InputOptions,
    device: str,
    *,
    otherwise: InputContract | None = None,
    fresh: bool = True,
) -> tuple[Dataset, str]:
    """The data with the contract that `model` was made for, and one line that says it and why.

    data: as `task.fit` gives it, labelled. otherwise: that of a model which this one came from: where its metadata
    don't tell, its weights aren't asked. fresh: whether weights that no usual pixels suit may be such that were never
    trained.

    Raises: ModelError where it can't be told, naming the options that tell it; DataError for one that doesn't fit the
    images.
    """
    contract, why = asked.contract(data), "as asked for"
    if contract is None:
        contract, why = recorded(model.metadata_props, data.input.layout), "as the model's metadata says"
    if contract is None and otherwise is not None:
        contract, why = dataclasses.replace(otherwise, layout=data.input.layout), "as the other model takes it"
    if _takes_integers(model):
        contract, why = _whole(contract, data), "it takes whole numbers"
    if contract is None and task.wants_teacher:
        raise ModelError("which pixels the teacher was made for can't be told without labels: give --normalise none "
                         "(pixels in 0..1), --scale-pixels 1 (pixels in 0..255), or --normalise MEAN/STD, with bgr: "
                         "before it where blue comes first")  # fmt: skip
    if contract is None and task.score_name != "top1":
        contract, why = data.input, f"as the task {task.name} gives the data; its weights aren't asked"
    if contract is None:
        contract, why = _found(model, data, task, device, fresh)
    contract.fits(data.shape[0])
    return dataclasses.replace(data, contract=contract), f"the input is {contract}: {why}"


def _takes_integers(model: ir.Model) -> bool:
    dtype = image_input(model).dtype
    return dtype is not None and dtype.is_integer()


def _whole(contract: InputContract | None, data: Dataset) -> InputContract:
    """Pixels as they are. Raises: DataError where others were asked for."""
    order = contract.order if contract is not None else data.input.order
    whole = InputContract(scale=1.0, layout=data.input.layout, order=order)
    if contract not in (None, whole):
        raise DataError(f"the model's input is of whole numbers: it takes pixels of 0 to 255, not {contract.formula}")
    return whole


def usual(data: Dataset) -> list[Candidate]:
    """The contracts that models usually have, for images of the data's channels, in the layout of the data's."""
    own = InputContract(1 / 255, data.mean, data.std)
    found = [
        Candidate(own, "the data set's mean and deviation", "--normalise dataset"),
        Candidate(InputContract(), "pixels in 0..1", "--normalise none"),
        Candidate(InputContract(scale=1.0), "pixels in 0..255", "--scale-pixels 1"),
        Candidate(InputContract(mean=(0.5,), std=(0.5,)), "pixels in -1..1", "--normalise 0.5/0.5"),
    ]
    if data.shape[0] == len(IMAGENET.mean):
        text = "/".join(",".join(map(str, values)) for values in (IMAGENET.mean, IMAGENET.std))
        found.append(Candidate(IMAGENET, "ImageNet's mean and deviation", f"--normalise {text}"))
        text = ",".join(map(str, CAFFE.mean))
        found.append(Candidate(CAFFE, "pixels in 0..255 less Caffe's means", f"--scale-pixels 1 --normalise {text}/1"))
    layout = data.input.layout
    return [dataclasses.replace(one, contract=dataclasses.replace(one.contract, layout=layout)) for one in found]


def _found(model: ir.Model, data: Dataset, task: Task, device: str, fresh: bool) -> tuple[InputContract, str]:
    """The usual contract under which the model's weights work, or the data set's where they work under none."""
    net = trainable(model, task)
    rehearse(net, data, task)
    affordable = min(MOST, NUMBERS // math.prod(data.shape), MACS // max(cost(net.graph).macs, 1))
    part = data.limit(train=max(LEAST, affordable))
    tried = _tried(net, part, task, usual(data), pick_device(device))
    candidates, results = [one for one, _ in tried], [result for _, result in tried]
    top = max(result.score for result in results)
    if top <= _luck(part):
        return _unknown(usual(data)[0], top, fresh)
    near = [n for n, result in enumerate(results) if not _lower(result, top, len(part.train_labels))]
    best = min(near, key=lambda n: results[n].loss)
    rivals = [n for n in near if n != best and not _surer(results[best], results[n])]
    if rivals:
        told = ", ".join(f"{results[n].score:.1%} with {candidates[n].name}" for n in (best, *rivals))
        options = " or ".join(candidates[n].option for n in (best, *rivals))
        raise ModelError(f"which pixels the model was made for can't be told from its weights, top-1 is {told}: "
                         f"give {options}, or another --normalise MEAN/STD")  # fmt: skip
    others = max(result.score for n, result in enumerate(results) if n != best)
    why = (f"{candidates[best].name}, found by the model's top-1 on {len(part.train_labels)} training images, "
           f"{results[best].score:.1%} so and at most {others:.1%} otherwise")  # fmt: skip
    return candidates[best].contract, why


def _unknown(first: Candidate, top: float, fresh: bool) -> tuple[InputContract, str]:
    """What weights get that no usual pixels suit. Raises: ModelError where they aren't fresh."""
    if not fresh:
        raise ModelError("which pixels the model was made for can't be told: with no usual ones it is right more often "
                         f"than by chance, top-1 is {top:.1%} at most; give --normalise MEAN/STD, with --scale-pixels "
                         "1 where these are of 0..255, and bgr: before it where blue comes first")  # fmt: skip
    return first.contract, f"{first.name}, as for fresh weights (top-1 is {top:.1%} at most with any usual pixels)"


def _tried(
    net: Trainable, data: Dataset, task: Task, candidates: list[Candidate], device: torch.device
) -> list[tuple[Candidate, Evaluation]]:
    """What each candidate is worth: of colour in the order that is clearly better, else in the usual one."""
    found = list(zip(candidates, _measured(net, data, task, candidates, device), strict=True))
    if data.shape[0] != len(IMAGENET.mean):
        return found
    twins = [_blue_first(one) for one in candidates]
    others = zip(twins, _measured(net, data, task, twins, device), strict=True)
    count = len(data.train_labels)
    return [two if _lower(one[1], two[1].score, count) else one for one, two in zip(found, others, strict=True)]


def _blue_first(one: Candidate) -> Candidate:
    scaled, _, how = one.option.rpartition("--normalise ")
    option = f"{scaled}--normalise {BLUE_FIRST}{how}" if how != one.option else f"{one.option} --normalise bgr:none"
    return Candidate(one.contract.blue_first(), f"{one.name}, blue first", option)


def _measured(
    net: Trainable, data: Dataset, task: Task, candidates: list[Candidate], device: torch.device
) -> list[Evaluation]:
    """Top-1 and loss of the network as it is, on the training images of the data, under each contract."""
    images, labels = (torch.tensor(array).to(device) for array in (data.train_images, data.train_labels))
    to_device(net, device)
    found = [
        evaluate(net, task, Feed(Batches(images, labels, BATCH, one.contract), net.inputs[0])) for one in candidates
    ]
    return [one if math.isfinite(one.loss) else dataclasses.replace(one, loss=math.inf) for one in found]


def _luck(data: Dataset) -> float:
    """Top-1 that weights may have which were never trained: twice that of the commonest class, or half way to 1."""
    count = len(data.train_labels)
    share = float(np.bincount(data.train_labels).max()) / count
    return share + min(share, (1 - share) / 2) + 3 * math.sqrt(share * (1 - share) / count)


def _lower(result: Evaluation, top: float, count: int) -> bool:
    error = math.sqrt((result.score * (1 - result.score) + top * (1 - top)) / count)
    return result.score < top - max(CLEARLY, 2 * error)


def _surer(best: Evaluation, other: Evaluation) -> bool:
    """Whether a loss is clearly lower. Of two that are always right, larger values are surer whatever was learned."""
    return other.loss > 2 * best.loss and not best.score == other.score == 1
