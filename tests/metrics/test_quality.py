from __future__ import annotations

import math

import numpy as np
import pytest

from chanc.errors import TrialError
from chanc.metrics.evbmf import Evbmf, Minimum, evbmf
from chanc.metrics.quality import gains, knowledge_gain, layer_quality, layers_quality, mode_quality

GOLDEN = [
    ((10, 64, 32, 3, 8, 0.02, 0.03), (0.28125, 2.732142, 0.417537), (0.125, 2.266006, 0.220111)),
    ((11, 32, 64, 1, 6, 0.05, 0.05), (0.09375, 2.664977, 0.148946), (0.1875, 2.664552, 0.291588)),
    ((13, 64, 3, 3, 3, 0.2, 0.05), (2 / 3, 2.229058, 0.879766), (0.046875, 1.501334, 0.139464)),
    ((15, 48, 96, 1, 1, 0.1, 0.02), (1 / 96, 1.0, 1.561197), (1 / 48, 1.0, 1.565996)),
]
BRENT = [*GOLDEN[:2], (GOLDEN[2][0], (1 / 3, 1.0, 1.570496), GOLDEN[2][2]), GOLDEN[3]]
"""The published figures: Brent's search ends in another minimum in the third one's in mode."""


def weight(seed: int, outer: int, inner: int, kernel: int, rank: int, signal: float, noise: float) -> np.ndarray:
    g = np.random.default_rng(seed)
    left = g.standard_normal((outer, rank))
    right = g.standard_normal((rank, inner * kernel**2))
    rest = g.standard_normal((outer, inner * kernel**2))
    return (signal * left @ right + noise * rest).reshape(outer, inner, kernel, kernel)


@pytest.mark.parametrize(
    ("recipe", "into", "out", "minimum"),
    [(*golden, "global") for golden in GOLDEN] + [(*golden, "brent") for golden in BRENT],
)
@pytest.mark.parametrize("scale", [1.0, 0.03, 1e6])
def test_meets_the_published_values(recipe, into, out, minimum: Minimum, scale: float) -> None:
    """No rank here changes where the weights move by 1e-9. The public code stops within 1e-5 of its sigma^2, whatever
    the scale: its kappa is good to 5e-4, and its two kappa of a 1x1 kernel, which are the same number, differ by 2e-4.
    """
    found = layer_quality(scale * weight(*recipe), minimum)
    assert (found.in_rank, found.out_rank) == pytest.approx((into[0], out[0]), rel=1e-12)
    assert (found.in_kappa, found.out_kappa) == pytest.approx((into[1], out[1]), rel=5e-4)
    assert (found.in_qc, found.out_qc) == pytest.approx((into[2], out[2]), abs=1e-4)


def test_one_kept_value_is_flagged() -> None:
    stem, pointwise = (layer_quality(weight(*GOLDEN[i][0]), "brent") for i in (2, 3))
    assert (stem.in_degenerate, stem.out_degenerate) == (True, False)
    assert pointwise.in_degenerate
    assert pointwise.out_degenerate
    assert stem.in_qc == math.atan2(1 / 3, 1e-4)


def test_all_layers_of_a_model_at_once() -> None:
    layers = {f"layer{i}": weight(*recipe) for i, (recipe, _, _) in enumerate(GOLDEN)}
    layers["again"] = weight(*GOLDEN[0][0])
    layers["linear"] = weight(*GOLDEN[1][0])[:, :, 0, 0]
    found = layers_quality(layers)
    assert list(found) == list(layers)
    for name, array in layers.items():
        alone = layer_quality(array).as_dict()
        assert found[name].as_dict() == pytest.approx(alone, rel=1e-9)
    assert found["again"] == found["layer0"]


def test_modes_are_the_unfoldings() -> None:
    array = weight(21, 24, 10, 3, 4, 0.1, 0.05)
    found = layer_quality(array)
    into = evbmf(np.stack([array[:, i].ravel() for i in range(10)]))
    out = evbmf(np.stack([array[o].ravel() for o in range(24)]))
    assert found.in_rank == into.rank / 10
    assert found.out_rank == out.rank / 24
    assert found.in_kappa == pytest.approx(into.singular_values[0] / into.singular_values[-1], rel=1e-9)
    assert found.out_gain == pytest.approx((out.singular_values / out.singular_values[0]).sum() / 24, rel=1e-9)
    assert gains({"a": found}) == {"a": (found.in_gain, found.out_gain)}


def test_untrained_weights_have_no_quality() -> None:
    bound = (3 / (64 * 9)) ** 0.5
    found = layer_quality(np.random.default_rng(0).uniform(-bound, bound, (64, 64, 3, 3)))
    assert set(found.as_dict().values()) == {0.0}
    assert not found.in_degenerate
    assert set(layer_quality(np.zeros((4, 4, 3, 3))).as_dict().values()) == {0.0}


def test_gain_and_condition_of_given_values() -> None:
    factors = Evbmf(3, 0.1, np.array([4.0, 2.0, 1.0]))
    assert knowledge_gain(factors, 7) == pytest.approx(1.75 / 7)
    assert knowledge_gain(factors, 7, power=2) == pytest.approx((1 + 1 / 4 + 1 / 16) / 7)
    mode = mode_quality(factors, 6)
    assert (mode.rank, mode.kappa) == (0.5, 4.0)
    assert mode.qc == pytest.approx(math.atan(0.5 / 0.75))


def test_a_diverged_layer_is_named() -> None:
    good, bad = weight(*GOLDEN[0][0]), weight(*GOLDEN[0][0])
    bad[0, 0, 0, 0] = np.nan
    with pytest.raises(TrialError, match=r"^block\.conv2: .*NaN"):
        layers_quality({"block.conv1": good, "block.conv2": bad})


@pytest.mark.parametrize("shape", [(4,), (0, 3, 3, 3)])
def test_a_tensor_without_channels_is_refused(shape) -> None:
    with pytest.raises(ValueError, match="no output and input channels"):
        layer_quality(np.ones(shape))


def test_torch_weights_measure_like_arrays() -> None:
    torch = pytest.importorskip("torch")
    array = weight(*GOLDEN[0][0])
    tensor = torch.nn.Parameter(torch.tensor(array).to(memory_format=torch.channels_last))
    assert layer_quality(tensor).as_dict() == pytest.approx(layer_quality(array).as_dict(), rel=1e-9)
    if torch.cuda.is_available():
        assert layer_quality(tensor.cuda()).as_dict() == pytest.approx(layer_quality(array).as_dict(), rel=1e-7)
