"""The analytic global solution of empirical variational Bayesian matrix factorisation (EVBMF).

Nakajima, Sugiyama, Babacan and Tomioka (JMLR 14, 2013): with s the singular values of an L x M matrix, L <= M, and
sigma^2 the noise variance at a minimum of the free energy, the values s > sqrt(M sigma^2 xbar) are kept, shrunk to

    d = s / 2 (1 - u + sqrt((1 - u)^2 - 4 L M sigma^4 / s^4)),  u = (L + M) sigma^2 / s^2

Only the singular values of the small side are needed, so they are taken from the eigenvalues of its float64 Gram
matrix: no singular vectors, and the work falls from that of an SVD to one symmetric product. All values are divided by
the Frobenius norm first, which makes the rank independent of the scale of the weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chanc.errors import TrialError
from chanc.metrics.vb import Array, Shape
from chanc.metrics.vb_brent import brent_noise_variance
from chanc.metrics.vb_global import lowest_noise_variance

Minimum = Literal["global", "brent"]

MINIMA: dict[Minimum, Callable[[Array, Shape], Array]] = {
    "global": lowest_noise_variance,
    "brent": brent_noise_variance,
}
"""Which minimum of the free energy gives sigma^2: the lowest, or the one that Brent's bounded search ends in."""


@dataclass(frozen=True)
class Evbmf:
    """What EVBMF keeps of a matrix.

    rank: number of values kept; sigma2: variance of the noise, in squared units of the matrix's elements;
    singular_values: the shrunken values d_1 >= ... >= d_rank, float64 [rank], in units of the matrix.
    """

    rank: int
    sigma2: float
    singular_values: NDArray[np.float64]


def evbmf(matrix: Any, minimum: Minimum = "global") -> Evbmf:
    """Factorise one real matrix [A, B], a NumPy array or a torch tensor on any device.

    minimum: which minimum of the free energy sigma^2 is taken at. Published figures rest on "brent"; it differs from
    the "global" one where F has several minima of nearly one depth, and there the last bits of the weights decide.
    Raises `TrialError` where an element is NaN or infinite and `ValueError` where the shape is not that of a matrix.
    """
    return evbmf_batch([matrix], minimum)[0]


def evbmf_batch(matrices: Iterable[Any], minimum: Minimum = "global") -> list[Evbmf]:
    """Factorise matrices of one shape (or its transpose) in one search; the answers come in the same order.

    matrices: an iterable of [A, B], or one array or tensor [batch, A, B]; minimum: as for `evbmf`.
    Raises `TrialError` where an element is NaN or infinite and `ValueError` where the shapes differ.
    """
    items = list(matrices)
    shapes = {tuple(sorted(item.shape)) for item in items}
    if not items:
        return []
    if len(shapes) > 1 or any(item.ndim != 2 for item in items) or 0 in next(iter(shapes)):
        raise ValueError(f"EVBMF takes non-empty matrices of one shape, not {sorted(shapes)}")
    small, large = next(iter(shapes))
    return solve(*spectrum(items), Shape(small, large), minimum)


def spectrum(matrices: list[Any]) -> tuple[Array, Array]:
    """Singular values of matrices of one shape, [batch, L] descending, each set divided by its Frobenius norm, [batch].

    The Gram matrices are made where the matrices are; a torch tensor stays on its device for its eigenvalues too.
    """
    torch = sys.modules.get("torch")
    if torch is not None and all(isinstance(item, torch.Tensor) and item.is_cuda for item in matrices):
        eigenvalues, norms = _eigenvalues_torch(matrices, torch)
    else:
        eigenvalues, norms = _eigenvalues(matrices)
    if not np.isfinite(norms).all():
        raise TrialError("the weights hold NaN or infinite values: the training diverged")
    with np.errstate(invalid="ignore"):
        values = np.sqrt(np.maximum(eigenvalues[:, ::-1], 0.0))
    return values, norms


def _eigenvalues(matrices: list[Any]) -> tuple[Array, Array]:
    """Ascending eigenvalues of the Gram matrices over their traces, [batch, L], and Frobenius norms, [batch]."""
    side = min(matrices[0].shape)
    grams = np.zeros((len(matrices), side, side))
    norms = np.empty(len(matrices))
    for index, item in enumerate(matrices):
        matrix = _to_numpy(item)
        gram, norms[index] = _gram(matrix)
        if not 1e-100 < norms[index] < 1e100:
            # Squares over- or underflow out here, or an element is not finite: divide by the largest element first.
            peak = float(np.abs(matrix).max())
            gram, norms[index] = _gram(matrix / peak) if 0 < peak < np.inf else (gram, peak)
            norms[index] *= peak if 0 < peak < np.inf else 1.0
        if 0 < norms[index] < np.inf:
            grams[index] = gram / np.trace(gram)
    return np.linalg.eigvalsh(grams), norms


def _gram(matrix: Array) -> tuple[Array, float]:
    """The Gram matrix of the rows of [L, M], [L, L], and the Frobenius norm."""
    with np.errstate(all="ignore"):
        # NumPy hands A @ A.T to BLAS's syrk, which does half the work.
        gram = matrix @ matrix.T
        return gram, float(np.sqrt(np.trace(gram)))


def _to_numpy(item: Any) -> Array:
    """A float64 matrix [L, M], L <= M, from an array or a tensor [A, B] of any float type."""
    if not isinstance(item, np.ndarray):
        item = item.detach().double().cpu().numpy()
    matrix = np.asarray(item, dtype=np.float64)
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T


def _eigenvalues_torch(matrices: list[Any], torch: Any) -> tuple[Array, Array]:
    """As `_eigenvalues`, on the device of the tensors; only [batch, L] numbers leave it."""
    stack = torch.stack([m.detach().double() if m.shape[0] <= m.shape[1] else m.detach().double().T for m in matrices])
    norms = torch.linalg.matrix_norm(stack)
    usable = torch.isfinite(norms) & (norms > 0)
    scaled = torch.where(usable[:, None, None], stack / norms[:, None, None], torch.zeros_like(stack))
    eigenvalues = torch.linalg.eigvalsh(scaled @ scaled.mT)
    return eigenvalues.cpu().numpy(), norms.cpu().numpy()


def solve(values: Array, norms: Array, shape: Shape, minimum: Minimum = "global") -> list[Evbmf]:
    """EVBMF from singular values, [batch, L] descending, that are divided by `norms`, [batch]."""
    small, large = shape.small, shape.large
    variance = MINIMA[minimum](values**2 / large, shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = variance[:, None] / values**2
        rest = 1 - (small + large) * noise
        shrunken = values / 2 * (rest + np.sqrt(rest**2 - 4 * small * large * noise**2))
    kept = values > np.sqrt(large * variance * shape.xbar)[:, None]
    return [
        Evbmf(int(keep.sum()), float(v) * float(n) * float(n), np.asarray(d[keep] * n))
        for keep, v, n, d in zip(kept, variance, norms, shrunken, strict=True)
    ]
