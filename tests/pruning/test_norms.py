"""BatchNorm that a training is lent: it changes nothing, and nothing of it stays."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

pytest.importorskip("torch")

from chanc.backends import ort
from chanc.data import Samples
from chanc.errors import VerifyError
from chanc.pruning import norms
from chanc.pruning.norms import with_norms
from chanc.testing import builders

X = np.random.default_rng(0).standard_normal((64, 2, 6, 6)).astype(np.float32)
DATA = Samples("some", {"x": X}, {"x": X[:8]})


def network() -> ir.Model:
    """A convolution with a bias, one without, one with a norm of its own."""
    body = """
    a = Conv <pads = [1, 1, 1, 1]> (x, w, b) r = Relu (a) c = Conv (r, v) s = Relu (c)
    d = Conv (s, u, t) y = BatchNormalization (d, scale, bias, mean, var)
    """
    vectors = {name: np.full(3, value, dtype=np.float32) for name, value in (("scale", 2), ("bias", 1), ("mean", 0.5),
                                                                             ("var", 4))}  # fmt: skip
    shapes = {"w": (4, 2, 3, 3), "b": (4,), "v": (4, 4, 1, 1), "u": (3, 4, 3, 3), "t": (3,)}
    return ir.from_proto(builders.build("float[N,2,6,6] x", "float y", body, {**shapes, **vectors}))


def test_the_function_stays_and_the_graph_is_as_before() -> None:
    model, seen = network(), []
    done = with_norms(model, DATA, {}, lambda made: seen.append([node.op_type for node in made.graph]), print)
    assert seen == [["Conv", "BatchNormalization", "Relu", "Conv", "Relu", "Conv", "BatchNormalization"]]
    assert [node.op_type for node in done.graph] == [node.op_type for node in model.graph]
    assert set(done.graph.initializers) == set(model.graph.initializers)
    before, after = (ort.run(one, {"x": X[:4]})[0] for one in (model, done))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * abs(before).max())


def test_what_was_learned_stays() -> None:
    def train(made: ir.Model) -> None:
        bias = next(node.inputs[2] for node in made.graph if node.op_type == "BatchNormalization")
        bias.const_value = ir.tensor(bias.const_value.numpy() + 1, name=bias.name)

    model = network()
    done = with_norms(model, DATA, {}, train, print)
    moved = {name: np.abs(value.const_value.numpy() - model.graph.initializers[name].const_value.numpy()).max()
             for name, value in done.graph.initializers.items()}  # fmt: skip
    assert moved.pop("b") == pytest.approx(1, abs=1e-5)
    assert max(moved.values()) < 1e-5


def test_a_norm_that_changes_the_function_is_no_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(model: ir.Model, *, but: set[str]) -> None:
        model.graph.initializers["v"].const_value = ir.tensor(np.zeros((4, 4, 1, 1), dtype=np.float32), name="v")

    monkeypatch.setattr(norms, "fold_batchnorm", wrong)
    with pytest.raises(VerifyError, match="changed what the model computes"):
        with_norms(network(), DATA, {}, lambda made: None, print)


def test_where_none_can_be_put_in_it_trains_as_it_is() -> None:
    said: list[str] = []
    wrong = Samples("some", {"x": X[:, :, :5]}, {"x": X[:8, :, :5]})
    done = with_norms(network(), wrong, {}, lambda made: None, said.append)
    assert "no BatchNorm is put in" in said[0]
    assert len(list(done.graph)) == len(list(network().graph))
