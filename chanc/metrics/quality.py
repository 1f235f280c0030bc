"""Rank, condition and quality of convergence (QC) of convolution weights.

A weight W: [O, I, kh, kw] is unfolded to O x (I kh kw) in *out* mode and to I x (O kh kw) in *in* mode, and each matrix
is factorised by EVBMF into shrunken values d_1 >= ... >= d_n. With N = O or I:

    R = n / N,  kappa = d_1 / d_n,  QC = atan2(R, 1 - 1 / kappa)         (CONet; CONetV2)
    S = sum(d_i / d_1) / N                                              (the knowledge gain of AdaS)

Depthwise weights say nothing (one input channel a filter); the caller leaves them out, and the pointwise weight of the
pair speaks for both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chanc.errors import TrialError
from chanc.metrics.evbmf import Evbmf, Minimum, evbmf_batch

_FLAT = 1e-4
"""Stands for 1 - 1/kappa where kappa is 1, as in the public code of CONetV2."""


@dataclass(frozen=True)
class LayerQuality:
    """The measurements of one weight, in both modes.

    rank: R in [0, 1]; kappa: condition number of what EVBMF keeps, 0 where it keeps nothing; qc: QC in radians, from 0
    to pi/2; gain: AdaS's S in [0, 1].
    """

    in_rank: float
    out_rank: float
    in_kappa: float
    out_kappa: float
    in_qc: float
    out_qc: float
    in_gain: float
    out_gain: float

    @property
    def in_degenerate(self) -> bool:
        """Whether one kept value (kappa = 1) makes the in mode score QC near its maximum without any merit."""
        return self.in_kappa == 1.0

    @property
    def out_degenerate(self) -> bool:
        """As `in_degenerate`, of the out mode."""
        return self.out_kappa == 1.0

    @property
    def swapped(self) -> LayerQuality:
        """The same of the weight with its first two axes swapped: its two unfoldings trade places."""
        return LayerQuality(self.out_rank, self.in_rank, self.out_kappa, self.in_kappa,
                            self.out_qc, self.in_qc, self.out_gain, self.in_gain)  # fmt: skip

    def as_dict(self) -> dict[str, float]:
        """The measurements by name, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ModeQuality:
    """R, kappa, QC and S of one unfolded weight."""

    rank: float
    kappa: float
    qc: float
    gain: float


def layer_quality(weight: Any, minimum: Minimum = "global") -> LayerQuality:
    """Measure one weight [O, I, kh, kw] (or [O, I], [O, I, k], ...), a NumPy array or a torch tensor on any device.

    minimum: as for `chanc.metrics.evbmf.evbmf`.
    Raises `TrialError` where an element is NaN or infinite and `ValueError` where the weight has fewer than two axes.
    """
    return layers_quality({"weight": weight}, minimum)["weight"]


def layers_quality(weights: Mapping[str, Any], minimum: Minimum = "global") -> dict[str, LayerQuality]:
    """Measure all weights of a model at once; order and names are kept.

    minimum: as for `chanc.metrics.evbmf.evbmf`.
    Raises `TrialError`, naming the weight, where an element is NaN or infinite.
    """
    for name, weight in weights.items():
        if weight.ndim < 2 or 0 in weight.shape:
            raise ValueError(f"the weight {name!r} of shape {tuple(weight.shape)} has no output and input channels")
    matrices = {(name, mode): matrix for name, weight in weights.items() for mode, matrix in _unfold(weight).items()}
    found = dict(zip(matrices, _factorise(matrices, minimum), strict=True))
    return {name: _assemble(weight, found, name) for name, weight in weights.items()}


def _unfold(weight: Any) -> dict[str, Any]:
    """The matrices of the two modes; a weight without spatial axes has one spectrum for both."""
    outer, inner = weight.shape[:2]
    out = weight.reshape(outer, -1)
    if out.shape[1] == inner:
        return {"out": out}
    if not isinstance(weight, np.ndarray):
        weight = weight.detach()
    return {"out": out, "in": weight.swapaxes(0, 1).reshape(inner, -1)}


def _factorise(matrices: Mapping[tuple[str, str], Any], minimum: Minimum) -> list[Evbmf]:
    try:
        return evbmf_batch(list(matrices.values()), minimum)
    except TrialError:
        for (name, _), matrix in matrices.items():
            try:
                evbmf_batch([matrix])
            except TrialError as error:
                raise TrialError(f"{name}: {error}") from None
        raise


def _assemble(weight: Any, found: Mapping[tuple[str, str], Evbmf], name: str) -> LayerQuality:
    outer, inner = weight.shape[:2]
    out = mode_quality(found[name, "out"], outer)
    into = mode_quality(found.get((name, "in"), found[name, "out"]), inner)
    return LayerQuality(into.rank, out.rank, into.kappa, out.kappa, into.qc, out.qc, into.gain, out.gain)


def mode_quality(factors: Evbmf, channels: int) -> ModeQuality:
    """R, kappa, QC and S of one mode with N = `channels`; all are 0 where EVBMF keeps nothing."""
    kept = factors.singular_values
    if factors.rank == 0:
        return ModeQuality(0.0, 0.0, 0.0, 0.0)
    rank = factors.rank / channels
    kappa = float(kept[0] / kept[-1])
    qc = math.atan2(rank, max(1 - 1 / kappa, _FLAT))
    return ModeQuality(rank, kappa, qc, knowledge_gain(factors, channels))


def knowledge_gain(factors: Evbmf, channels: int, power: float = 1.0) -> float:
    """S = sum(d_i^p / d_1^p) / N of AdaS for one mode with N = `channels`, p = `power`."""
    kept = factors.singular_values
    return float(((kept / kept[0]) ** power).sum() / channels) if factors.rank else 0.0


def gains(qualities: Mapping[str, LayerQuality]) -> dict[str, tuple[float, float]]:
    """(S_in, S_out) by weight name, as `chanc.training.adas.AdaS.step_epoch` takes them."""
    return {name: (quality.in_gain, quality.out_gain) for name, quality in qualities.items()}
