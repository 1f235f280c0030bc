"""The real engine: chanc's rewriter, its PyTorch backend and trainer, onnxruntime for latencies."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chanc.errors import DataError, MissingDependencyError, ModelError
from chanc.files import atomic_write_json
from chanc.runs import Epoch, read_json
from chanc.study.engine import Trained, Watcher
from chanc.study.measure import measured_weights
from chanc.study.space import Price

if TYPE_CHECKING:
    from torch import nn

    from chanc.data import Dataset
    from chanc.metrics.evbmf import Minimum
    from chanc.metrics.quality import LayerQuality
    from chanc.training.options import TrainOptions

MODES = ("rank", "kappa", "qc")


@dataclass(frozen=True)
class TorchEngine:
    """Trains with `train` on `data` (a training set split in two: the test part is held out from it).

    final, final_data: recipe and data (with the real test set) of the final trainings. transfer: how weights follow
    widths. reset: draw norms and linear layers anew after each change of widths, as the public code of CONetV2 does.
    """

    data: Dataset
    train_options: TrainOptions
    final_data: Dataset
    final_options: TrainOptions | None = None
    transfer: str = "svd"
    reset: bool = False

    def load(self, path: Path) -> Any:
        """Read an ONNX model."""
        from chanc.ir import load

        return load(path)

    def save(self, model: Any, path: Path) -> None:
        """Write an ONNX model atomically."""
        from chanc.ir import save

        save(model, path)

    def resize(
        self, model: Any, widths: Mapping[str, int], *, fresh: bool, seed: int, transfer: str | None = None
    ) -> Any:
        """The rewritten model; values that are drawn anew before the training are not worth a transfer."""
        from chanc.rewriter import rewrite

        chosen = "select" if fresh else transfer or self.transfer
        return rewrite(model, dict(widths), transfer=chosen, seed=seed).model

    def price(self, model: Any) -> Price:
        """Parameters and MACs, counted node by node."""
        from chanc.analysis.infer_shapes import infer_shapes
        from chanc.cost.cost import cost

        infer_shapes(model)
        return cost(model)

    def latency(self, model: Any) -> float:
        """Median seconds of one input in onnxruntime."""
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        from chanc.backends.ort import latency

        return latency(model, batch=1).median_s

    def check(self, model: Any) -> None:
        """Raise ModelError where PyTorch can't express the model."""
        _build(model)

    def export(self, model: Any, folder: Path) -> None:
        """Write model.py, stand-alone PyTorch source, model.safetensors, its weights, and check.py, which compares."""
        from chanc.analysis.infer_shapes import infer_shapes
        from chanc.backends.torch.package import write_package
        from chanc.ir import load
        from chanc.ir.normalize import normalize

        prepared = load(model)
        normalize(prepared)
        infer_shapes(prepared)
        write_package(prepared, folder, "Network", folder / "best.onnx")

    def train(
        self, model: Any, *, fresh: bool, seed: int, carry_from: Path | None, carry_to: Path | None, watch: Watcher,
        epochs: int | None = None,
    ) -> Trained:
        """One trial on the search's data."""
        from chanc.training.trainer import train

        built = _build(model)
        _draw_anew(built.module, seed, everything=fresh, norms_and_linear=self.reset)
        layers = _layers(built, measured_weights(model))
        done: list[Epoch] = []
        measuring: list[float] = []

        def record(epoch: Any, module: nn.Module) -> dict[str, Any]:
            begun = time.perf_counter()
            metrics = _measure(module, layers, epoch.qualities, self.train_options.evbmf)
            measuring.append(time.perf_counter() - begun)
            done.append(Epoch(epoch.epoch, epoch.loss, epoch.top1, epoch.lr, metrics))
            watch.epoch(epoch.epoch, epoch.loss, epoch.top1)
            return metrics

        options = dataclasses.replace(self.train_options, seed=seed, epochs=epochs or self.train_options.epochs)
        carried = read_json(carry_from) if carry_from is not None else None
        state = carried if isinstance(carried, dict) else None
        result = train(built.module, self.data, options, on_step=_stepper(watch), on_epoch=record, state=state)
        if carry_to is not None:
            atomic_write_json(carry_to, {"adas": result.optimizer_state["adas"]})
        built.write_back(model)
        return Trained(model, done, result.top1, result.loss, sum(measuring))

    def train_final(self, model: Any, *, seed: int, checkpoint: Path, watch: Watcher) -> Trained:
        """A final training from scratch, top-1 on the test set; goes on from `checkpoint` where it exists."""
        from chanc.training.trainer import train

        if self.final_options is None:
            raise ValueError("this engine has no recipe for final trainings")
        built = _build(model)
        _draw_anew(built.module, seed, everything=True)
        options = dataclasses.replace(self.final_options, seed=seed)

        def record(epoch: Any, module: nn.Module) -> None:
            watch.epoch(epoch.epoch, epoch.loss, epoch.top1)

        result = train(
            built.module, self.final_data, options, on_step=_stepper(watch), on_epoch=record, checkpoint=checkpoint
        )
        built.write_back(model)
        epochs = [Epoch(one.epoch, one.loss, one.top1, one.lr) for one in result.history]
        return Trained(model, epochs, result.top1, result.loss)


def fit_data(analysis: Any, data: Dataset) -> Dataset:
    """The data at the model's input size.

    Raises DataError where the model's output has other classes than the data; ModelError where it takes no images.
    """
    inputs, outputs = analysis.model.graph.inputs, analysis.model.graph.outputs
    if len(inputs) != 1 or inputs[0].shape is None or len(inputs[0].shape) != 4:
        raise ModelError("a search needs a model with one input of images [N, C, H, W]")
    classes = outputs[0].shape[-1] if outputs[0].shape is not None and len(outputs[0].shape) else None
    if isinstance(classes, int) and classes != data.classes:
        raise DataError(f"the model has {classes} classes, the data set {data.name} has {data.classes}")
    wanted = zip(list(inputs[0].shape)[1:], data.shape, strict=True)
    return data.fit_to(*(want if isinstance(want, int) else have for want, have in wanted))


def _stepper(watch: Watcher) -> Callable[[Any], None]:
    """Tell of each step without reading its loss, which would make the CPU wait for the device."""
    return lambda info: watch.step(info.epoch, (info.step + 1) / info.steps)


def _build(model: Any) -> Any:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("a search needs PyTorch: pip install 'chanc[torch]'") from error
    from chanc.backends.torch import build

    return build(model)


def _draw_anew(module: nn.Module, seed: int, *, everything: bool, norms_and_linear: bool = False) -> None:
    """Reset all submodules, or norms and linear layers only, to PyTorch's default initialisation."""
    import torch
    from torch.nn.modules.batchnorm import _NormBase

    if not everything and not norms_and_linear:
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for child in module.modules():
            reset: Any = getattr(child, "reset_parameters", None)
            if reset is not None and (everything or isinstance(child, (_NormBase, torch.nn.Linear))):
                reset()


def _layers(built: Any, weights: Mapping[str, bool]) -> dict[str, tuple[str, bool]]:
    """Initializer -> (state_dict key, whether the first two axes are swapped) of every measured weight."""
    return {
        binding.initializer: (key, weights[binding.initializer])
        for key, binding in built.bindings.items()
        if binding.initializer in weights
    }


def _measure(
    module: nn.Module, layers: Mapping[str, tuple[str, bool]], known: Mapping[str, LayerQuality], minimum: Minimum
) -> dict[str, dict[str, float]]:
    """The quality of every measured layer, computed on the device where its weight is.

    known: what AdaS has measured of these weights already, by state_dict key.
    """
    from chanc.metrics.quality import layers_quality

    state: dict[str, Any] = module.state_dict()
    rest = {key: state[key] for key, _ in layers.values() if key not in known}
    qualities = {**known, **layers_quality(rest, minimum)}
    return {name: _metrics(qualities[key], swap) for name, (key, swap) in layers.items()}


def _metrics(quality: LayerQuality, swap: bool) -> dict[str, float]:
    """The metrics by name; with the weight's first two axes swapped, its two unfoldings trade places."""
    values = quality.as_dict()
    modes = {"in": "out", "out": "in"} if swap else {"in": "in", "out": "out"}
    return {f"{mode}_{what}": values[f"{source}_{what}"] for what in MODES for mode, source in modes.items()}
