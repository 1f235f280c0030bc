"""Which axis holds the samples: the first, but for sequences that a recurrent layer reads step first."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from chanc.analysis import analyze
from chanc.analysis.infer_shapes import infer_shapes
from chanc.cost.cost import cost
from chanc.ir import load
from chanc.testing.builders import build

STEPS, WIDTH, HIDDEN = 7, 6, 5
WEIGHTS = {
    "LSTM": {"w": (1, 4 * HIDDEN, WIDTH), "r": (1, 4 * HIDDEN, HIDDEN)},
    "GRU": {"w": (1, 3 * HIDDEN, WIDTH), "r": (1, 3 * HIDDEN, HIDDEN)},
    "RNN": {"w": (1, HIDDEN, WIDTH), "r": (1, HIDDEN, HIDDEN)},
}
MATRICES = {kind: HIDDEN * (WIDTH + HIDDEN) * gates for kind, gates in {"LSTM": 4, "GRU": 3, "RNN": 1}.items()}
FIRST = "y, h = {kind}<hidden_size=5>(x, w, r)"
ROADS = {
    "itself": ("float[{T},{N},6] x", FIRST),
    "a layer before": ("float[{T},{N},6] x", f"l = MatMul(x, v)\nt = Relu(l)\n{FIRST.replace('(x', '(t')}"),
    "turned twice": (
        "float[{N},{T},6] x",
        f"t = Transpose<perm=[1, 0, 2]>(x)\n{FIRST.replace('(x', '(t')}",
    ),
    "looked up": ("int64[{T},{N}] x", f"t = Gather(table, x)\n{FIRST.replace('(x', '(t')}"),
    "a first state before": (
        "float[1,{N},5] h0, float[{T},{N},6] x",
        "y, h = {kind}<hidden_size=5>(x, w, r, , , h0)",
    ),
}
"""How a sequence gets to its layer: {T} and {N} stand for the steps and the samples."""


def macs(road: str, kind: str, steps: object, samples: object, **dims: int) -> tuple[int, int, tuple[str, ...]]:
    """As the analysis counts, as declared sizes count, and what was not counted."""
    inputs, body = ROADS[road]
    weights = {**WEIGHTS[kind], "v": (6, 6), "table": (9, 6)}
    used = {name: weight for name, weight in weights.items() if f"{name}," in body or f"{name})" in body}
    model = build(inputs.format(T=steps, N=samples), "float y", body.format(kind=kind), used)
    found = analyze(model, dims=dims)
    sized = load(model, dims=dims)
    infer_shapes(sized)
    return found.macs, int(cost(sized).macs), found.cost.uncounted


@pytest.mark.parametrize("samples", ["N", 1, 3])
@pytest.mark.parametrize(("road", "kind"), list(itertools.product(ROADS, WEIGHTS)))
def test_a_sample_is_a_whole_sequence(road: str, kind: str, samples: object) -> None:
    each = MATRICES[kind] + (WIDTH * WIDTH if road == "a layer before" else 0)
    assert macs(road, kind, STEPS, samples) == (STEPS * each, STEPS * each, ())


@pytest.mark.parametrize("road", ROADS)
def test_an_open_length_is_not_the_batch(road: str) -> None:
    at_one, declared, uncounted = macs(road, "LSTM", "T", "N")
    assert at_one == declared == 0
    assert "y" in uncounted
    each = MATRICES["LSTM"] + (WIDTH * WIDTH if road == "a layer before" else 0)
    assert macs(road, "LSTM", "T", "N", T=STEPS) == (STEPS * each, STEPS * each, ())


def test_batch_first_layers_and_others_are_as_before() -> None:
    body = "y, h = LSTM<hidden_size=5, layout=1>(x, w, r)"
    assert analyze(build("float[N,7,6] x", "float y", body, WEIGHTS["LSTM"])).macs == STEPS * MATRICES["LSTM"]
    plain = build("float[3,2,4,4] x", "float y", "y = Conv(x, w)", {"w": (5, 2, 1, 1)})
    assert analyze(plain).macs == 5 * 2 * 16
    mixed = build("float[N,3] z, float[7,N,6] x", "float u", "y, h = LSTM<hidden_size=5>(x, w, r)\nu = MatMul(z, v)",
                  {**WEIGHTS["LSTM"], "v": np.ones((3, 2), np.float32)})  # fmt: skip
    assert analyze(mixed).macs == STEPS * MATRICES["LSTM"] + 6
