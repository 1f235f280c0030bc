"""The public functions: `import chanc` has them all, each imported when it is first used.

Wherever a model is asked for, it may be a path, an `onnx.ModelProto`, an `onnx_ir.Model` or a `gs.Graph`. What chanc
raises on purpose is a `ChancError` with one clear line; a function that names other errors raises those too.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from chanc import plugins
from chanc.analysis import Analysis, analyze
from chanc.backends.ort import likely_sizes, seconds
from chanc.errors import ChancError, ModelError
from chanc.ir import load, save
from chanc.measuring.scoring import Evaluated, evaluate
from chanc.measuring.sensitivity import Sensitivity, sensitivity
from chanc.measuring.timing import Timed, latency
from chanc.pruning import Pruned, prune
from chanc.rewriter import Rewrite
from chanc.rewriter import rewrite as plain_rewrite
from chanc.study import Run
from chanc.study import search as study_search
from chanc.transforms import Reconstruction, reconstruct

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from chanc.backends.torch import Source
    from chanc.data import DataSource
    from chanc.frontends.exported import Exported
    from chanc.ir.sizes import Sizes
    from chanc.oracles import Verdict
    from chanc.rewriter import Trace
    from chanc.rewriter.importance import Gathered
    from chanc.training.task import Task

__all__ = [
    "Analysis",
    "Evaluated",
    "Pruned",
    "Reconstruction",
    "Rewrite",
    "Run",
    "Sensitivity",
    "Timed",
    "Trained",
    "analyze",
    "codegen",
    "evaluate",
    "export",
    "gather",
    "latency",
    "load",
    "prune",
    "reconstruct",
    "rewrite",
    "save",
    "search",
    "sensitivity",
    "train",
    "verify",
]

P = ParamSpec("P")


def _reported(search: Callable[P, Run]) -> Callable[P, Run]:
    """The search with report.html drawn anew after each trial."""

    @functools.wraps(search)
    def reported(*args: P.args, **options: P.kwargs) -> Run:
        options.setdefault("on_change", _draw)
        return search(*args, **options)

    reported.__module__ = __name__  # a sweep sends it to other processes by its name
    return reported


def _timed(rewrite: Callable[P, Rewrite]) -> Callable[P, Rewrite]:
    """The rewrite with onnxruntime as the clock of a latency budget, and sizes at which MACs of open axes count."""

    @functools.wraps(rewrite)
    def timed(*args: P.args, **options: P.kwargs) -> Rewrite:
        options.setdefault("clock", seconds)
        model = args[0] if args else options.get("model")
        sized = options.get("dims") or options.get("shapes") or isinstance(model, Analysis)
        if not sized and (options.get("max_macs") or options.get("max_latency")):
            options["dims"] = likely_sizes(model) or {}
        return rewrite(*args, **options)

    return timed


def _draw(run: Path) -> None:
    from chanc.report import write_report

    write_report(run)


search = _reported(study_search)
rewrite = _timed(plain_rewrite)


def verify(
    original: Any,
    rewritten: Any,
    *,
    trace: Trace | Mapping[str, Any] | None = None,
    feeds: Mapping[str, NDArray[Any]] | None = None,
    batch: int = 2,
    seed: int = 0,
    dims: Sizes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    tolerance: float = 1e-4,
) -> Verdict:
    """Judge a rewritten model on the same inputs as the original: in float32, and in float64 where that disagrees.

    With the `trace` of a rewrite (as it is, or the object of its file) the channels that it dropped are zeroed in
    `original` first: a shrunken model must then compute the same. Groups that the trace's rewrite can't keep exact are
    doubled instead. Without a trace both must compute the same as they are, which is what widening promises. `feeds`
    are the inputs by name; without them they are random, with `batch` samples where the first axis is open, and other
    open axes as `dims` and `shapes` say (`chanc.analyze`).

    Returns a verdict: `agrees` is None where no judge can tell, the verdict's text says what was found, and it iterates
    over a `Difference` an output, whose `error` is relative to the output's largest entry; 1e-4 is much. Raises
    ModelError for a model that isn't valid, for `feeds` that the original can't be run on, and where the two have other
    inputs or outputs; VerifyError for a trace that isn't of `original`; MissingDependencyError without onnxruntime.
    """
    from chanc.ir import check
    from chanc.ir.sizes import sizes_of
    from chanc.oracles import judge

    expected, actual = load(original), load(rewritten)
    sizes = sizes_of(expected, dims, shapes)
    check(expected)
    check(actual)
    for kind in ("inputs", "outputs"):
        one, two = ([value.name for value in getattr(model.graph, kind)] for model in (expected, actual))
        if one != two:
            raise ModelError(f"the models have other {kind}: {one} and {two}")
    return judge(
        expected, actual, trace=trace, feeds=feeds, sizes=sizes, batch=batch, seed=seed, tolerance=tolerance
    )


def codegen(
    model: Any,
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    dims: Sizes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Source:
    """Write a model as readable, trainable PyTorch source that does not need chanc.

    `folder` gets model.py (the network is its last class, called `name`), model.safetensors (its weights) and check.py,
    which compares it with onnxruntime on random inputs. `dims` and `shapes` give open axes a size (`chanc.analyze`),
    which check.py knows. Where the end of the graph can't be expressed, post-processing for one, the network ends
    before it. Returns the source with the origin of every tensor, and what stays in ONNX (`tail`).

    Raises ModelError for a model that can't be read, and for what PyTorch can't express and weights are behind, naming
    the node; ChancError for a name that no class can have; MissingDependencyError without PyTorch or safetensors;
    OSError.
    """
    plugins.require("torch", "codegen", "torch")
    from chanc.analysis.infer_shapes import infer_shapes
    from chanc.backends.torch.names import class_name, identifier
    from chanc.backends.torch.package import write_package
    from chanc.backends.torch.tail import cut_tail
    from chanc.ir import check
    from chanc.ir.normalize import normalize
    from chanc.transforms import channels_first

    if name is not None and identifier(name) != name:
        raise ChancError(f"{name!r} can't be the name of a class")
    if Path(folder).exists() and not Path(folder).is_dir():
        raise ModelError(f"{os.fspath(folder)} is a file; the source wants a folder")
    loaded = load(model, dims=dims, shapes=shapes)
    check(loaded)
    normalize(loaded)
    infer_shapes(loaded)
    tail = cut_tail(loaded)
    # The numbers of weights keep their order, so that they can go back into the model.
    channels_first(loaded, reorder=False)
    path = Path(model) if isinstance(model, (str, os.PathLike)) else Path("model.onnx")
    return write_package(loaded, folder, name or class_name(path.name), path, tail=tail)


def export(
    network: str | nn.Module,
    path: str | os.PathLike[str],
    *,
    shapes: Sequence[Sequence[int | tuple[str, int]]] = (),
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
    exporter: str = "auto",
    opset: int | None = None,
    python: str | None = None,
    **options: Any,
) -> Exported:
    """Write a network as ONNX for channel work: its BatchNorm kept, the batch dynamic.

    network: a module, or a frontend's word and what it takes: "zoo:resnet34", "torch:PACKAGE.MODULE:FACTORY",
    "keras:model.keras"; `options` go to the network's maker. shapes: of the inputs, batch first, by default images
    [1, 3, 32, 32] for PyTorch, and what the framework tells elsewhere; for PyTorch ("H", 32) is an axis H that stays
    open. seed: of the example. Of PyTorch's networks the names of the state_dict are kept; weights: a state_dict in a
    .safetensors or .pt file; seed: of the initial weights, too; exporter: "auto" or a name of
    `chanc.frontends.exporters.EXPORTERS`. Other frameworks run in a process of their own; python: the interpreter that
    has them.

    Raises ChancError for a network that can't be made, ModelError for one that can't be exported, VerifyError where
    onnxruntime computes something else than the framework, MissingDependencyError, OSError. Nothing is written then.
    """
    if isinstance(network, str):
        from chanc.frontends.foreign import Foreign
        from chanc.frontends.spec import frontend_of

        road, _ = frontend_of(network)
        if isinstance(road, Foreign):
            from chanc.frontends.convert import export_foreign

            if weights is not None or exporter != "auto":
                raise ChancError(f"weights and exporter are for PyTorch: {network} is another framework's")
            sizes, _ = _sizes(shapes)
            return export_foreign(
                network, road, path, shapes=sizes, options=options, opset=opset, seed=seed, python=python
            )
    torch = plugins.require("torch", "exporting", "torch")
    from chanc.frontends import open_spec
    from chanc.frontends.torch import export as export_module
    from chanc.frontends.torch import load_weights

    module = open_spec(network, seed=seed, **options) if isinstance(network, str) else network
    if weights is not None:
        load_weights(module, weights)
    generator = torch.Generator().manual_seed(seed)
    sizes, axes = _sizes(shapes or ((1, 3, 32, 32),))
    examples = [torch.randn(shape, generator=generator) for shape in sizes]
    two = options.get("aux") and isinstance(network, str) and network.startswith("zoo:")
    names = ("output", "auxiliary") if two else ("output",)
    return export_module(
        module, examples, path, exporter=exporter, opset=opset, output_names=names, open_axes=axes if any(axes) else ()
    )


def _sizes(shapes: Sequence[Sequence[int | tuple[str, int]]]) -> tuple[list[tuple[int, ...]], list[dict[int, str]]]:
    """Sizes of inputs, and the names of their open axes."""
    sizes = [tuple(one if isinstance(one, int) else one[1] for one in shape) for shape in shapes]
    return sizes, [{axis: one[0] for axis, one in enumerate(shape) if not isinstance(one, int)} for shape in shapes]


def gather(
    model: Any,
    data: DataSource,
    *,
    task: str | Task = "classification",
    teacher: Any = None,
    data_root: str | os.PathLike[str] | None = None,
    batches: int = 16,
    activations: bool = True,
    normalise: str | None = None,
    scale_pixels: str | None = None,
    device: str = "auto",
    seed: int = 0,
    dims: Sizes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    say: Callable[[str], None] | None = None,
) -> Gathered:
    """What data show of a model's channels, for `rewrite(..., importance="taylor", evidence=...)` and its kin.

    data, task: as for `train`. teacher: of a task that wants one, the model itself where none is given. batches: of 64
    training samples each, drawn by the seed. activations: also how large the channels are. normalise, scale_pixels: as
    for `train`. dims, shapes: as for `rewrite`. say: gets notes.

    Raises ModelError for a model that PyTorch can't express or train, or of whose input can't be told what it was made
    for, DataError for data that don't fit it, MissingDependencyError without PyTorch.
    """
    plugins.require("torch", "judging channels by data", "torch")
    from chanc.ir.sizes import sizes_of
    from chanc.tasks import configured, fed
    from chanc.training.evidence import gather as gather_evidence
    from chanc.training.options import InputOptions

    loaded = load(model)
    taught = load(teacher) if teacher is not None else None
    sizes = sizes_of(loaded, dims, shapes)
    dataset, what, told = fed(
        loaded, data, configured(task, {})[0], InputOptions(normalise, scale_pixels), teacher=taught, root=data_root,
        sizes=sizes, device=device, seed=seed,
    )  # fmt: skip
    if say is not None:
        say(f"note: {told}")
    return gather_evidence(
        loaded, dataset, what, teacher=taught, device=device, batches=batches, seed=seed, activations=activations,
        sizes=sizes,
    )  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A trained model, of the kind that came in (a path gives an `onnx_ir.Model`).

    before, top1: the task's score (of a classification top-1, 0 to 1) on the data set's test images, before and after.
    data: the data set's name.
    """

    model: Any
    before: float
    top1: float
    params: int
    data: str
    test_images: int


def train(
    model: Any,
    data: DataSource,
    *,
    epochs: int,
    task: str | Task = "classification",
    teacher: Any = None,
    data_root: str | os.PathLike[str] | None = None,
    limit_train: int | None = None,
    limit_test: int | None = None,
    insert_batchnorm: bool = False,
    normalise: str | None = None,
    scale_pixels: str | None = None,
    bake: bool = False,
    dims: Sizes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    say: Callable[[str], None] | None = None,
    on_step: Callable[[Any], None] | None = None,
    on_epoch: Callable[[Any, Any], Any] | None = None,
    **options: Any,
) -> Trained:
    """Train a network: the same graph with new values comes out, the model that came in stays as it is.

    data: a data set by name or path (`chanc.data.load`), a folder of images or arrays without labels, a torch Dataset
    or DataLoader, any iterable of batches (`chanc.data.data_for`), or "random" for made-up inputs. task: what it is
    trained for, a name of `chanc.tasks.TASKS`, `module:Class`, or a `chanc.training.task.Task`. teacher: the model that
    a task like distillation learns from; both see the same pixels, those that the teacher was made for.

    options: fields of `chanc.training.options.TrainOptions` and of the task; what isn't given follows from the
    optimizer (`RECIPES`) and from the images. normalise, scale_pixels, bake: fields of
    `chanc.training.options.InputOptions`; where they aren't given, the input stays what the model was made for
    (`chanc.training.contract`). insert_batchnorm: first put BatchNorm behind bare convolutions, with statistics of
    training samples. dims, shapes: sizes of open axes, as `chanc.analyze` takes them: the images are brought to these,
    and the axes stay open in the result. checkpoint: a .safetensors file that is written after each epoch, and from
    which a training that was stopped goes on. say: gets notes. on_step, on_epoch: as in
    `chanc.training.trainer.train_module`.

    Raises ModelError for a model that PyTorch can't express or train, or of whose input can't be told what it was made
    for, DataError for data that don't fit it, RunError for an option out of range, TrialError where the training
    diverges, MissingDependencyError without PyTorch.
    """
    plugins.require("torch", "training", "torch")
    from chanc.data import Dataset
    from chanc.ir import check, like
    from chanc.ir.sizes import bind, per_sample, release, sizes_of
    from chanc.tasks import configured, fed, with_recipe
    from chanc.training.images import image_input, recover_norms
    from chanc.training.module import remarks
    from chanc.training.options import InputOptions
    from chanc.training.train import score
    from chanc.training.train import train as train_model
    from chanc.transforms import bake_input

    loaded = load(model)
    check(loaded)
    opened = bind(loaded, per_sample(loaded, sizes_of(loaded, dims, shapes)))
    taught = load(teacher) if teacher is not None else None
    if taught is not None:
        bind(taught, per_sample(taught, sizes_of(taught, dims, shapes)))
    dataset, _, told = fed(
        loaded, data, configured(task, options)[0], InputOptions(normalise, scale_pixels, bake), teacher=taught,
        root=data_root, limit_train=limit_train, limit_test=limit_test, device=options.get("device", "auto"),
        seed=options.get("seed", 0),
    )  # fmt: skip
    what, chosen = with_recipe(task, {**options, "epochs": epochs}, dataset)
    notes = [note for note in (dataset.note, told, *remarks(loaded)) if note]
    if insert_batchnorm and not recover_norms(loaded, dataset):
        notes.append("no convolution lacks a BatchNorm")
    if say is not None:
        for note in notes:
            say(f"note: {note}")
    before: list[float] = []
    done = train_model(
        loaded, dataset, what, chosen, on_step=on_step, on_epoch=on_epoch, checkpoint=checkpoint, teacher=taught,
        start=lambda net: before.append(score(net, dataset, what, chosen, taught)),
    )  # fmt: skip
    if isinstance(dataset, Dataset) and bake:
        bake_input(loaded, image_input(loaded), dataset.input)
    release(loaded, opened)
    result = loaded if isinstance(model, (str, os.PathLike)) else like(loaded, model)
    return Trained(result, before[0], done.result.score, done.params, dataset.name, dataset.counts[1])
