"""Write docs/coverage.md: what becomes of every model of some folders, and the operators that have rules.

    python benchmarks/coverage.py --models MODELS...                   all that have no row yet, then the page
    python benchmarks/coverage.py --models MODELS... --only 'tv_swin*'    these once more

MODELS are folders of .onnx files and of skeletons (.onnx.gz, whose weights are made up). Of each model the channel
groups are found; it is rewritten at half of its widths and at half as much again, as `chanc rewrite` does it, and both
are judged; it is written as PyTorch, which must compute what onnxruntime computes; and it makes two training steps. A
model has a process of its own, and its row goes to `--rows` when it is done: a run that is stopped goes on from there.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import coverage_page
import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

import chanc
from chanc.backends import ort
from chanc.data import Dataset
from chanc.errors import ChancError
from chanc.files import atomic_write_text
from chanc.ir import load
from chanc.ir.dtypes import FLOATS, QUANTISED
from chanc.ir.nodes import subgraphs
from chanc.oracles import compare, judge
from chanc.tasks.classification import Classification
from chanc.testing.skeletons import open_model
from chanc.training.module import Trainable, trainable
from chanc.training.task import Batch, Outputs, Task

HERE = Path(__file__).parent
MODELS = Path(os.environ.get("CHANC_SHARED", HERE.parents[1] / "shared")) / "models"
STEP = 1e-3
"""How far a training step moves a weight at most, as a share of its norm."""

Feeds = Mapping[str, NDArray[np.generic]]


@dataclass
class Judged:
    """A rewrite and its verdict, counted in groups.

    exact, doubled, untold: groups that were verified as they are, by doubling, or of which nobody can tell; float64:
    those of them for which float32 was not enough. deaf: the outputs of the rewritten model hardly depend on the
    inputs, so that its groups were doubled, too. left: groups left alone. error: the largest difference of an output,
    over its largest entry. fault: what is wrong, or why there is no rewrite.
    """

    exact: int = 0
    doubled: int = 0
    untold: int = 0
    float64: int = 0
    deaf: bool = False
    left: int = 0
    error: float = 0.0
    reasons: list[str] = field(default_factory=list)
    fault: str = ""
    seconds: float = 0.0


@dataclass
class Emitted:
    """The model as PyTorch.

    error: the largest difference from onnxruntime, over the output's largest entry. noise: the like of the module in
    float64, measured where the error is large.
    """

    error: float | None = None
    noise: float = 0.0
    lines: int = 0
    fault: str = ""
    seconds: float = 0.0


@dataclass
class Steps:
    """Two training steps on one batch: the loss before, between and after them; parameters with a gradient, and all."""

    task: str = ""
    losses: list[float] = field(default_factory=list)
    reached: int = 0
    parameters: int = 0
    fault: str = ""
    seconds: float = 0.0


@dataclass
class Row:
    """What was found of one model; params are entries of float and quantised weights."""

    name: str
    folder: str
    opset: int = 0
    nodes: int = 0
    params: int = 0
    free_params: int = 0
    groups: int = 0
    free_groups: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    fault: str = ""
    half: Judged = field(default_factory=Judged)
    widen: Judged = field(default_factory=Judged)
    codegen: Emitted = field(default_factory=Emitted)
    training: Steps = field(default_factory=Steps)
    gigabytes: float = 0.0


def examine(path: Path) -> dict[str, object]:
    """The row of one model, as JSON; what chanc refuses becomes the text of a cell."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = open_model(path)
    row = Row(name_of(path), path.parent.name, nodes=len(model.graph.node))
    row.opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    try:
        describe(row, model)
    except ChancError as error:
        row.fault = str(error)
    else:
        for part, measured in PARTS.items():
            start = time.perf_counter()
            found = getattr(row, part)
            try:
                measured(model, found)
            except Exception as error:  # a defect of chanc, or of PyTorch, is a cell of its own
                found.fault = str(error) if isinstance(error, ChancError) else f"{type(error).__name__}: {error}"
            found.seconds = round(time.perf_counter() - start, 1)
            gc.collect()
    row.gigabytes = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)
    return asdict(row)


def describe(row: Row, model: onnx.ModelProto) -> None:
    """Groups, weights that stand on an axis of one that may change, and why others may not.

    What no layer makes or takes (the axes of a table of positions) and stays is no channel of anything.
    """
    analysis = chanc.analyze(model)
    free = [group for group in analysis.groups if group.resizable]
    fixed = [g for g in analysis.groups if not g.resizable and any(o.role != "follower" for o in g.operands)]
    touched = {operand.initializer for group in free for operand in group.operands}
    graph = analysis.model.graph
    weights = {
        name: value.const_value.size
        for scope in (graph, *subgraphs(graph))
        for name, value in scope.initializers.items()
        if value.const_value is not None and value.dtype in FLOATS | QUANTISED
    }
    row.params, row.free_params = sum(weights.values()), sum(weights[name] for name in touched & weights.keys())
    row.groups, row.free_groups = len(free) + len(fixed), len(free)
    row.reasons = dict(Counter(group.reason for group in fixed))


def half(model: onnx.ModelProto, found: Judged) -> None:
    """`chanc rewrite --scale 0.5`."""
    rewritten(model, found, 0.5, "select")


def widen(model: onnx.ModelProto, found: Judged) -> None:
    """`chanc rewrite --scale 1.5 --transfer widen`."""
    rewritten(model, found, 1.5, "widen")


def rewritten(model: onnx.ModelProto, found: Judged, scale: float, transfer: str) -> None:
    result = chanc.rewrite(model, scale=scale, transfer=transfer)
    found.left = len(result.trace.left)
    found.reasons = list(dict.fromkeys(result.trace.left.values()))
    verdict = judge(model, result.model, trace=result.trace, transfer=transfer)
    kinds = {}
    for finding in verdict.findings:
        known = finding.agrees is not None
        exact = {name: "exact" if result.trace.verdicts[name].exact else "doubled" for name in finding.groups}
        kinds |= exact if known else dict.fromkeys(finding.groups, "untold")
        found.error = max(found.error, finding.error if known else 0.0)
        found.reasons += [] if known else [finding.reason]
    counts = Counter(kinds.values())
    found.exact, found.doubled, found.untold = (counts[kind] for kind in ("exact", "doubled", "untold"))
    found.float64 = len({name for f in verdict.findings if f.judge == "float64" for name in f.groups})
    found.deaf = any(finding.deaf for finding in verdict.findings)
    found.fault = f"wrong: {verdict.wrong}" if verdict.wrong else ""


def codegen(model: onnx.ModelProto, found: Emitted) -> None:
    """`chanc codegen`, and what was written, run."""
    feeds = inputs_of(model)
    with tempfile.TemporaryDirectory() as folder:
        network = written(model, Path(folder), found)
    said = answers(network, feeds)
    found.error = furthest(ort.run(model, feeds, exact=True), said)
    if found.error > coverage_page.TOLERANCE:
        doubles = {name: a.astype(np.float64) if a.dtype == np.float32 else a for name, a in feeds.items()}
        found.noise = furthest(answers(network.double(), doubles), said)


def answers(network: nn.Module, feeds: Feeds) -> list[NDArray[np.generic]]:
    """What a network makes of inputs."""
    with torch.no_grad():
        said = network(*[torch.from_numpy(array) for array in feeds.values()])
    return [tensor.numpy() for tensor in ([said] if isinstance(said, Tensor) else said)]


def furthest(expected: Sequence[NDArray[np.generic]], actual: Sequence[NDArray[np.generic]]) -> float:
    """The largest difference of an output."""
    return max(one.error for one in compare(expected, actual, [str(k) for k in range(len(expected))]))


def written(model: onnx.ModelProto, folder: Path, found: Emitted) -> nn.Module:
    """The network of the files that codegen writes, imported as anyone would."""
    source = chanc.codegen(model, folder)
    found.lines = source.text.count("\n")
    spec = importlib.util.spec_from_file_location("model", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network: nn.Module = getattr(module, source.name)()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval()


def inputs_of(model: onnx.ModelProto, batch: int = 2) -> dict[str, NDArray[np.generic]]:
    """Random inputs, images with something to see on them."""
    generator = np.random.default_rng(0)
    feeds = ort.fitting_feeds(model, batch=batch)
    pictured = {name for name, array in feeds.items() if array.ndim == 4 and array.dtype.kind == "f"}
    return {name: strokes(array, generator) if name in pictured else array for name, array in feeds.items()}


def strokes(array: NDArray[np.generic], generator: np.random.Generator) -> NDArray[np.generic]:
    """Dark strokes in rows on a light ground, with noise: on plain noise a text detector says nothing anywhere.

    Its outputs are then near 1e-8, below the rounding of onnxruntime's own Sigmoid, and a relative error means nothing.
    """
    rows, columns = (2, 3) if array.shape[1] <= 4 else (1, 2)
    image = np.moveaxis(np.full(array.shape, 2.0), (rows, columns), (0, 1))
    for top in range(8, image.shape[0] - 16, 24):
        for left in range(8, image.shape[1] - 8, 6):
            if generator.random() < 0.8:
                image[top : top + 12, left : left + 2 + int(generator.integers(3))] = -2.0
    return (np.moveaxis(image, (0, 1), (rows, columns)) + 0.1 * array).astype(array.dtype)


class Matching(Task):
    """Targets as the outputs are, for models that are no classifiers: the mean square of what is missed."""

    name, score_name, higher_is_better, wants_teacher = "matching", "mse", False, True

    def fit(self, model: object, data: Dataset) -> Dataset:
        return data

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        targets = batch.teacher or {}
        return torch.stack([(outputs[name].float() - target).square().mean() for name, target in targets.items()]).sum()

    def score(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, int]:
        return self.loss(outputs, batch) * len(batch), len(batch)


def training(model: onnx.ModelProto, found: Steps) -> None:
    """Two steps down the loss of one batch, and the weights brought home into the graph."""
    loaded = load(model)
    inputs = {name: torch.from_numpy(array) for name, array in inputs_of(model, 4).items()}
    task = Classification() if classifies(model) else Matching()
    found.task = task.name
    net = trainable(loaded, task)
    batch = batch_for(net.forward(inputs), inputs, task)
    parameters = list(net.module.parameters())
    descend(net.module, lambda: task.loss(net.forward(inputs), batch), found.losses)
    found.reached = sum(p.grad is not None and bool(p.grad.any()) for p in parameters)
    found.parameters = len(parameters)
    if not found.losses[0] > found.losses[1] > found.losses[2]:
        found.fault = "the loss doesn't fall"
    if (worst := homecoming(net, loaded, task, inputs)) > 1e-5:
        found.fault = f"brought home, what was trained differs by {worst:.1e}"


def homecoming(net: Trainable, model: ir.Model, task: Task, inputs: Mapping[str, Tensor]) -> float:
    """How far the outputs of what was trained are from those of the graph that it is written back to."""
    net.module.eval()
    net.write_back(model)
    with torch.no_grad():
        wanted, have = net.forward(inputs), trainable(model, task).forward(inputs)
    return furthest(*([tensor.numpy() for tensor in said.values()] for said in (wanted, have)))


def classifies(model: onnx.ModelProto) -> bool:
    """Whether images become one row of scores each."""
    images, outputs = model.graph.input[0].type.tensor_type.shape.dim, model.graph.output
    return len(images) == 4 and len(outputs) == 1 and len(outputs[0].type.tensor_type.shape.dim) == 2


def batch_for(outputs: Outputs, inputs: Mapping[str, Tensor], task: Task) -> Batch:
    """Labels at random, or targets: the outputs moved by their deviation."""
    if task.takes_logits:
        classes = next(iter(outputs.values())).shape[1]
        return Batch(inputs, torch.randint(classes, (len(next(iter(inputs.values()))),)), training=True)
    floats = {name: tensor.detach() for name, tensor in outputs.items() if tensor.is_floating_point()}
    teacher = {name: tensor + tensor.std(correction=0) for name, tensor in floats.items()}
    return Batch(inputs, None, training=True, teacher=teacher)


def descend(module: nn.Module, loss_of: Callable[[], Tensor], losses: list[float]) -> None:
    """Two steps in training mode down the gradient; `losses` gets the loss before, between and after them.

    A step moves each tensor by `STEP` of its norm (LARS, You et al. 2017), less where the loss is too bent for that.
    """
    losses.append(loss_in_training(module, loss_of))
    for _ in range(2):
        module.zero_grad()
        loss_in_training(module, loss_of, backward=True)
        moved = [p for p in module.parameters() if p.grad is not None]
        start = [p.detach().clone() for p in moved]
        for share in (STEP, STEP / 10, STEP / 100, STEP / 1000):
            with torch.no_grad():
                for p, was in zip(moved, start, strict=True):
                    p.copy_(was - share * was.norm() / p.grad.norm().clamp(min=1e-30) * p.grad)
            after = loss_in_training(module, loss_of)
            if after < losses[-1]:
                break
        losses.append(after)


def loss_in_training(module: nn.Module, loss_of: Callable[[], Tensor], *, backward: bool = False) -> float:
    """The loss in training mode, the same units dropped each time; with its gradient, if asked for."""
    torch.manual_seed(0)
    module.train()
    with torch.set_grad_enabled(backward):
        loss = loss_of()
        if backward:
            loss.backward()
    return float(loss.detach())


PARTS: dict[str, Callable[..., None]] = {"half": half, "widen": widen, "codegen": codegen, "training": training}


def name_of(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".onnx")


def models_in(folders: Sequence[Path]) -> list[Path]:
    return sorted(path for folder in folders for kind in ("*.onnx", "*.onnx.gz") for path in folder.rglob(kind))


def read(rows: Path) -> dict[str, coverage_page.Json]:
    """The rows of earlier runs, by name."""
    lines = rows.read_text(encoding="utf-8").splitlines() if rows.exists() else []
    return {row["name"]: row for row in map(json.loads, lines)}


def alone(path: Path) -> dict[str, object]:
    """`examine` in a process of its own, so that one that is killed for its memory costs its own row only."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(examine, path).result()
        except BrokenProcessPool:
            return asdict(Row(name_of(path), path.parent.name, fault="its process died, likely of too little memory"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, nargs="+", default=[MODELS], help="folders of models")
    parser.add_argument("--only", metavar="PATTERN", help="measure models of such a name, those with a row too")
    parser.add_argument("--rows", type=Path, default=Path("coverage.jsonl"), help="takes a row when it is done")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "coverage.md")
    args = parser.parse_args()
    paths = models_in(args.models)
    if not paths:
        sys.exit(f"no .onnx or .onnx.gz file in {', '.join(map(str, args.models))}: name folders of models by --models")
    have = read(args.rows)
    wanted = [p for p in paths if (fnmatch(name_of(p), args.only) if args.only else name_of(p) not in have)]
    for count, path in enumerate(wanted, 1):
        have[name_of(path)] = row = alone(path)
        atomic_write_text(args.rows, "".join(f"{json.dumps(found)}\n" for found in have.values()))
        print(f"[{count}/{len(wanted)}] {coverage_page.line(row)}", flush=True)
    rows = [have[name_of(path)] for path in paths if name_of(path) in have]
    atomic_write_text(args.out, coverage_page.page(rows, len(paths)))


if __name__ == "__main__":
    main()
