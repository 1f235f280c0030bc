"""Weights of a main graph that bodies of control flow carry from turn to turn, take one by one, or choose between."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]

CARRIED = """
    hN, RN = Loop(m, on, h0, R) <body = turn (int64 i, bool go, float[2,6] h, float[6,6] K)
        => (bool still, float[2,6] g, float[6,6] L) {
        still = Identity(go)
        t = Gather<axis=0>(x, i)
        a = MatMul(h, K)
        b = MatMul(t, W)
        s = Add(a, b)
        g = Tanh(s)
        L = %s
    }>
    y = MatMul(%s)
    """


def carrying(change: str, last: str = "hN, D") -> dict[str, object]:
    weights: dict[str, object] = {
        "m": np.array(5), "on": np.array(True), "h0": np.zeros((2, 6), np.float32), "R": (6, 6), "W": (4, 6),
        "c": np.full((6, 1), 0.9, np.float32), "D": (6, 3),
    }  # fmt: skip
    return {"body": CARRIED % (change, last), "weights": weights, "groups": {"R": (6, 1)}, "inputs": "float[5,2,4] x"}


def test_a_kernel_that_a_loop_carries(idiom: Idiom) -> None:
    """It is a weight as any other, and counted as one."""
    found = idiom(**carrying("Identity(K)"), outputs="float[2,3] y")
    assert {(o.initializer, o.axis): o.role for o in found.group("R").operands} == {
        ("h0", 1): "follower", ("R", 0): "consumer", ("R", 1): "producer", ("W", 1): "producer", ("D", 0): "consumer",
    }  # fmt: skip
    assert found.params == 36 + 24 + 18


@pytest.mark.parametrize("change", ["Tanh(K)", "Mul(K, c)", "Transpose(K)"])
def test_a_kernel_that_each_turn_changes(idiom: Idiom, change: str) -> None:
    found = idiom(**carrying(change) | {"groups": {"W": (6, 1)}}, outputs="float[2,3] y", unscalable={"W"})
    assert found.group("W").unscaled == "it is summed over in a product of two values that the model computes (a)"


def test_a_kernel_that_a_loop_hands_out(idiom: Idiom) -> None:
    """Behind the loop the carried weight is a weight again."""
    wanted = carrying("Identity(K)", "hR, D")
    wanted["body"] = wanted["body"].replace("y = MatMul", "hR = MatMul(hN, RN)\n y = MatMul")
    idiom(**wanted, outputs="float[2,3] y")


@pytest.mark.parametrize("change", ["Identity(K)", "Tanh(K)"])
def test_a_convolution_whose_kernel_is_carried(idiom: Idiom, change: str) -> None:
    found = idiom(
        f"""
        a = Conv(x, w1)
        r, k = Loop(m, on, a, w2) <body = turn (int64 i, bool go, float[N,8,8,8] h, float[8,8,1,1] K)
            => (bool still, float[N,8,8,8] n, float[8,8,1,1] L) {{
            still = Identity(go)
            c = Conv(h, K)
            n = Relu(c)
            L = {change}
        }}>
        y = Conv(r, w4)
        """,
        {"m": np.array(3), "on": np.array(True), "w1": (8, 3, 1, 1), "w2": (8, 8, 1, 1), "w4": (5, 8, 1, 1)},
        {"w1": (8, 1)},
        outputs="float[N,5,8,8] y",
        unscalable=set() if change == "Identity(K)" else {"w1"},
    )
    assert found.group("w1").unscaled in ("", "each turn of Loop 'r' changes 'K'")


def test_layers_that_a_scan_takes_one_by_one(idiom: Idiom) -> None:
    """Weights stacked along an axis that a Scan goes along, as JAX writes repeated layers."""
    idiom(
        """
        a = MatMul(x, w1)
        r = Scan(a, stack) <num_scan_inputs=1, body = turn (float[N,6] h, float[6,6] K) => (float[N,6] n) {
            c = MatMul(h, K)
            n = Relu(c)
        }>
        y = MatMul(r, w4)
        """,
        {"w1": (3, 6), "stack": (4, 6, 6), "w4": (6, 5)},
        {"w1": (6, 1)},
        inputs="float[N,3] x",
        outputs="float[N,5] y",
    )


@pytest.mark.parametrize("taken", [True, False])
def test_weights_that_a_branch_chooses(idiom: Idiom, taken: bool) -> None:
    """What takes either is divided in both."""
    idiom(
        """
        a = Conv(x, w1)
        k = If(c) <
            then_branch = yes () => (float[6,8,1,1] p) { p = Identity(w2) },
            else_branch = no () => (float[6,8,1,1] q) { q = Neg(w3) }>
        b = Conv(a, k)
        y = Conv(b, w4)
        """,
        {"c": np.array(taken), "w1": (8, 3, 1, 1), "w2": (6, 8, 1, 1), "w3": (6, 8, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (8, 1), "w2": (6, 1)},
        outputs="float[N,5,8,8] y",
    )
