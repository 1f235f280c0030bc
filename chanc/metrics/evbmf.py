"""The analytic global solution of empirical variational Bayesian matrix factorisation (EVBMF).

Nakajima, Sugiyama, Babacan and Tomioka (JMLR 14, 2013): with s the singular values of an L x M matrix, L <= M, and
sigma^2 the noise variance at a minimum of the free energy, the values s > sqrt(M sigma^2 xbar) are kept, shrunk to

    d = s / 2 (1 - u + sqrt((1 - u)^2 - 4 L M sigma^4 / s^4)),  u = (L + M) sigma^2 / s^2

Only the singular values of the small side are needed, so they are taken from the eigenvalues of its float64 Gram
matrix: no singular vectors, and the work falls from that of an SVD to one symmetric product. All values are divided by
the Frobenius norm first, which makes the rank independent of the scale of the weights.

All matrices of a model go through it together, whatever their shapes: Gram matrices of one size are decomposed at
once, their eigenvalues leave the device in one piece, and one search finds every sigma^2.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chanc.errors import TrialError
from chanc.metrics.vb import Array, Spectra
from chanc.metrics.vb_brent import brent_noise_variance
from chanc.metrics.vb_global import lowest_noise_variance

Minimum = Literal["global", "brent"]

MINIMA: dict[Minimum, Callable[[Spectra], Array]] = {
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
    """Factorise matrices of any shapes in one search; the answers come in the same order.

    matrices: an iterable of [A, B], or one array or tensor [batch, A, B]; minimum: as for `evbmf`. No answer depends
    on the other matrices.
    Raises `TrialError` where an element is NaN or infinite and `ValueError` for what is no matrix.
    """
    items = list(matrices)
    for item in items:
        if item.ndim != 2 or 0 in item.shape:
            raise ValueError(f"EVBMF takes non-empty matrices, not an array of shape {tuple(item.shape)}")
    return solve(*spectrum(items), [item.shape for item in items], minimum) if items else []


def spectrum(matrices: Sequence[Any]) -> tuple[list[Array], Array]:
    """Singular values of each matrix, [L] descending, divided by its Frobenius norm, and these norms, [B].

    The Gram matrices are made where the matrices are; torch tensors on a GPU stay there for their eigenvalues too.
    """
    there = [index for index, item in enumerate(matrices) if getattr(item, "is_cuda", False)]
    here = sorted(set(range(len(matrices))) - set(there))
    values: list[Array] = [np.empty(0)] * len(matrices)
    norms = np.empty(len(matrices))
    for places, decompose in ((here, _eigenvalues), (there, _eigenvalues_torch)):
        if places:
            eigenvalues, norms[places] = decompose([matrices[place] for place in places])
            for place, own in zip(places, eigenvalues, strict=True):
                values[place] = own
    if not np.isfinite(norms).all():
        raise TrialError("the weights hold NaN or infinite values: the training diverged")
    return [np.sqrt(np.maximum(own[::-1], 0.0)) for own in values], norms


def _by_side(matrices: Sequence[Any]) -> list[list[int]]:
    """The indices of matrices, those with Gram matrices of one size together."""
    found: dict[int, list[int]] = defaultdict(list)
    for index, matrix in enumerate(matrices):
        found[min(matrix.shape)].append(index)
    return list(found.values())


def _eigenvalues(matrices: Sequence[Any]) -> tuple[list[Array], Array]:
    """Ascending eigenvalues of the Gram matrices over their traces, [L] each, and Frobenius norms, [B]."""
    values: list[Array] = [np.empty(0)] * len(matrices)
    norms = np.empty(len(matrices))
    for places in _by_side(matrices):
        grams, norms[places] = zip(*(_scaled_gram(_to_numpy(matrices[place])) for place in places), strict=True)
        for place, own in zip(places, np.linalg.eigvalsh(np.stack(grams)), strict=True):
            values[place] = own
    return values, norms


def _scaled_gram(matrix: Array) -> tuple[Array, float]:
    """The Gram matrix of the rows of [L, M] over its trace, [L, L], and the Frobenius norm.

    It is all zeros where the matrix is, or where an element is NaN or infinite; then the norm is as well.
    """
    gram, norm = _gram(matrix)
    if not 1e-100 < norm < 1e100:
        # Squares over- or underflow out here, or an element is not finite: divide by the largest element first.
        peak = float(np.abs(matrix).max())
        gram, norm = _gram(matrix / peak) if 0 < peak < np.inf else (gram, peak)
        norm *= peak if 0 < peak < np.inf else 1.0
    return gram / np.trace(gram) if 0 < norm < np.inf else np.zeros_like(gram), norm


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


def _eigenvalues_torch(matrices: Sequence[Any]) -> tuple[list[Array], Array]:
    """As `_eigenvalues`, on the device of the tensors; the numbers leave it in one piece."""
    torch: Any = sys.modules["torch"]
    norms, grams = zip(*(_scaled_gram_torch(matrix, torch) for matrix in matrices), strict=True)
    groups = _by_side(matrices)
    eigenvalues = [torch.linalg.eigvalsh(torch.stack([grams[place] for place in places])) for places in groups]
    numbers = torch.cat([torch.stack(norms), *(found.ravel() for found in eigenvalues)]).cpu().numpy()
    sides = [min(matrices[place].shape) for places in groups for place in places]
    parts = np.split(numbers[len(matrices) :], np.cumsum(sides)[:-1])
    values = dict(zip([place for places in groups for place in places], parts, strict=True))
    return [values[place] for place in range(len(matrices))], numbers[: len(matrices)]


def _scaled_gram_torch(item: Any, torch: Any) -> tuple[Any, Any]:
    """The Frobenius norm of a matrix, and its Gram matrix over the norm's square; nothing waits for the device."""
    matrix = item.detach().double()
    matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    norm = torch.linalg.matrix_norm(matrix)
    usable = torch.isfinite(norm) & (norm > 0)
    scaled = torch.where(usable, matrix / norm, 0.0)
    return norm, scaled @ scaled.T


def solve(
    values: Sequence[Array], norms: Array, shapes: Sequence[Sequence[int]], minimum: Minimum = "global"
) -> list[Evbmf]:
    """EVBMF of B matrices of these shapes from their singular values, [L] descending, over `norms`, [B]."""
    s = np.concatenate(values)
    small, large = np.sort(np.asarray(shapes, dtype=np.intp), axis=1).T
    spectra = Spectra(s**2 / np.repeat(large, small), small, large)
    variance = MINIMA[minimum](spectra)
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = spectra.over(variance) / s**2
        rest = 1 - spectra.over(small + large) * noise
        shrunken = s / 2 * (rest + np.sqrt(rest**2 - 4 * spectra.over(small * large) * noise**2))
    kept = s > spectra.over(np.sqrt(large * variance * spectra.xbar))
    parts = zip(np.split(kept, spectra.starts[1:]), np.split(shrunken, spectra.starts[1:]), strict=True)
    return [
        Evbmf(int(keep.sum()), float(v) * float(n) * float(n), d[keep] * n)
        for (keep, d), v, n in zip(parts, variance, norms, strict=True)
    ]
