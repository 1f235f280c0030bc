from __future__ import annotations

import re

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common
import pytest
from onnx_ir.passes import Sequential

from chanc.passes import RecoverAffine
from chanc.testing.builders import build
from chanc.transforms import KnownNorm, fold_batchnorm, recover_affine

SHAPES = {"one four": [1, 6, 1, 1], "three": [6, 1, 1]}
CHAINS = {
    "frozen": "m = Mul (c, k) y = Add (m, t)",
    "frozen, constants first": "m = Mul (k, c) y = Add (t, m)",
    "keras": "s = Sub (c, mu) m = Mul (s, k) y = Add (m, t)",
    "divided": "s = Sub (c, mu) d = Div (s, var_k) m = Mul (d, k) y = Add (m, t)",
    "turned": "s = Sub (mu, c) m = Mul (s, k) y = Sub (m, t)",
    "mul only": "y = Mul (c, k)",
}


def model(chain: str, shape: list[int], *, after: str = "z = Relu (y)", **more: list[int]):
    names = {name: shape for name in ("k", "t", "mu", "var_k") if re.search(rf"\b{name}\b", chain)}
    return build("float[N,3,9,9] x", "float z", f"c = Conv (x, w) {chain} {after}",
                 {"w": [6, 3, 3, 3], **names, **more})  # fmt: skip


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_chains_become_norms(chain, shape, calibrated, same, groups, feeds, ops) -> None:
    proto = model(chain, shape, after="r = Relu (y) z = Conv (r, w2)", w2=[4, 6, 1, 1])
    loaded = ir.from_proto(proto)
    assert RecoverAffine(feeds("x", 3, 9, 9) if calibrated else ())(loaded).modified
    assert ops(loaded) == ["Conv", "BatchNormalization", "Relu", "Conv"]
    assert [node.outputs[0].name for node in loaded.graph] == ["c", "y", "r", "z"]
    assert set(loaded.graph.initializers) == {"w", "w2", "w.bn.weight", "w.bn.bias", "w.bn.running_mean",
                                              "w.bn.running_var"}  # fmt: skip
    same(proto, loaded, tolerance=1e-5)
    before, after = groups(proto), groups(loaded)
    assert before == after
    assert not recover_affine(loaded)
    assert fold_batchnorm(loaded)
    same(proto, loaded, tolerance=1e-5)


@pytest.mark.parametrize("chain", ["frozen", "keras"])
def test_known_norms_bring_their_statistics(chain, same) -> None:
    proto = model(CHAINS[chain], SHAPES["three"])
    loaded = ir.from_proto(proto)
    k, t, mu = (None if name not in loaded.graph.initializers else
                loaded.graph.initializers[name].const_value.numpy().ravel() for name in ("k", "t", "mu"))  # fmt: skip
    variance, epsilon = np.linspace(0.5, 3, 6), 1e-3
    mean = mu if mu is not None else np.linspace(-1, 1, 6)
    bias = t if mu is not None else t + k * mean
    mine = KnownNorm(k * np.sqrt(variance + epsilon), bias, mean, variance, epsilon)
    other = KnownNorm(mine.scale, bias + 1, mean, variance * 2, epsilon)
    alike = mine._replace(variance=4 * mine.variance + 3 * epsilon, scale=2 * mine.scale, bias=bias + 1)
    assert recover_affine(loaded, known=[other, alike, mine])
    found = {name.rpartition(".")[2]: value.const_value.numpy() for name, value in loaded.graph.initializers.items()}
    for part, want in (("running_var", variance), ("running_mean", mean), ("weight", mine.scale), ("bias", bias)):
        np.testing.assert_allclose(found[part], want, rtol=1e-4, atol=1e-5)
    norm = next(node for node in loaded.graph if node.op_type == "BatchNormalization")
    assert norm.attributes["epsilon"].as_float() == pytest.approx(epsilon)
    same(proto, loaded, tolerance=1e-5)


def test_a_norm_that_only_scales_alike_is_moved(same) -> None:
    """The bias of a convolution is a part of the chain, and not of the norm."""
    proto = model(CHAINS["frozen"], SHAPES["three"])
    loaded = ir.from_proto(proto)
    k = loaded.graph.initializers["k"].const_value.numpy().ravel()
    assert recover_affine(loaded, known=[KnownNorm(k, np.zeros(6), np.zeros(6), np.ones(6), 0.0)])
    assert not loaded.graph.initializers["w.bn.bias"].const_value.numpy().any()
    same(proto, loaded, tolerance=1e-5)


def test_statistics(feeds) -> None:
    chain, shape = CHAINS["keras"], [1, 6, 1, 1]
    plain, measured = ir.from_proto(model(chain, shape)), ir.from_proto(model(chain, shape))
    recover_affine(plain)
    recover_affine(measured, feeds("x", 3, 9, 9))
    subtracted = ir.from_proto(model(chain, shape)).graph.initializers["mu"].const_value.numpy().ravel()
    np.testing.assert_allclose(plain.graph.initializers["w.bn.running_mean"].const_value.numpy(), subtracted, rtol=1e-6)
    assert np.all(plain.graph.initializers["w.bn.running_var"].const_value.numpy() == 1)
    variance = measured.graph.initializers["w.bn.running_var"].const_value.numpy()
    assert np.all(variance > 0)
    assert np.ptp(variance) > 0.1


@pytest.mark.parametrize("chain", [
    "y = Add (c, t)",  # a bias
    "s = Mul (c, k) y = Add (s, c)",  # read twice
    "y = Div (k, c)",  # not of the form a x + b
    "y = Mul (c, spatial)",
    "y = Mul (c, half)",
    "r = Relu (c) s = Mul (r, k) y = Add (s, t)",
])  # fmt: skip
def test_what_is_left(chain, ops) -> None:
    loaded = ir.from_proto(model(chain, [1, 6, 1, 1], spatial=[1, 1, 7, 7], half=[]))
    before = ops(loaded)
    assert not RecoverAffine()(loaded).modified
    assert ops(loaded) == before


def test_trailing_numbers_stay_outside(same, ops) -> None:
    proto = model("m = Mul (c, k) a = Add (m, t) y = Add (a, three)", [6, 1, 1], three=[])
    loaded = ir.from_proto(proto)
    assert recover_affine(loaded)
    assert ops(loaded) == ["Conv", "BatchNormalization", "Add", "Relu"]
    same(proto, loaded, tolerance=1e-5)


def test_behind_a_transpose(same, ops) -> None:
    proto = model("n = Transpose <perm = [0, 2, 3, 1]> (c) s = Sub (n, mu) m = Mul (s, k) a = Add (m, t) "
                  "y = Transpose <perm = [0, 3, 1, 2]> (a)", [6])  # fmt: skip
    loaded = ir.from_proto(proto)
    assert recover_affine(loaded)
    assert ops(loaded) == ["Conv", "BatchNormalization", "Transpose", "Transpose", "Relu"]
    assert [node.outputs[0].name for node in loaded.graph][2:] == ["n", "y", "z"]
    same(proto, loaded, tolerance=1e-5)


def test_chain_that_ends_the_graph(same) -> None:
    for body in ("m = Mul (c, k) z = Add (m, t)",
                 "n = Transpose <perm = [0, 2, 3, 1]> (c) m = Mul (n, k) z = Add (m, t)"):  # fmt: skip
        proto = model(body, [6] if "perm" in body else [6, 1, 1], after="")
        loaded = ir.from_proto(proto)
        assert recover_affine(loaded)
        same(proto, loaded, tolerance=1e-5)


def test_constants_as_they_come(same, ops) -> None:
    """A frozen norm that no one folded: factors computed from four vectors, in Constant nodes and behind Unsqueeze."""
    proto = build("float[N,3,9,9] x", "float z", """
        c = Conv (x, w)
        e = Constant <value = float {0.00001}> ()
        shape = Constant <value = int64[4] {1, 6, 1, 1}> ()
        v = Add (var_v, e)
        root = Sqrt (v)
        k = Div (gamma, root)
        k4 = Reshape (k, shape)
        away = Mul (mu, k)
        t = Sub (beta, away)
        t4 = Reshape (t, shape)
        m = Mul (c, k4)
        y = Add (m, t4)
        z = Relu (y)
    """, {"w": [6, 3, 3, 3], "var_v": [6], "gamma": [6], "mu": [6], "beta": [6]})  # fmt: skip
    loaded = ir.from_proto(proto)
    assert recover_affine(loaded)
    assert ops(loaded) == ["Conv", "BatchNormalization", "Relu"]
    same(proto, loaded, tolerance=1e-5)


def test_among_foreign_passes(same, ops) -> None:
    proto = model(CHAINS["keras"], [1, 6, 1, 1])
    passes = Sequential(common.CommonSubexpressionEliminationPass(), RecoverAffine(), common.RemoveUnusedNodesPass(),
                        common.CheckerPass())  # fmt: skip
    result = passes(ir.from_proto(proto))
    assert result.modified
    assert "BatchNormalization" in ops(result.model)
    same(proto, result.model)
