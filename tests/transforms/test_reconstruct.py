"""Closed-form recovery: against brute force, where it must be exact, where it must keep off, and on whole networks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import chanc
from chanc.backends import ort
from chanc.errors import DataError, ModelError
from chanc.rewriter import rewrite
from chanc.testing.blocks import attention, layer_norm, mlp, tokens
from chanc.testing.builders import build
from chanc.testing.graphs import Graph
from chanc.transforms import reconstruct
from chanc.transforms.recovery import ridge, targets
from chanc.transforms.recovery.agreement import errors
from chanc.transforms.recovery.layers import find

RNG = np.random.default_rng(5)


def images(count: int, *shape: int, batch: int = 16, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Batches of images that are mixtures of a few: what is dropped can be told from what is kept."""
    rng = np.random.default_rng(seed)
    mixture = rng.standard_normal((count, 6)) @ np.random.default_rng(1).standard_normal((6, int(np.prod(shape))))
    x = (mixture.reshape(count, *shape) / 2).astype(np.float32)
    return [{"x": x[k : k + batch]} for k in range(0, count, batch)]


def initializer(model: onnx.ModelProto, name: str) -> np.ndarray:
    return next(onnx.numpy_helper.to_array(w) for w in model.graph.initializer if w.name == name)


def off(original, *models, feeds) -> list[float]:
    """The relative errors of the outputs."""
    return errors(chanc.load(original), [chanc.load(model) for model in models], feeds)


CONVS = {
    "stride and uneven pads": ("<strides = [2, 1], pads = [1, 0, 2, 1], dilations = [1, 2]>", (6, 8, 3, 3)),
    "same": ('<strides = [2, 2], auto_pad = "SAME_LOWER">', (6, 8, 4, 3)),
    "groups": ("<group = 2, pads = [1, 1, 1, 1]>", (6, 4, 3, 3)),
    "transposed": ("<strides = [2, 2], pads = [1, 0, 0, 1]>", (8, 6, 3, 2)),
}


@pytest.mark.parametrize("name", CONVS)
def test_a_convolution_is_what_least_squares_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "SHARES", (1e-12,))
    monkeypatch.setattr(targets, "LEAST", 10**6)
    attributes, shape = CONVS[name]
    op = "ConvTranspose" if name == "transposed" else "Conv"
    model = build("float[N,3,9,9] x", "float y", f"""
        h = Conv (x, v)
        r = Relu (h)
        y = {op} {attributes} (r, w, b)
    """, {"v": (8, 3, 1, 1), "w": shape, "b": (6,)})  # fmt: skip
    small = rewrite(model, {"v": {"keep": [0, 1, 3, 4, 5, 7]}}, transfer="select")
    feeds = {"x": RNG.standard_normal((20, 3, 9, 9)).astype(np.float32)}
    done = reconstruct(model, small, [feeds])
    w, bias = (initializer(done.model, name).astype(np.float64) for name in ("w", "b"))

    # By brute force: a column for each weight, what the layer makes if it alone is one.
    r = ort.run(build("float[N,3,9,9] x", "float r", "h = Conv (x, v)\nr = Relu (h)",
                      {"v": initializer(small.model, "v")}), feeds)[0]  # fmt: skip
    sizes = ",".join(map(str, w.shape))
    layer = ort.session(build(f"float[N,6,9,9] r, float[{sizes}] w", "float y", f"y = {op} {attributes} (r, w)"))
    target = np.moveaxis(ort.run(model, feeds)[0], 1, -1).reshape(-1, 6)
    axis = 1 if op == "ConvTranspose" else 0
    for channel in range(0, 6, 3):
        lead = np.moveaxis(w, axis, 0)[channel]
        columns = []
        for place in np.ndindex(lead.shape):
            one = np.zeros(w.shape, dtype=np.float32)
            np.moveaxis(one, axis, 0)[(channel, *place)] = 1
            columns.append(ort.run(layer, {"r": r, "w": one})[0][:, channel].reshape(-1))
        matrix = np.stack([*columns, np.ones(len(target))], axis=1).astype(np.float64)
        best = np.linalg.lstsq(matrix, target[:, channel].astype(np.float64), rcond=None)[0]
        assert np.allclose(np.append(lead.ravel(), bias[channel]), best, atol=1e-4)


def test_what_is_a_combination_of_the_rest_is_recovered() -> None:
    basis, mix = RNG.standard_normal((5, 3)), RNG.standard_normal((7, 5))
    v = np.concatenate([basis, mix @ basis]).astype(np.float32)[:, :, None, None]
    model = build("float[N,3,6,6] x", "float y", """
        h = Conv (x, v)
        y = Conv <pads = [1, 1, 1, 1]> (h, w, b)
    """, {"v": v, "w": (4, 12, 3, 3), "b": (4,)})  # fmt: skip
    small = rewrite(model, {"v": {"keep": [0, 1, 2, 3, 4]}}, transfer="select")
    done = reconstruct(model, small, images(160, 3, 6, 6))
    before, after = off(model, small.model, done.model, feeds=images(32, 3, 6, 6, seed=9))
    assert before > 0.3
    assert after < 1e-3


def residual() -> onnx.ModelProto:
    graph = Graph(seed=1)
    x = graph.input("x", [2, 3, 8, 8], dynamic={0: "n"}).conv(16, bias=False).bn().relu()
    for _ in range(2):
        inner = x.conv(24, bias=False).bn().relu().depthwise(bias=False).bn().relu()
        x = (x + inner.conv(16, 1, bias=False).bn()).relu()
    x = x.conv(24, stride=2).relu().conv_transpose(12).bn().relu().conv(16, groups=4).relu()
    return graph.model(x.gap().flatten().gemm(24).relu().gemm(5))


@pytest.fixture(scope="module")
def mended():
    model = residual()
    small = rewrite(model, scale=0.6, transfer="select")
    return model, small, chanc.reconstruct(model, small, images(160, 3, 8, 8))


def test_the_outputs_of_a_residual_network_come_back(mended) -> None:
    model, small, done = mended
    before, after = off(model, small.model, done.model, feeds=images(64, 3, 8, 8, seed=9))
    assert after < 0.3 * before
    assert done.after < 0.3 * done.before
    assert len(done.layers) == 11
    assert all(layer.after < layer.before and not layer.reason for layer in done.layers)
    assert str(done).startswith("reconstructed: 11 of 11 layers refitted; outputs were off by ")


def test_the_models_stay_and_the_kind_is_kept(mended) -> None:
    model, small, done = mended
    again = rewrite(model, scale=0.6, transfer="select")
    assert again.model == small.model
    assert isinstance(done.model, onnx.ModelProto)
    onnx.checker.check_model(done.model)
    assert [n.output for n in done.model.graph.node] == [n.output for n in small.model.graph.node]


def test_the_stream_is_mended_by_its_next_branch() -> None:
    graph = Graph(seed=3)
    x = graph.input("x", [2, 3, 6, 6], dynamic={0: "n"}).conv(8).relu()
    branch = x.conv(12, 1).relu().conv(8)
    model = graph.model((x.conv(8, 1) + branch).relu().conv(4, 1))
    small = rewrite(model, scale=0.5, transfer="select")
    layers, _ = find(chanc.load(small.model), small.trace)
    assert [layer.tail.stream is not None for layer in layers] == [False, False, True, False]
    assert layers[1].tail.end is layers[1].node.outputs[0]
    assert layers[2].tail.stream is layers[1].tail.end


def test_statistics_are_those_of_the_data(mended) -> None:
    _, _, done = mended
    model = chanc.load(done.model)
    norms = [node for node in model.graph if node.op_type == "BatchNormalization"][1:]
    model.graph.outputs.extend(node.inputs[0] for node in norms)
    feeds = {"x": np.concatenate([feed["x"] for feed in images(160, 3, 8, 8)])}
    for norm, z in zip(norms, ort.run(model, feeds)[1:], strict=True):
        mean, variance = (value.const_value.numpy() for value in norm.inputs[3:5])
        spread = z.std(axis=(0, 2, 3))
        assert np.abs(z.mean(axis=(0, 2, 3)) - mean).max() < 0.15 * spread.max()
        assert np.allclose(np.sqrt(variance), spread, rtol=0.15, atol=1e-3)


def test_a_transformer_comes_back() -> None:
    graph = Graph(seed=2)
    x = tokens(graph.input("x", [2, 3, 4, 4], dynamic={0: "n"}).conv(16, 2, stride=2))
    for _ in range(2):
        x = x + attention(layer_norm(x), 4)
        x = x + mlp(layer_norm(x), 32)
    model = graph.model(layer_norm(x).mean(1, keep=False).gemm(5))
    small = rewrite(model, scale=0.5, transfer="select")
    done = reconstruct(model, small, images(320, 3, 4, 4, batch=32))
    before, after = off(model, small.model, done.model, feeds=images(64, 3, 4, 4, seed=9))
    assert after < 0.5 * before
    assert any(find(chanc.load(small.model), small.trace)[0][k].is_norm for k in range(len(done.layers)))


def test_no_layer_is_worse_on_what_was_held_out() -> None:
    model = residual()
    small = rewrite(model, scale=0.9, transfer="select")
    noise = [{"x": RNG.standard_normal((2, 3, 8, 8)).astype(np.float32)} for _ in range(5)]
    done = reconstruct(model, small, noise)
    assert done.after <= done.before
    assert all(layer.after <= layer.before for layer in done.layers)


def test_worse_outputs_are_not_taken(monkeypatch) -> None:
    model = residual()
    small = rewrite(model, scale=0.6, transfer="select")
    monkeypatch.setitem(reconstruct.__wrapped__.__globals__, "errors", lambda *_: [0.1, 0.2])
    done = reconstruct(model, small, images(20, 3, 8, 8, batch=4))
    assert done.model is small.model
    assert done.before == done.after == 0.1
    assert {layer.reason for layer in done.layers} == {"the outputs would be worse"}


def test_what_is_left_alone_is_named() -> None:
    half = (RNG.standard_normal((6, 8, 1, 1)) / 3).astype(np.float16)
    model = build("float[N,3,4,4] x", "float y", """
        h = Conv (x, v)
        a = Conv (h, shared)
        b = Conv (a, shared)
        c = Cast <to = 10> (b)
        d = Conv (c, half)
        e = Cast <to = 1> (d)
        y = Conv (e, last)
    """, {"v": (8, 3, 1, 1), "shared": (8, 8, 1, 1), "half": half, "last": (2, 6, 1, 1)})  # fmt: skip
    group = next(group.id for group in chanc.analyze(model).groups if group.resizable and group.size == 8)
    small = rewrite(model, {group: 5}, transfer="select")
    done = reconstruct(model, small, images(32, 3, 4, 4, batch=4))
    reasons = {layer.layer: layer.reason for layer in done.layers}
    assert reasons == {
        "last": "", "shared": "its weight is shared", "half": "its weight is no constant in float32 or float64",
    }  # fmt: skip
    assert np.array_equal(initializer(done.model, "half"), initializer(small.model, "half"))


def test_a_product_along_another_axis_than_the_channels_is_left_alone() -> None:
    """A graph convolution: A mixes the joints, on the last axis; the channels that went lie among its rows."""
    body = "c = Conv (x, w) m = MatMul (c, A) r = Relu (m) y = Conv (r, v)"
    model = build("float[N,3,4,4] x", "float y", body, {"w": (8, 3, 1, 1), "A": (4, 4), "v": (5, 8, 1, 1)})
    found = reconstruct(model, rewrite(model, {"w": 6}), images(64, 3, 4, 4))
    reasons = {layer.layer: layer.reason for layer in found.layers}
    assert reasons["A"] == "its rows are others than in the original"
    assert found.after < found.before


def test_a_detector_is_judged_in_front_of_what_picks() -> None:
    """Original and rewritten model pick other numbers of boxes: those can't be subtracted."""
    body = """
    c = Conv (x, w) r = Relu (c) b = Conv (r, v) s = Conv (r, u) boxes = Reshape (b, four) scores = Reshape (s, one)
    picked = NonMaxSuppression (boxes, scores, most, overlap, least)
    """
    weights = {"w": (8, 3, 1, 1), "v": (4, 8, 1, 1), "u": (1, 8, 1, 1), "four": np.array([1, -1, 4]),
               "one": np.array([1, 1, -1]), "most": np.array([99]), "overlap": np.array([0.9], dtype=np.float32),
               "least": np.array([0.0], dtype=np.float32)}  # fmt: skip
    model = build("float[1,3,4,4] x", "int64[K,3] picked", body, weights)
    feeds = images(64, 3, 4, 4, batch=1)
    done = rewrite(model, {"w": 5})
    assert len({tuple(len(ort.run(one, feed)[0]) for one in (model, done.model)) for feed in feeds}) > 1
    found = reconstruct(model, done, feeds)
    assert found.after < 0.7 * found.before


def test_new_channels_have_no_target() -> None:
    model = residual()
    wide = rewrite(model, scale=1.5, transfer="grow")
    done = reconstruct(model, wide, images(20, 3, 8, 8, batch=4))
    assert {layer.reason for layer in done.layers} == {"its channels are repeated", "it is exact as it is"}


def test_bad_input() -> None:
    model = residual()
    small = rewrite(model, scale=0.6, transfer="select")
    with pytest.raises(DataError, match="at least one batch"):
        reconstruct(model, small, [])
    with pytest.raises(ModelError, match="by its trace"):
        reconstruct(model, small.model, images(4, 3, 8, 8))
    with pytest.raises(ModelError, match="no value for input 'x'"):
        reconstruct(model, small, [{"z": np.zeros((1, 3, 8, 8), dtype=np.float32)}])
    with pytest.raises(ModelError, match=r"the original has no tensor|other"):
        reconstruct(build("float[N,3,8,8] x", "float y", "y = Relu (x)"), small, images(4, 3, 8, 8))
