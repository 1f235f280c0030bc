"""Metrics of layers: what is measured of all convolutions at an epoch's end. One metric a file, which registers it.

A metric is a function `(weights) -> figures`: numbers by layer and by their own name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from chanc import plugins
from chanc.errors import RunError
from chanc.metrics.evbmf import Minimum
from chanc.metrics.quality import LayerQuality, layers_quality
from chanc.registry import Registry

Figures = Mapping[str, Mapping[str, float]]
"""By layer (the name of its weight), then by name of the figure."""


class Weights(Mapping[str, Any]):
    """The weights of all measured layers by name, W: [O, I, k...] each: NumPy arrays, or torch tensors on any device.

    minimum: as for `chanc.metrics.evbmf.evbmf`. known: qualities that were measured already, by name.
    """

    def __init__(
        self, arrays: Mapping[str, Any], minimum: Minimum = "global", known: Mapping[str, LayerQuality] | None = None
    ) -> None:
        self._arrays, self._minimum, self._known = arrays, minimum, known or {}

    def __getitem__(self, name: str) -> Any:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    @cached_property
    def qualities(self) -> Mapping[str, LayerQuality]:
        """Rank, condition, QC and gain of every layer: one factorisation, however many metrics ask.

        Raises TrialError where an element is NaN or infinite.
        """
        rest = {name: array for name, array in self.items() if name not in self._known}
        found = {**self._known, **layers_quality(rest, self._minimum)}
        return {name: found[name] for name in self}


Metric = Callable[[Weights], Figures]

METRICS: Registry[Metric] = Registry("metric", "chanc.metrics", "chanc.metrics", error=RunError)
register = METRICS.register


def measure(
    names: Iterable[str], weights: Weights, instead: Mapping[str, Weights] | None = None
) -> dict[str, dict[str, float]]:
    """The figures of several metrics, by layer and name; `instead` has other arrays for some metrics.

    Raises RunError for an unknown metric, one that fails, and a figure that two of them have; TrialError where an
    element is NaN or infinite.
    """
    found: dict[str, dict[str, float]] = {layer: {} for layer in weights}
    for name in names:
        for layer, figures in _figures(name, (instead or {}).get(name, weights)).items():
            if layer not in found:
                raise RunError(f"the metric {name} has figures of {layer!r}, which is none of its layers")
            if twice := figures.keys() & found[layer].keys():
                raise RunError(f"the metric {name} has a figure {min(twice)!r}, and so has another one")
            found[layer] |= figures
    return found


def _figures(name: str, weights: Weights) -> dict[str, dict[str, float]]:
    metric = METRICS[name]
    with plugins.guarded(f"the metric {name}", RunError):
        return {layer: {figure: float(value) for figure, value in figures.items()}
                for layer, figures in metric(weights).items()}  # fmt: skip
