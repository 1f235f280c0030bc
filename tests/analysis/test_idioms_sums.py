"""Sums over one factor of an activation's channels: partitions of a graph (ST-GCN), shared and grouped projections."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]
GRAPH = "float[N,3,5,4] x"


@pytest.mark.parametrize("equation", ["nkctv,kvw->nctw", "nkctv,kvw->ntcw", "nkctv,kwv->nwct"])
def test_partitions_of_a_graph_stay_and_columns_go(idiom: Idiom, equation: str) -> None:
    back = {"nctw": (0, 1, 2, 3), "ntcw": (0, 2, 1, 3), "nwct": (0, 2, 3, 1)}[equation.rpartition(">")[2]]
    idiom(
        f"""
        a = Conv(x, w1)
        r = Relu(a)
        b = Conv(r, w2)
        s = Reshape(b, sh)
        z = Einsum<equation="{equation}">(s, A)
        t = Transpose<perm={list(back)}>(z)
        q = Relu(t)
        y = Conv(q, w3)
        """,
        {
            "w1": (8, 3, 1, 1), "w2": (12, 8, 1, 1), "A": (2, 4, 4), "w3": (4, 6, 1, 1),
            "sh": np.array([0, 2, 6, 5, 4]),
        },
        {"w1": (8, 1), "w2": (12, 2)},
        inputs=GRAPH,
        pinned={"A:0": "multiplied with values that are not channels"},
    )  # fmt: skip


def test_the_weight_may_come_first(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        s = Reshape(a, sh)
        z = Einsum<equation="kvw,nkctv->nctw">(A, s)
        y = Conv(z, w2)
        """,
        {"w1": (12, 3, 1, 1), "A": (3, 4, 4), "w2": (4, 4, 1, 1), "sh": np.array([0, 3, 4, 5, 4])},
        {"w1": (12, 3)},
        inputs=GRAPH,
    )


def test_a_product_of_constants_is_one_weight(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        r = Relu(a)
        b = Conv(r, w2)
        s = Reshape(b, sh)
        k = Mul(k1, k2)
        z = Einsum<equation="nkcvw,kwu->ncvu">(s, k)
        y = Conv(z, w3)
        """,
        {
            "w1": (8, 3, 1, 1), "w2": (6, 8, 1, 1), "k1": (2, 4, 4), "k2": (2, 4, 4), "w3": (4, 3, 1, 1),
            "sh": np.array([0, 2, 3, 5, 4]),
        },
        {"w1": (8, 1), "w2": (6, 2)},
        inputs=GRAPH,
    )  # fmt: skip


def test_the_longer_factor_moves(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        s = Reshape(a, sh)
        z = Einsum<equation="nkctv,kvw->nctw">(s, A)
        y = Conv(z, w2)
        """,
        {"w1": (12, 3, 1, 1), "A": (6, 4, 4), "w2": (4, 2, 1, 1), "sh": np.array([0, 6, 2, 5, 4])},
        {"w1": (12, 2)},
        inputs=GRAPH,
    )


def test_a_projection_shared_by_all_heads(idiom: Idiom) -> None:
    idiom(
        """
        e = MatMul(x, we)
        s = Reshape(e, sh)
        z = Einsum<equation="nhd,dm->nhm">(s, w)
        f = Reshape(z, back)
        y = MatMul(f, wo)
        """,
        {"we": (6, 12), "w": (6, 3), "wo": (6, 5), "sh": np.array([0, 2, 6]), "back": np.array([0, 6])},
        {"we": (12, 2), "w": (3, 1)},
        inputs="float[N,6] x",
    )


def test_heads_and_their_columns_are_summed_by_one_weight(idiom: Idiom) -> None:
    idiom(
        """
        e = MatMul(x, we)
        s = Reshape(e, sh)
        z = Einsum<equation="nhd,hdm->nm">(s, w)
        y = MatMul(z, wo)
        """,
        {"we": (6, 12), "w": (3, 4, 8), "wo": (8, 5), "sh": np.array([0, 3, 4])},
        {"we": (12, 4), "w": (8, 1)},
        inputs="float[N,6] x",
    )
