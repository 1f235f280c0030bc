from __future__ import annotations

import numpy as np
import pytest

from chanc.errors import TrialError
from chanc.metrics.evbmf import MINIMA, _eigenvalues, _eigenvalues_torch, evbmf, evbmf_batch, spectrum


def recipe(seed: int) -> np.ndarray:
    g = np.random.default_rng(seed)
    n = lambda *shape: g.standard_normal(shape)  # noqa: E731
    if seed == 0:
        return n(20, 3) @ n(3, 50) + 0.1 * n(20, 50)
    if seed == 1:
        return 0.05 * n(64, 576)
    if seed == 2:
        return 0.02 * n(64, 10) @ n(10, 576) + 0.05 * n(64, 576)
    if seed == 3:
        return 0.1 * n(32, 8) @ n(8, 32) + 0.05 * n(32, 32)
    n(64, 27)
    return 0.3 * n(64, 5) @ n(5, 27) + 0.1 * n(64, 27)


GOLDEN = [
    (0, 3, 9.81164e-3, (40.433082, 18.797662)),
    (1, 0, 2.46194e-3, None),
    (2, 10, 2.50861e-3, (4.532788, 2.640498)),
    (3, 8, 2.59740e-3, (4.625275, 1.257847)),
    (4, 5, 1.057229e-2, (13.658400, 8.864738)),
]


@pytest.mark.parametrize(("seed", "rank", "sigma2", "ends"), GOLDEN)
@pytest.mark.parametrize("minimum", MINIMA)
@pytest.mark.parametrize("transpose", [False, True])
def test_meets_the_published_values(seed, rank, sigma2, ends, minimum, transpose) -> None:
    matrix = recipe(seed).T if transpose else recipe(seed)
    found = evbmf(matrix, minimum)
    assert found.rank == rank == len(found.singular_values)
    assert found.sigma2 == pytest.approx(sigma2, rel=3e-5)
    if ends:
        assert found.singular_values[[0, -1]] == pytest.approx(ends, rel=1e-4)
    assert (np.diff(found.singular_values) <= 0).all()


def test_middle_value_of_the_first_recipe() -> None:
    assert evbmf(recipe(0)).singular_values[1] == pytest.approx(23.408468, rel=1e-6)


@pytest.mark.parametrize("scale", [0.03, -1.0, 1e-30, 1e-140, 1e140])
@pytest.mark.parametrize("seed", [0, 2, 3, 4])
def test_the_scale_of_a_matrix_changes_nothing_but_the_units(seed: int, scale: float) -> None:
    plain, scaled = evbmf(recipe(seed)), evbmf(recipe(seed) * scale)
    assert scaled.rank == plain.rank
    assert scaled.singular_values / abs(scale) == pytest.approx(plain.singular_values, rel=1e-12)
    assert scaled.sigma2 / scale / scale == pytest.approx(plain.sigma2, rel=1e-12)


def test_rank_of_many_matrices_is_free_of_scale() -> None:
    """Only at the global minimum: Brent's search takes another one where scaling moves a last bit."""
    g = np.random.default_rng(5)
    for rows, columns in ((9, 40), (24, 24), (64, 27)):
        batch = [
            g.standard_normal((rows, 6)) @ g.standard_normal((6, columns)) * g.uniform(0.05, 0.5)
            + g.standard_normal((rows, columns))
            for _ in range(40)
        ]
        plain = evbmf_batch(batch)
        small = evbmf_batch([0.03 * matrix for matrix in batch])
        assert [a.rank for a in plain] == [a.rank for a in small]
        assert len({a.rank for a in plain}) > 1


@pytest.mark.parametrize(("rows", "columns"), [(64, 576), (256, 300), (1, 40), (96, 27)])
def test_gram_eigenvalues_are_the_singular_values(rows: int, columns: int) -> None:
    g = np.random.default_rng(rows)
    matrix = g.standard_normal((rows, columns)) + 0.3 * g.standard_normal((rows, 4)) @ g.standard_normal((4, columns))
    values, norms = spectrum([matrix])
    exact = np.linalg.svd(matrix, compute_uv=False)
    assert np.abs(values[0] * norms[0] - exact).max() <= 6e-15 * exact[0]


@pytest.mark.parametrize("minimum", MINIMA)
def test_matrices_of_all_shapes_at_once_are_those_alone_bit_by_bit(minimum) -> None:
    g = np.random.default_rng(3)
    shapes = [(16, 90), (16, 90), (90, 16), (16, 40), (27, 3), (8, 8), (1, 9), (5, 1), (40, 41)]
    batch = [
        g.standard_normal((a, 2)) @ g.standard_normal((2, b)) + g.choice([0, 0.3, 3]) * g.standard_normal((a, b))
        for a, b in shapes
    ]
    batch.insert(4, np.zeros((16, 90)))
    together = evbmf_batch(batch, minimum)
    assert {one.rank for one in together} > {0, 2}
    for alone, found in zip((evbmf(matrix, minimum) for matrix in batch), together, strict=True):
        assert (alone.rank, alone.sigma2) == (found.rank, found.sigma2)
        assert (alone.singular_values == found.singular_values).all()


def test_noise_free_matrices_keep_their_rank() -> None:
    g = np.random.default_rng(8)
    found = evbmf(g.standard_normal((40, 5)) @ g.standard_normal((5, 100)))
    assert found.rank == 5
    assert found.sigma2 < 1e-12, "what is left is the rounding of the Gram matrix, 40 eps s_1^2 / 100 at the most"


def test_zeros_one_row_and_empty_batches() -> None:
    assert evbmf(np.zeros((4, 9))).rank == 0
    assert evbmf(np.zeros((4, 9))).sigma2 == 0.0
    row = np.random.default_rng(0).standard_normal((1, 50))
    assert evbmf(row).rank == evbmf(row.T).rank == 0
    assert evbmf(row).sigma2 == pytest.approx((row**2).mean(), rel=1e-12)
    assert evbmf(np.full((1, 1), 2.0)).rank == 0
    assert evbmf_batch([]) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_diverged_weight_is_refused(bad: float) -> None:
    matrix = recipe(3)
    matrix[3, 4] = bad
    with pytest.raises(TrialError, match="NaN or infinite"):
        evbmf(matrix)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 4)])
def test_what_is_no_matrix_is_refused(shape) -> None:
    with pytest.raises(ValueError, match="non-empty matrices, not an array of shape"):
        evbmf_batch([np.ones((3, 4)), np.ones(shape)])


@pytest.mark.filterwarnings("error")
def test_numpy_stays_silent() -> None:
    for matrix in (np.zeros((3, 5)), recipe(0), recipe(0) * 1e200, recipe(0) * 1e-200, np.eye(4), np.ones((3, 3))):
        for minimum in MINIMA:
            evbmf(matrix, minimum)


def test_torch_tensors_of_any_float_type() -> None:
    torch = pytest.importorskip("torch")
    matrix = recipe(2)
    double = evbmf(torch.tensor(matrix, requires_grad=True))
    assert double.singular_values == pytest.approx(evbmf(matrix).singular_values, rel=1e-12)
    assert evbmf(torch.tensor(matrix, dtype=torch.float32)).rank == 10
    assert evbmf(torch.tensor(matrix, dtype=torch.bfloat16)).rank == 10
    assert evbmf(matrix.astype(np.float16)).rank == 10


def test_the_device_path_gives_the_same_spectra_and_reads_them_once(monkeypatch) -> None:
    torch = pytest.importorskip("torch")
    matrices = [recipe(2), recipe(4), 1e-6 * recipe(2), np.zeros((64, 576)), recipe(4).T, recipe(1)]
    matrices[5][0, 0] = np.nan
    reads, cpu = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: reads.append(tensor.shape) or cpu(tensor))
    eigenvalues, norms = _eigenvalues_torch([torch.tensor(matrix) for matrix in matrices])
    assert reads == [(6 + 4 * 64 + 2 * 27,)]
    assert norms[:5] == pytest.approx([np.linalg.norm(matrix) for matrix in matrices[:5]], rel=1e-13)
    assert np.isnan(norms[5])
    expected, _ = _eigenvalues(matrices[:5])
    for found, wanted in zip(eigenvalues[:5], expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-15)


def test_cuda_tensors_are_factorised_where_they_are() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    for seed, rank, sigma2, _ in GOLDEN:
        found = evbmf(torch.tensor(recipe(seed), device="cuda"))
        assert found.rank == rank
        assert found.sigma2 == pytest.approx(sigma2, rel=3e-5)
    with pytest.raises(TrialError):
        evbmf(torch.full((3, 4), float("nan"), device="cuda"))
    assert evbmf(torch.zeros((3, 4), device="cuda")).rank == 0
