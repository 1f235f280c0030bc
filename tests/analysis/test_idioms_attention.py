"""Attention as MatMul, Einsum and the Attention operator: whole heads go, or columns of a single head."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chanc.analysis import Analysis

Idiom = Callable[..., Analysis]


def test_heads_by_reshape(idiom: Idiom) -> None:
    idiom(
        """
        e = MatMul(x, we)
        q = MatMul(e, wq)
        qb = Add(q, bq)
        k = MatMul(e, wk)
        v = MatMul(e, wv)
        q4 = Reshape(qb, sh)
        k4 = Reshape(k, sh)
        v4 = Reshape(v, sh)
        qt = Transpose<perm=[0, 2, 1, 3]>(q4)
        kt = Transpose<perm=[0, 2, 3, 1]>(k4)
        vt = Transpose<perm=[0, 2, 1, 3]>(v4)
        qs = Mul(qt, sc)
        a = MatMul(qs, kt)
        p = Softmax<axis=-1>(a)
        o = MatMul(p, vt)
        ot = Transpose<perm=[0, 2, 1, 3]>(o)
        om = Reshape(ot, s3)
        pr = MatMul(om, wo)
        pb = Add(pr, bo)
        res = Add(e, pb)
        y = MatMul(res, w4)
        """,
        {
            "we": (6, 12), "wq": (12, 12), "bq": (12,), "wk": (12, 12), "wv": (12, 12), "wo": (12, 12), "bo": (12,),
            "w4": (12, 5), "sh": np.array([0, 0, 3, 4]), "s3": np.array([0, 0, -1]), "sc": np.float32(0.5),
        },
        {"we": (12, 1), "wq": (12, 4)},
        inputs="float[N,10,6] x",
    )


def test_heads_by_explicit_sizes(idiom: Idiom) -> None:
    idiom(
        """
        e = MatMul(x, we)
        q = MatMul(e, wq)
        qb = Add(q, bq)
        k = MatMul(e, wk)
        v = MatMul(e, wv)
        q4 = Reshape(qb, sh)
        k4 = Reshape(k, sh)
        v4 = Reshape(v, sh)
        qt = Transpose<perm=[0, 2, 1, 3]>(q4)
        kt = Transpose<perm=[0, 2, 3, 1]>(k4)
        vt = Transpose<perm=[0, 2, 1, 3]>(v4)
        qs = Mul(qt, sc)
        a = MatMul(qs, kt)
        p = Softmax<axis=-1>(a)
        o = MatMul(p, vt)
        ot = Transpose<perm=[0, 2, 1, 3]>(o)
        om = Reshape(ot, s3)
        pr = MatMul(om, wo)
        pb = Add(pr, bo)
        res = Add(e, pb)
        y = MatMul(res, w4)
        """,
        {
            "we": (6, 12), "wq": (12, 12), "bq": (12,), "wk": (12, 12), "wv": (12, 12), "wo": (12, 12), "bo": (12,),
            "w4": (12, 5), "sh": np.array([-1, 10, 3, 4]), "s3": np.array([-1, 10, 12]), "sc": np.float32(0.5),
        },
        {"we": (12, 1), "wq": (12, 4)},
        inputs="float[N,10,6] x",
    )


def test_any_number_of_positions(idiom: Idiom) -> None:
    idiom(
        """
        e = MatMul(x, we)
        q = MatMul(e, wq)
        qb = Add(q, bq)
        k = MatMul(e, wk)
        v = MatMul(e, wv)
        q4 = Reshape(qb, sh)
        k4 = Reshape(k, sh)
        v4 = Reshape(v, sh)
        qt = Transpose<perm=[0, 2, 1, 3]>(q4)
        kt = Transpose<perm=[0, 2, 3, 1]>(k4)
        vt = Transpose<perm=[0, 2, 1, 3]>(v4)
        qs = Mul(qt, sc)
        a = MatMul(qs, kt)
        p = Softmax<axis=-1>(a)
        o = MatMul(p, vt)
        ot = Transpose<perm=[0, 2, 1, 3]>(o)
        om = Reshape(ot, s3)
        pr = MatMul(om, wo)
        pb = Add(pr, bo)
        res = Add(e, pb)
        y = MatMul(res, w4)
        """,
        {
            "we": (6, 12), "wq": (12, 12), "bq": (12,), "wk": (12, 12), "wv": (12, 12), "wo": (12, 12), "bo": (12,),
            "w4": (12, 5), "sh": np.array([0, 0, 3, 4]), "s3": np.array([0, 0, -1]), "sc": np.float32(0.5),
        },
        {"we": (12, 1), "wq": (12, 4)},
        inputs="float[N,L,6] x",
    )


def test_single_head(idiom: Idiom) -> None:
    idiom(
        """
        e = MatMul(x, we)
        q = MatMul(e, wq)
        k = MatMul(e, wk)
        v = MatMul(e, wv)
        kt = Transpose<perm=[0, 2, 1]>(k)
        qs = Mul(q, sc)
        a = MatMul(qs, kt)
        p = Softmax<axis=-1>(a)
        o = MatMul(p, v)
        pr = MatMul(o, wo)
        res = Add(e, pr)
        y = MatMul(res, w4)
        """,
        {
            "we": (6, 12), "wq": (12, 12), "wk": (12, 12), "wv": (12, 12), "wo": (12, 12), "w4": (12, 5),
            "sc": np.float32(0.5),
        },
        {"we": (12, 1), "wq": (12, 1), "wv": (12, 1)},
        inputs="float[N,10,6] x",
        unscalable={"wq"},
    )


def test_fused_qkv_by_gather(idiom: Idiom) -> None:
    idiom(
        """
        e = MatMul(x, we)
        q = MatMul(e, wqkv)
        qb = Add(q, bqkv)
        r = Reshape(qb, s5)
        t = Transpose<perm=[2, 0, 3, 1, 4]>(r)
        qq = Gather<axis=0>(t, i0)
        k = Gather<axis=0>(t, i1)
        v = Gather<axis=0>(t, i2)
        kt = Transpose<perm=[0, 1, 3, 2]>(k)
        qs = Mul(qq, sc)
        a = MatMul(qs, kt)
        p = Softmax<axis=-1>(a)
        o = MatMul(p, v)
        ot = Transpose<perm=[0, 2, 1, 3]>(o)
        om = Reshape(ot, s3)
        pr = MatMul(om, wo)
        pb = Add(pr, bo)
        res = Add(e, pb)
        y = MatMul(res, w4)
        """,
        {
            "we": (6, 12), "wo": (12, 12), "bo": (12,), "w4": (12, 5), "s3": np.array([0, 0, -1]),
            "sc": np.float32(0.5), "wqkv": (12, 36), "bqkv": (36,), "s5": np.array([0, 0, 3, 3, 4]),
            "i0": np.array(0), "i1": np.array(1), "i2": np.array(2),
        },
        {"we": (12, 1), "wqkv": (36, 12)},
        inputs="float[N,10,6] x",
    )


def test_fused_qkv_by_split_and_squeeze(idiom: Idiom) -> None:
    idiom(
        """
        e = MatMul(x, we)
        q = MatMul(e, wqkv)
        qb = Add(q, bqkv)
        r = Reshape(qb, s5)
        t = Transpose<perm=[2, 0, 3, 1, 4]>(r)
        q1, k1, v1 = Split<axis=0>(t)
        qq = Squeeze(q1, z)
        k = Squeeze(k1, z)
        v = Squeeze(v1, z)
        kt = Transpose<perm=[0, 1, 3, 2]>(k)
        qs = Mul(qq, sc)
        a = MatMul(qs, kt)
        p = Softmax<axis=-1>(a)
        o = MatMul(p, v)
        ot = Transpose<perm=[0, 2, 1, 3]>(o)
        om = Reshape(ot, s3)
        pr = MatMul(om, wo)
        pb = Add(pr, bo)
        res = Add(e, pb)
        y = MatMul(res, w4)
        """,
        {
            "we": (6, 12), "wo": (12, 12), "bo": (12,), "w4": (12, 5), "s3": np.array([0, 0, -1]),
            "sc": np.float32(0.5), "wqkv": (12, 36), "bqkv": (36,), "s5": np.array([0, 0, 3, 3, 4]),
            "z": np.array([0]),
        },
        {"we": (12, 1), "wqkv": (36, 12)},
        inputs="float[N,10,6] x",
    )


def test_fused_qkv_split_along_channels(idiom: Idiom) -> None:
    idiom(
        """
        e = MatMul(x, we)
        q = MatMul(e, wqkv)
        qb = Add(q, bqkv)
        q1, k1, v1 = Split<axis=-1>(qb)
        q4 = Reshape(q1, sh)
        k4 = Reshape(k1, sh)
        v4 = Reshape(v1, sh)
        qt = Transpose<perm=[0, 2, 1, 3]>(q4)
        kt = Transpose<perm=[0, 2, 3, 1]>(k4)
        vt = Transpose<perm=[0, 2, 1, 3]>(v4)
        qs = Mul(qt, sc)
        a = MatMul(qs, kt)
        p = Softmax<axis=-1>(a)
        o = MatMul(p, vt)
        ot = Transpose<perm=[0, 2, 1, 3]>(o)
        om = Reshape(ot, s3)
        pr = MatMul(om, wo)
        pb = Add(pr, bo)
        res = Add(e, pb)
        y = MatMul(res, w4)
        """,
        {
            "we": (6, 12), "wo": (12, 12), "bo": (12,), "w4": (12, 5), "s3": np.array([0, 0, -1]),
            "sc": np.float32(0.5), "wqkv": (12, 36), "bqkv": (36,), "sh": np.array([0, 0, 3, 4]),
        },
        {"we": (12, 1), "wqkv": (36, 12)},
        inputs="float[N,10,6] x",
    )


def test_qkv_within_each_head(idiom: Idiom) -> None:
    idiom(
        """
        e = MatMul(x, we)
        q = MatMul(e, wqkv)
        r = Reshape(q, s5)
        t = Transpose<perm=[0, 2, 1, 3]>(r)
        qq, k, v = Split<axis=-1>(t)
        kt = Transpose<perm=[0, 1, 3, 2]>(k)
        qs = Mul(qq, sc)
        a = MatMul(qs, kt)
        p = Softmax<axis=-1>(a)
        o = MatMul(p, v)
        ot = Transpose<perm=[0, 2, 1, 3]>(o)
        om = Reshape(ot, s3)
        pr = MatMul(om, wo)
        pb = Add(pr, bo)
        res = Add(e, pb)
        y = MatMul(res, w4)
        """,
        {
            "we": (6, 12), "wo": (12, 12), "bo": (12,), "w4": (12, 5), "s3": np.array([0, 0, -1]),
            "sc": np.float32(0.5), "wqkv": (12, 36), "s5": np.array([0, 0, 3, 12]),
        },
        {"we": (12, 1), "wqkv": (36, 12)},
        inputs="float[N,10,6] x",
    )


def test_linear_attention(idiom: Idiom) -> None:
    idiom(
        """
        c = Conv(x, w1)
        qkv = Conv(c, w2)
        q, k, v = Split<axis=1>(qkv)
        q3 = Reshape(q, s)
        k3 = Reshape(k, s)
        v3 = Reshape(v, s)
        ks = Softmax<axis=3>(k3)
        vt = Transpose<perm=[0, 1, 3, 2]>(v3)
        kv = MatMul(ks, vt)
        kt = Transpose<perm=[0, 1, 3, 2]>(kv)
        o = MatMul(kt, q3)
        o4 = Reshape(o, s4)
        y = Conv(o4, w4)
        """,
        {
            "w1": (6, 3, 1, 1), "w2": (48, 6, 1, 1), "s": np.array([0, 4, 4, 64]), "s4": np.array([0, 16, 8, 8]),
            "w4": (5, 16, 1, 1),
        },
        {"w1": (6, 1), "w2": (48, 12)},
    )


def test_operator(idiom: Idiom) -> None:
    idiom(
        """
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        a = Attention<q_num_heads=4, kv_num_heads=4>(q, k, v)
        y = MatMul(a, wo)
        """,
        {"wq": (6, 16), "wk": (6, 16), "wv": (6, 16), "wo": (16, 5)},
        {"wq": (16, 4)},
        inputs="float[N,10,6] x",
        opset=23,
    )


def test_operator_with_a_bias_a_head(idiom: Idiom) -> None:
    idiom(
        """
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        a = Attention<q_num_heads=4, kv_num_heads=4, is_causal=1>(q, k, v, m)
        y = MatMul(a, wo)
        """,
        {"wq": (6, 16), "wk": (6, 16), "wv": (6, 16), "wo": (16, 5), "m": (4, 10, 10)},
        {"wq": (16, 4)},
        inputs="float[N,10,6] x",
        opset=23,
    )


def test_operator_with_one_mask(idiom: Idiom) -> None:
    idiom(
        """
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        a = Attention<q_num_heads=4, kv_num_heads=4>(q, k, v, m)
        y = MatMul(a, wo)
        """,
        {"wq": (6, 16), "wk": (6, 16), "wv": (6, 16), "wo": (16, 5), "m": (10, 10)},
        {"wq": (16, 4)},
        inputs="float[N,10,6] x",
        opset=23,
    )


def test_operator_on_four_axes(idiom: Idiom) -> None:
    idiom(
        """
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        qr = Reshape(q, s4)
        qt = Transpose<perm=[0, 2, 1, 3]>(qr)
        kr = Reshape(k, s4)
        kt = Transpose<perm=[0, 2, 1, 3]>(kr)
        vr = Reshape(v, s4)
        vt = Transpose<perm=[0, 2, 1, 3]>(vr)
        a = Attention(qt, kt, vt)
        at = Transpose<perm=[0, 2, 1, 3]>(a)
        ar = Reshape(at, s3)
        y = MatMul(ar, wo)
        """,
        {
            "wq": (6, 16), "wk": (6, 16), "wv": (6, 16), "wo": (16, 5), "s4": np.array([0, 0, 4, 4]),
            "s3": np.array([0, 0, 16]),
        },
        {"wq": (16, 4)},
        inputs="float[N,10,6] x",
        opset=23,
    )


def test_grouped_queries(idiom: Idiom) -> None:
    idiom(
        """
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        a = Attention<q_num_heads=8, kv_num_heads=4>(q, k, v)
        y = MatMul(a, wo)
        """,
        {"wq": (6, 32), "wk": (6, 16), "wv": (6, 16), "wo": (32, 5)},
        {"wq": (32, 8)},
        inputs="float[N,10,6] x",
        opset=23,
    )


def test_grouped_queries_with_a_bias_a_head(idiom: Idiom) -> None:
    idiom(
        """
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        a = Attention<q_num_heads=8, kv_num_heads=4>(q, k, v, m)
        y = MatMul(a, wo)
        """,
        {"wq": (6, 32), "wk": (6, 16), "wv": (6, 16), "wo": (32, 5), "m": (1, 8, 10, 10)},
        {"wq": (32, 8)},
        inputs="float[N,10,6] x",
        opset=23,
    )


def test_one_key_head(idiom: Idiom) -> None:
    idiom(
        """
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        a = Attention<q_num_heads=4, kv_num_heads=1>(q, k, v)
        y = MatMul(a, wo)
        """,
        {"wq": (6, 16), "wk": (6, 4), "wv": (6, 4), "wo": (16, 5)},
        {"wq": (16, 4), "wv": (4, 1)},
        inputs="float[N,10,6] x",
        opset=23,
        unscalable={"wq"},
    )


def test_operator_with_a_single_head(idiom: Idiom) -> None:
    idiom(
        """
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        a = Attention<q_num_heads=1, kv_num_heads=1>(q, k, v)
        y = MatMul(a, wo)
        """,
        {"wq": (6, 8), "wk": (6, 8), "wv": (6, 6), "wo": (6, 5)},
        {"wq": (8, 1), "wv": (6, 1)},
        inputs="float[N,10,6] x",
        opset=23,
        unscalable={"wq"},
    )


def test_operator_with_a_scale_of_its_own(idiom: Idiom) -> None:
    idiom(
        """
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        a = Attention<q_num_heads=1, kv_num_heads=1, scale=0.3>(q, k, v)
        y = MatMul(a, wo)
        """,
        {"wq": (6, 8), "wk": (6, 8), "wv": (6, 6), "wo": (6, 5)},
        {"wq": (8, 1), "wv": (6, 1)},
        inputs="float[N,10,6] x",
        opset=23,
        unscalable={"wq"},
    )


def test_operator_with_a_single_head_on_four_axes(idiom: Idiom) -> None:
    idiom(
        """
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        qr = Reshape(q, s4)
        qt = Transpose<perm=[0, 2, 1, 3]>(qr)
        kr = Reshape(k, s4)
        kt = Transpose<perm=[0, 2, 1, 3]>(kr)
        vr = Reshape(v, s4)
        vt = Transpose<perm=[0, 2, 1, 3]>(vr)
        a = Attention(qt, kt, vt)
        at = Transpose<perm=[0, 2, 1, 3]>(a)
        ar = Reshape(at, s3)
        y = MatMul(ar, wo)
        """,
        {
            "wq": (6, 8), "wk": (6, 8), "wv": (6, 8), "wo": (8, 5), "s4": np.array([0, 0, 1, 8]),
            "s3": np.array([0, 0, 8]),
        },
        {"wq": (8, 1), "wv": (8, 1)},
        inputs="float[N,10,6] x",
        opset=23,
        unscalable={"wq"},
    )


def test_operator_with_two_heads(idiom: Idiom) -> None:
    idiom(
        """
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        a = Attention<q_num_heads=2, kv_num_heads=2>(q, k, v)
        y = MatMul(a, wo)
        """,
        {"wq": (6, 8), "wk": (6, 8), "wv": (6, 8), "wo": (8, 5)},
        {"wq": (8, 4)},
        inputs="float[N,10,6] x",
        opset=23,
    )


def test_rotary_embedding(idiom: Idiom) -> None:
    idiom(
        """
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        qr = RotaryEmbedding<num_heads=4>(q, c, s, pos)
        kr = RotaryEmbedding<num_heads=4>(k, c, s, pos)
        a = Attention<q_num_heads=4, kv_num_heads=4>(qr, kr, v)
        y = MatMul(a, wo)
        """,
        {
            "wq": (6, 16), "wk": (6, 16), "wv": (6, 16), "wo": (16, 5), "c": (10, 2), "s": (10, 2),
            "pos": np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]),
        },
        {"wq": (16, 4)},
        inputs="float[2,10,6] x",
        opset=23,
    )


def cached(past: str, **attributes: int) -> str:
    """Queries, keys and values of now; `past` names the past keys and values."""
    options = ", ".join(f"{name}={number}" for name, number in attributes.items())
    return f"""
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        a, pk, pv = Attention<{options}>(q, k, v, , {past})
        y = MatMul(a, wo)
        """


KEYS = {"wq": (6, 16), "wk": (6, 16), "wv": (6, 16), "wo": (16, 5)}


def test_operator_with_constant_past_keys(idiom: Idiom) -> None:
    """A prefix that is learnt: its heads go with those of now."""
    idiom(
        cached("ck, cv", q_num_heads=4, kv_num_heads=4),
        KEYS | {"ck": (2, 4, 3, 4), "cv": (2, 4, 3, 4)},
        {"wq": (16, 4)},
        inputs="float[2,10,6] x",
        outputs="float[2,10,5] y",
        opset=23,
    )


def test_operator_with_past_columns_of_one_head(idiom: Idiom) -> None:
    idiom(
        cached("ck, cv", q_num_heads=1, kv_num_heads=1),
        KEYS | {"ck": (2, 1, 3, 16), "cv": (2, 1, 3, 16)},
        {"wq": (16, 1), "wv": (16, 1)},
        inputs="float[2,10,6] x",
        outputs="float[2,10,5] y",
        opset=23,
        unscalable={"wq"},
    )


def test_operator_whose_past_is_an_input_keeps_its_heads(idiom: Idiom) -> None:
    """A cache between runs: heads stay, the layer before them is free, and what follows."""
    idiom(
        "h = MatMul(x, wh) "
        + cached("ck, cv", q_num_heads=4, kv_num_heads=4).replace("(x,", "(h,")
        + "r = MatMul(a, w2) z = MatMul(r, w3)",
        {"wh": (6, 8), "wq": (8, 16), "wk": (8, 16), "wv": (8, 16), "wo": (16, 5), "w2": (16, 7), "w3": (7, 4)},
        {"wh": (8, 1), "w2": (7, 1)},
        inputs="float[2,10,6] x, float[2,4,3,4] ck, float[2,4,3,4] cv",
        outputs="float[2,10,5] y, float[2,4,13,4] pk, float[2,10,4] z",
        opset=23,
        pinned={"wq": "graph input 'ck'"},
    )
