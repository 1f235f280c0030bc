"""Operators that onnxruntime's own optimizer writes (com.microsoft): understood, and as in the model from before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from chanc.analysis import Analysis, analyze
from chanc.oracles import check_shrink, check_widen
from chanc.testing.builders import build
from chanc.testing.graphs import Graph, Tensor

Idiom = Callable[..., Analysis]
FUSED = ("com.microsoft",)


def optimized(model: onnx.ModelProto, folder: Path, level: str) -> onnx.ModelProto:
    """The model as onnxruntime writes it after its own optimisation."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(folder / f"{level}.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)


def residual() -> onnx.ModelProto:
    """Conv, Relu, a depthwise Conv, a skip connection, and a Gemm at the end."""
    graph = Graph(opset=17)
    x = graph.input("x", [2, 3, 8, 8]).conv(8).relu()
    return graph.model((x + x.conv(12).relu().depthwise().relu().conv(8)).relu().gap().flatten().gemm(5))


def mlp(x: Tensor) -> Tensor:
    """A transformer's MLP, its GELU written out."""
    hidden = x.linear(12)
    half = x.graph.constant(np.float32(0.5))
    root = x.graph.constant(np.float32(2**0.5))
    one = x.graph.constant(np.float32(1))
    return x + (hidden * ((hidden / root).op("Erf") + one) * half).linear(8)


def transformer() -> onnx.ModelProto:
    """Attention of two heads and an MLP, with LayerNorms before them, after a patch convolution."""
    graph = Graph(opset=17)
    x = graph.input("x", [2, 3, 8, 8]).conv(8, 2, stride=2, auto_pad="VALID").reshape(2, 8, -1).transpose(0, 2, 1)
    norm = x.op("LayerNormalization", graph.vector(8, 0.5, 1.5), graph.vector(8), axis=-1)
    query, key, value = (norm.linear(8).reshape(2, 16, 2, 4).transpose(0, 2, 1, 3) for _ in range(3))
    scores = query.op("MatMul", key.transpose(0, 1, 3, 2)) * graph.constant(np.float32(0.5))
    x = x + scores.op("Softmax", axis=-1).op("MatMul", value).transpose(0, 2, 1, 3).reshape(2, 16, 8).linear(8)
    x = mlp(x.op("LayerNormalization", graph.vector(8, 0.5, 1.5), graph.vector(8), axis=-1))
    return graph.model(x.mean(1, keep=False).gemm(5))


@pytest.mark.parametrize("make", [residual, transformer])
def test_what_onnxruntime_fuses_has_the_groups_from_before(make: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    model = make()
    fused = optimized(model, tmp_path, "EXTENDED")
    assert any(node.domain == "com.microsoft" for node in fused.graph.node)
    before, after = analyze(model), analyze(fused)
    assert not after.findings.opaque
    sizes = [(g.size, g.step, g.resizable, g.exact, g.scalable) for g in before.groups]
    assert sorted((g.size, g.step, g.resizable, g.exact, g.scalable) for g in after.groups) == sorted(sizes)
    assert check_shrink(fused).operands
    assert check_widen(fused).operands
    assert after.macs == before.macs


def test_blocks_for_one_processor_are_left_as_they_are(tmp_path: Path) -> None:
    fused = optimized(residual(), tmp_path, "ALL")
    if not any(node.domain == "com.microsoft.nchwc" for node in fused.graph.node):
        pytest.skip("onnxruntime has no blocked kernels for this processor")
    found = analyze(fused)
    assert not any(g.resizable for g in found.groups if not g.id.startswith("w"))
    assert any("level 'extended'" in why for why in found.findings.opaque.values())


def test_fused_conv_in_groups_with_an_addend(idiom: Idiom) -> None:
    idiom(
        """
        a = Conv(x, w1)
        d = com.microsoft.FusedConv<group=8, pads=[1, 1, 1, 1], activation="Relu">(a, w2, b2, a)
        g = com.microsoft.FusedConv<group=2, activation="HardSigmoid", activation_params=[0.2, 0.5]>(d, w3)
        y = Conv(g, w4)
        """,
        {"w1": (8, 3, 1, 1), "w2": (8, 1, 3, 3), "b2": (8,), "w3": (6, 4, 1, 1), "w4": (5, 6, 1, 1)},
        {"w1": (8, 2), "w3": (6, 2)},
        domains=FUSED,
        outputs="float[N,5,8,8] y",
    )


def test_fused_products_whose_operands_are_turned(idiom: Idiom) -> None:
    idiom(
        """
        a = com.microsoft.FusedMatMul<transA=1, alpha=0.5>(x, w1)
        b = com.microsoft.FusedMatMul<transB=1>(a, w2)
        c = com.microsoft.FusedGemm<transA=1, transB=1, activation="Relu">(b, w3, v)
        y = Gemm(c, w4)
        """,
        {"w1": (4, 6), "w2": (2, 6), "w3": (7, 3), "v": (7,), "w4": (7, 5)},
        {"w1": (6, 1), "w3": (7, 1)},
        inputs="float[4,3] x",
        outputs="float[2,5] y",
        domains=FUSED,
    )


def test_fused_products_of_two_activations(idiom: Idiom) -> None:
    """Queries and keys meet in a product whose second operand is turned."""
    idiom(
        """
        q = MatMul(x, w1)
        k = MatMul(x, w2)
        v = MatMul(x, w3)
        s = com.microsoft.FusedMatMul<transB=1, alpha=0.25>(q, k)
        m = MatMul(s, v)
        y = MatMul(m, w4)
        """,
        {"w1": (3, 6), "w2": (3, 6), "w3": (3, 8), "w4": (8, 5)},
        {"w1": (6, 1), "w3": (8, 1)},
        inputs="float[2,4,3] x",
        outputs="float[2,4,5] y",
        domains=FUSED,
        unscalable={"w1"},
    )


@pytest.mark.parametrize(
    "gelu", ["Gelu(a)", "QuickGelu<alpha=1.7>(a)", "FastGelu(a)", "FastGelu(a, b)", "BiasGelu(a, b)"]
)
def test_fused_activations(idiom: Idiom, gelu: str) -> None:
    idiom(
        f"a = MatMul(x, w1) c = com.microsoft.{gelu} y = MatMul(c, w2)",
        {"w1": (3, 6), "b": (6,), "w2": (6, 5)},
        {"w1": (6, 1)},
        inputs="float[2,4,3] x",
        outputs="float[2,4,5] y",
        domains=FUSED,
    )


@pytest.mark.parametrize(
    "norm",
    [
        "SkipLayerNormalization(a, c, g, b, d)",
        "SkipLayerNormalization(a, k, g)",
        "SkipSimplifiedLayerNormalization(a, c, g)",
    ],
)
def test_fused_norms(idiom: Idiom, norm: str) -> None:
    """All columns are one group, normalised across; beside them the other output, their sum."""
    found = idiom(
        f"""
        a = MatMul(x, w1)
        h = MatMul(x, w2)
        r = Relu(h)
        c = MatMul(r, w3)
        n, , , s = com.microsoft.{norm}
        t = Add(n, s)
        y = MatMul(t, w4)
        z = MatMul(r, w5)
        """,
        {
            "w1": (3, 8), "w2": (3, 6), "w3": (6, 8), "g": (8,), "b": (8,), "d": (8,), "k": (2, 4, 8), "w4": (8, 5),
            "w5": (6, 4),
        },
        {"w1": (8, 1), "w2": (6, 1)} | ({} if "(a, c" in norm else {"w3": (8, 1)}),
        inputs="float[2,4,3] x",
        outputs="float[2,4,5] y, float[2,4,4] z",
        domains=FUSED,
        inexact={"w1"},
    )  # fmt: skip
    assert {o.initializer for o in found.group("w1").operands} >= {"w1", "g", "w4"}


def test_the_older_names_of_norms(idiom: Idiom) -> None:
    idiom(
        "a = MatMul(x, w1) c = SimplifiedLayerNormalization<axis=-1>(a, g) y = MatMul(c, w2)",
        {"w1": (3, 6), "g": (6,), "w2": (6, 5)},
        {"w1": (6, 1)},
        inputs="float[2,4,3] x",
        outputs="float[2,4,5] y",
        inexact={"w1"},
        domains=FUSED,
    )


def test_turned_batches_are_opaque() -> None:
    model = build(
        "float[2,4,3] x", "float[4,2,5] y",
        "a = MatMul(x, w1) b = com.microsoft.FusedMatMul<transBatchA=1>(a, w2) y = MatMul(b, w3)",
        {"w1": (3, 6), "w2": (4, 2, 3), "w3": (3, 5)}, domains=FUSED,
    )  # fmt: skip
    assert "its batch axes are turned" in analyze(model).group("w1").reason


QKV = "q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv) "
PROJECTIONS = {"wq": (6, 16), "wk": (6, 16), "wv": (6, 8), "b": (40,), "wo": (8, 5)}


@pytest.mark.parametrize(
    ("inputs", "more"),
    [
        ("q, k, v", {}),
        ("q, k, v, b", {}),
        ("q, k, v, b, m, r", {"m": np.array([[1] * 10, [1] * 7 + [0] * 3], dtype=np.int32), "r": (1, 4, 10, 10)}),
        ("q, k, v, , , r", {"r": (2, 1, 10, 10)}),
    ],
)
def test_fused_attention_of_heads(idiom: Idiom, inputs: str, more: dict[str, object]) -> None:
    """Whole heads go, with their biases and their part of the mask."""
    idiom(
        QKV + f"a = com.microsoft.MultiHeadAttention<num_heads=4>({inputs}) y = MatMul(a, wo)",
        PROJECTIONS | more,
        {"wq": (16, 4)},
        inputs="float[2,10,6] x",
        outputs="float[2,10,5] y",
        domains=FUSED,
    )


def test_fused_attention_of_a_single_head(idiom: Idiom) -> None:
    """Columns of queries and keys go, and those of values; the scale stays."""
    found = idiom(
        QKV + "a = com.microsoft.MultiHeadAttention<num_heads=1>(q, k, v, b) y = MatMul(a, wo)",
        PROJECTIONS,
        {"wq": (16, 1), "wv": (8, 1)},
        inputs="float[2,10,6] x",
        outputs="float[2,10,5] y",
        domains=FUSED,
        unscalable={"wq"},
    )
    assert [o.indices.shape for o in found.group("wq").operands if o.initializer == "b"] == [(16, 2)]


def test_fused_attention_with_a_past(idiom: Idiom) -> None:
    idiom(
        QKV + "a, pk, pv = com.microsoft.MultiHeadAttention<num_heads=4>(q, k, v, , , , ck, cv) y = MatMul(a, wo)",
        PROJECTIONS | {"wv": (6, 16), "wo": (16, 5), "ck": (2, 4, 3, 4), "cv": (2, 4, 3, 4)},
        {"wq": (16, 4)},
        inputs="float[2,10,6] x",
        outputs="float[2,10,5] y",
        domains=FUSED,
    )


@pytest.mark.parametrize(
    ("heads", "groups"), [(4, {"h": (7, 1), "w": (48, 12)}), (1, {"h": (7, 1), "w#0": (32, 2), "w#1": (16, 1)})]
)
def test_fused_attention_with_its_projections(idiom: Idiom, heads: int, groups: dict[str, tuple[int, int]]) -> None:
    """One weight for queries, keys and values."""
    idiom(
        f"p = MatMul(x, h) a = com.microsoft.Attention<num_heads={heads}>(p, w, b) y = MatMul(a, wo)",
        {"h": (6, 7), "w": (7, 48), "b": (48,), "wo": (16, 5)},
        groups,
        inputs="float[2,10,6] x",
        outputs="float[2,10,5] y",
        domains=FUSED,
        unscalable={"w#0"} if heads == 1 else set(),
    )


NOW = {"t": np.array([4, 4], np.int32), "n": np.array(5, np.int32), "cos": (16, 8), "sin": (16, 8)}


@pytest.mark.parametrize(
    ("attributes", "tail"),
    [
        ("", ""),
        (", do_rotary=1", ", cos, sin"),
        (", local_window_size=2, softcap=2.0", ", , , , bias"),
    ],
)
def test_grouped_queries_of_heads(idiom: Idiom, attributes: str, tail: str) -> None:
    """A head of keys and values goes with its two of queries."""
    found = idiom(
        f"""
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        a, pk, pv = com.microsoft.GroupQueryAttention<num_heads=4, kv_num_heads=2{attributes}>(q, k, v, , , t, n{tail})
        y = MatMul(a, wo)
        """,
        {"wq": (6, 64), "wk": (6, 32), "wv": (6, 32), "wo": (64, 5), "bias": (1, 4, 5, 5)} | NOW,
        {"wq": (64, 32)},
        inputs="float[2,5,6] x",
        outputs="float[2,5,5] y",
        domains=FUSED,
    )
    assert {o.initializer for o in found.group("wq").operands} >= {"wq", "wk", "wv", "wo"}


def test_grouped_queries_of_one_weight_with_a_past(idiom: Idiom) -> None:
    idiom(
        """
        p = MatMul(x, w)
        a, pk, pv = com.microsoft.GroupQueryAttention<num_heads=4, kv_num_heads=2>(p, , , ck, cv, t, n)
        y = MatMul(a, wo)
        """,
        {"w": (6, 128), "wo": (64, 5), "ck": (2, 2, 4, 16), "cv": (2, 2, 4, 16)} | NOW,
        {"w": (128, 64)},
        inputs="float[2,1,6] x",
        outputs="float[2,1,5] y",
        domains=FUSED,
    )


@pytest.mark.parametrize("heads", ["<num_heads=4>", ""])
def test_turned_heads(idiom: Idiom, heads: str) -> None:
    """onnxruntime's RotaryEmbedding, of as many heads as it says, or as its tables tell."""
    idiom(
        f"""
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        qr = com.microsoft.RotaryEmbedding{heads}(q, ids, cos, sin)
        kr = com.microsoft.RotaryEmbedding{heads}(k, ids, cos, sin)
        a = com.microsoft.MultiHeadAttention<num_heads=4>(qr, kr, v)
        y = MatMul(a, wo)
        """,
        {"wq": (6, 16), "wk": (6, 16), "wv": (6, 16), "wo": (16, 5), "ids": np.arange(10).reshape(1, 10).repeat(2, 0),
         "cos": (12, 2), "sin": (12, 2)},
        {"wq": (16, 4)},
        inputs="float[2,10,6] x",
        outputs="float[2,10,5] y",
        domains=FUSED,
    )  # fmt: skip


def test_turned_heads_of_four_axes(idiom: Idiom) -> None:
    idiom(
        """
        q = MatMul(x, w)
        h = Reshape(q, to)
        t = Transpose<perm=[0, 2, 1, 3]>(h)
        r = com.microsoft.RotaryEmbedding(t, ids, cos, sin)
        b = Transpose<perm=[0, 2, 1, 3]>(r)
        f = Reshape(b, back)
        y = MatMul(f, wo)
        """,
        {"w": (6, 16), "wo": (16, 5), "ids": np.array([0]), "cos": (12, 2), "sin": (12, 2),
         "to": np.array([2, 10, 4, 4]), "back": np.array([2, 10, 16])},
        {"w": (16, 4)},
        inputs="float[2,10,6] x",
        outputs="float[2,10,5] y",
        domains=FUSED,
    )  # fmt: skip


@pytest.mark.parametrize("operands", ["words, places, kinds, g, b", "words, places, , g, b, , at"])
def test_embeddings_with_a_norm(idiom: Idiom, operands: str) -> None:
    """All tables make the same columns, which the norm sees; output 2 is their sum."""
    segments = "" if "kinds" not in operands else "ids"
    found = idiom(
        f"""
        e, m, s = com.microsoft.EmbedLayerNormalization(ids, {segments}, {operands})
        t = Add(e, s)
        y = MatMul(t, w)
        """,
        {"words": (9, 8), "places": (7, 8), "kinds": (9, 8), "g": (8,), "b": (8,), "w": (8, 5),
         "at": np.array([[4, 3, 2, 1, 0]] * 2, np.int32)},
        {"words": (8, 1)},
        inputs="int32[2,5] ids",
        outputs="float[2,5,5] y",
        domains=FUSED,
        inexact={"words"},
    )  # fmt: skip
    assert {o.initializer for o in found.group("words").operands} >= {"words", "places", "g", "b", "w"}
    assert found.params >= 8 * (9 + 7 + 1 + 1 + 5)
