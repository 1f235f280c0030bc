"""The judge: which comparison speaks for which rewrite, and what it says where none can."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import chanc
from chanc.analysis import analyze
from chanc.backends import ort
from chanc.errors import ModelError
from chanc.ir import load, to_proto
from chanc.oracles import Verdict, double, judge, pair
from chanc.testing.builders import build
from chanc.testing.graphs import Graph


def normed(kind: str = "LayerNormalization") -> onnx.ModelProto:
    """Two residual blocks with a norm across channels: a stream that the norm sees, two hidden widths that are free."""
    graph = Graph(opset=21)
    x = graph.input("x", [1, 5, 6], dynamic={0: "n"}).linear(8)
    for _ in range(2):
        scale, bias = graph.vector(8, 0.5, 1.5), graph.vector(8)
        inner = graph.op(kind, x, scale, bias, **({"axis": -1} if kind == "LayerNormalization" else {}))
        x = x + inner.linear(12).relu().linear(8)
    return graph.model(x.linear(4))


def chaotic() -> onnx.ModelProto:
    """Waves of waves: a difference in the last digit of float32 grows by a factor of some 40 a layer."""
    graph = Graph(opset=17)
    x = graph.input("x", [1, 3, 6, 6], dynamic={0: "n"}).conv(8)
    for _ in range(3):
        x = graph.op("Sin", x.conv(8) * graph.constant(np.float32(40)))
    return graph.model(x.conv(5))


def spoilt(model: object, factor: float = 1.5) -> onnx.ModelProto:
    """The model with a part of its last weight made larger."""
    proto = to_proto(load(model))
    tensor = [tensor for tensor in proto.graph.initializer if len(tensor.dims) > 1][-1]
    array = onnx.numpy_helper.to_array(tensor).copy()
    array[0] *= array.dtype.type(factor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return proto


@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
def test_groups_that_a_norm_sees_are_doubled(scale: float) -> None:
    model = normed()
    inexact = [group.id for group in analyze(model).groups if group.resizable and not group.exact]
    assert len(inexact) == 1
    result = chanc.rewrite(model, scale=scale, transfer="widen")
    verdict = judge(model, result.model, trace=result.trace, transfer="widen")
    assert verdict.agrees
    assert "2 exact groups verified, 1 group verified by doubling" in str(verdict)
    assert verdict.findings[1].error < 1e-5


def test_a_model_of_inexact_groups_only() -> None:
    model = normed()
    inexact = [group.id for group in analyze(model).groups if group.resizable and not group.exact]
    result = chanc.rewrite(model, {name: {"scale": 0.5} for name in inexact})
    verdict = judge(model, result.model, trace=result.trace)
    assert [str(finding).partition(" (")[0] for finding in verdict.findings] == [
        "runs in onnxruntime",
        "1 group verified by doubling",
    ]


def test_what_does_not_double_evenly_is_told_apart() -> None:
    """A softmax over channels sees how many there are; the other group is verified all the same."""
    graph = Graph(opset=17)
    x = graph.input("x", [1, 3, 6, 6], dynamic={0: "n"}).conv(8)
    x = graph.op("Softmax", x, axis=1).conv(12).relu().conv(5)
    model = graph.model(x)
    result = chanc.rewrite(model, scale=0.5)
    assert not result.trace.exact
    verdict = judge(model, result.model, trace=result.trace)
    assert verdict.agrees is None
    assert "1 exact group verified (" in str(verdict)
    assert "can't tell, doubled, they change the outputs by" in str(verdict)


ALONG = "k = Conv<pads=[1, 1]>(q, kw)"
KERNELS = {
    "one": (ALONG, {"kw": (1, 1, 3)}),
    "dilated": ("k = Conv<pads=[4, 4], dilations=[2]>(q, kw)", {"kw": (1, 1, 5)}),
}
TWO = "j = Conv<pads=[1, 1]>(q, kv)\ni = Relu(j)\nk = Conv<pads=[1, 1]>(i, kw)"


def gated(
    kernel: str, weights: dict[str, tuple[int, ...]], before: str = "c = Conv<pads=[1, 1, 1, 1]>(x, w, b)"
) -> onnx.ModelProto:
    """ECA-Net: a kernel runs along the pooled channels."""
    body = f"""{before}
        p = ReduceMean<axes=[2, 3], keepdims=0>(c)
        q = Reshape(p, along)
        {kernel}
        r = Reshape(k, back)
        s = Sigmoid(r)
        g = Mul(c, s)
        y = Conv(g, last)"""
    fixed = {"w": (16, 3, 3, 3), "b": (16,), "last": (5, 16, 1, 1), "along": np.array([0, 1, 16]),
             "back": np.array([0, 16, 1, 1])}  # fmt: skip
    return build("float[n,3,6,6] x", "float y", body, {**fixed, **weights})


@pytest.mark.parametrize("scale", [0.5, 1.5])
@pytest.mark.parametrize("kind", KERNELS)
def test_a_kernel_along_channels_is_judged_by_their_first_half(kind: str, scale: float) -> None:
    """Doubled, each channel would be its own neighbour; behind the first half there are zeros, as its padding is."""
    model = gated(*KERNELS[kind])
    result = chanc.rewrite(model, scale=scale, transfer="widen")
    assert not result.trace.exact
    verdict = judge(model, result.model, trace=result.trace, transfer="widen")
    assert verdict.agrees
    assert "1 group verified by the first half of the channels" in str(verdict)


def test_two_kernels_in_a_row_leave_nothing_to_judge_by() -> None:
    """Between them the first half has neighbours that its padding hasn't: the reason names what sees the channels."""
    model = gated(TWO, {"kv": (4, 1, 3), "kw": (1, 4, 3)})
    result = chanc.rewrite(model, {"w": 8})
    verdict = judge(model, result.model, trace=result.trace)
    assert verdict.agrees is None
    assert "can't tell, doubled, they change the outputs by" in str(verdict)
    assert "as a convolution across channels may" in str(verdict)


def test_one_half_and_one_doubled() -> None:
    """The first half proves nothing of a norm, and doubling nothing of a kernel: each group has its own judge."""
    before = "l = Conv(x, v)\nn = MeanVarianceNormalization<axes=[1]>(l)\nc = Conv<pads=[1, 1, 1, 1]>(n, w, b)"
    model = gated(ALONG, {"kw": (1, 1, 3), "v": (8, 3, 1, 1), "w": (16, 8, 3, 3)}, before)
    result = chanc.rewrite(model, scale=2, transfer="widen")
    verdict = judge(model, result.model, trace=result.trace, transfer="widen")
    assert verdict.agrees
    assert "1 group verified by doubling" in str(verdict)
    assert "1 group verified by the first half of the channels" in str(verdict)


def test_a_transfer_that_keeps_no_function_leaves_its_groups_to_judge() -> None:
    graph = Graph(opset=17)
    model = graph.model(graph.input("x", [1, 3, 6, 6], dynamic={0: "n"}).conv(8).relu().conv(5))
    result = chanc.rewrite(model, scale=0.5, transfer="init")
    verdict = judge(model, result.model, trace=result.trace, transfer="init")
    assert verdict.agrees
    assert "runs in onnxruntime; 1 exact group verified" in str(verdict)


def test_some_grow_and_some_shrink() -> None:
    graph = Graph(opset=17)
    model = graph.model(graph.input("x", [1, 3, 6, 6], dynamic={0: "n"}).conv(8).relu().conv(6).relu().conv(5))
    one, two = [group.id for group in analyze(model).groups if group.resizable]
    result = chanc.rewrite(model, {one: 4, two: 9}, transfer="widen")
    verdict = judge(model, result.model, trace=result.trace, transfer="widen")
    assert verdict.agrees
    assert "without the dropped channels" in str(verdict)
    assert judge(model, spoilt(result.model), trace=result.trace, transfer="widen").agrees is False


def test_rounding_goes_on_to_float64() -> None:
    verdict, result = widened(chaotic())
    (finding,) = verdict.findings
    assert finding.judge == "float64"
    assert finding.error < 1e-9
    assert finding.noise is not None
    assert finding.noise > 1e-4
    assert "in float64" in str(verdict)
    wrong = judge(chaotic(), spoilt(result.model), trace=result.trace, transfer="widen")
    assert wrong.agrees is False
    assert "in float64" in str(wrong.wrong)


def test_the_reference_where_torch_can_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ModelError("no")

    monkeypatch.setattr(double, "_torch", missing)
    verdict, _ = widened(chaotic())
    assert verdict.findings[0].judge == "float64"
    assert verdict.agrees


def test_without_float64_the_noise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair, "in_double", lambda *_: None)
    verdict, _ = widened(chaotic())
    assert verdict.agrees is None
    assert "rounding alone may make" in str(verdict)
    clean = normed()
    assert judge(clean, spoilt(clean)).agrees is False, "without noise a difference is one"


def widened(model: onnx.ModelProto) -> tuple[Verdict, chanc.Rewrite]:
    result = chanc.rewrite(model, scale=1.5, transfer="widen")
    return judge(model, result.model, trace=result.trace, transfer="widen"), result


def test_what_onnxruntime_can_not_load_is_computed_elsewhere() -> None:
    """Batch-first recurrent layers."""
    graph = Graph(opset=17)
    x = graph.input("x", [2, 5, 3]).linear(6)
    weights = [graph.weight(1, 12, 6, fan_in=6), graph.weight(1, 12, 4, fan_in=4), graph.vector(24, shape=(1, 24))]
    whole = graph.node("GRU", [x, *weights], outputs=2, layout=1, hidden_size=4)[0]
    model = graph.model(whole.reshape(0, 0, -1).linear(3))
    result = chanc.rewrite(model, scale=0.5)
    verdict = judge(model, result.model, trace=result.trace)
    assert verdict.agrees
    assert verdict.findings[0].judge == "float64"
    assert judge(model, spoilt(result.model), trace=result.trace).agrees is False


@pytest.mark.parametrize("length", [5, "t"])
def test_where_sizes_are_made_up_a_difference_in_float64_alone_proves_nothing(length: int | str) -> None:
    graph = Graph(opset=17)
    x = graph.input("x", [2, length, 3]).linear(6)
    weights = [graph.weight(1, 12, 6, fan_in=6), graph.weight(1, 12, 4, fan_in=4), graph.vector(24, shape=(1, 24))]
    model = graph.model(graph.node("GRU", [x, *weights], outputs=2, layout=1, hidden_size=4)[0].linear(3))
    result = chanc.rewrite(model, scale=0.5)
    assert judge(model, result.model, trace=result.trace).agrees
    verdict = judge(model, spoilt(result.model), trace=result.trace)
    assert verdict.agrees is (False if length == 5 else None)
    assert ("made-up sizes" in str(verdict)) == (length == "t")


@pytest.mark.parametrize("centred", [False, True])
def test_what_onnxruntime_loads_and_can_not_run_is_computed_elsewhere(centred: bool) -> None:
    """An LRN of sequences: its kernel asks for pictures."""
    graph = Graph(opset=17)
    x = graph.input("x", [2, 3, 8]).conv(8)
    x = x - x.mean(1) if centred else x
    model = graph.model(graph.op("LRN", x.relu().conv(5), size=3))
    with pytest.raises(ModelError, match="can't run"):
        ort.fitting_feeds(model)
    result = chanc.rewrite(model, scale=0.5)
    assert result.trace.exact != centred
    verdict = judge(model, result.model, trace=result.trace)
    assert verdict.agrees
    assert {finding.judge for finding in verdict.findings} == {"float64"}
    if not centred:  # else its groups are judged, not its weights
        wrong = judge(model, spoilt(result.model), trace=result.trace)
        assert wrong.agrees is None, "the inputs may be at fault"
        assert "give it some (--inputs)" in str(wrong)


def test_what_nothing_can_run_is_refused_with_the_reason() -> None:
    graph = Graph(opset=17)
    x = graph.input("x", [1, 3, 6, 6]).conv(8).relu().conv(5)
    model = graph.model(graph.node("Frobnicate", [x], shapes=[(1, 5, 4, 4)], domain="my.domain")[0])
    result = chanc.rewrite(model, scale=0.5)
    with pytest.raises(ModelError, match=r"Frobnicate.*; PyTorch and ONNX's reference can't run it either"):
        judge(model, result.model, trace=result.trace)


def test_an_original_that_fails_on_made_up_inputs_is_no_fault_of_the_rewrite() -> None:
    body = "a = Conv(x, w1)\nr = Relu(a)\nb = Conv(r, w2)\ny = Reshape(b, to)"
    weights = {"w1": (8, 3, 1, 1), "w2": (5, 8, 1, 1), "to": np.array([1, 5, 77])}
    model = build("float[n,3,h,w] x", "float y", body, weights)
    result = chanc.rewrite(model, scale=0.5)
    verdict = judge(model, result.model, trace=result.trace)
    assert verdict.agrees is None
    assert "the original fails on made-up inputs" in str(verdict)
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 3, 7, 11)).astype(np.float32)}
    assert judge(model, result.model, trace=result.trace, feeds=feeds).agrees
    with pytest.raises(ModelError, match="can't run"):
        judge(model, result.model, trace=result.trace, feeds={"x": feeds["x"][:, :, 1:]})


def silent(*, batch: int = 2, normed: bool = False) -> onnx.ModelProto:
    """Of the middle layer only channels pass that are small: the strong half is dead, whatever comes in."""
    graph = Graph(opset=17)
    x = graph.input("x", [batch, 3, 6, 6]).conv(8, bias=False)
    x = x - x.mean(1) if normed else x
    bias = np.array([9, 9, 9, 9, -9, -9, -9, -9], np.float32)
    kernel = np.concatenate([graph.rng.standard_normal((4, 8, 1, 1)), -np.ones((4, 8, 1, 1))]).astype(np.float32)
    kernel[4:] *= 9
    x = graph.op("Conv", x.relu(), graph.constant(kernel), graph.constant(bias)).relu()
    return graph.model(x.conv(6).relu().conv(5))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("normed", [False, True])
def test_outputs_that_depend_on_no_input_are_no_proof(batch: int, normed: bool) -> None:
    """What is left of a network at half of its widths may be dead: then nothing wrong would show."""
    model = silent(batch=batch, normed=normed)
    result = chanc.rewrite(model, scale=0.5)
    verdict = judge(model, result.model, trace=result.trace)
    assert verdict.agrees
    assert any(finding.deaf for finding in verdict.findings)
    assert "whatever comes in" in str(verdict)
    proofs = {name for finding in verdict.findings if not finding.deaf for name in finding.groups}
    assert proofs == {name for name, (old, new) in result.trace.groups.items() if old != new}


def test_outputs_that_listen_need_no_more() -> None:
    model = normed("LayerNormalization")
    free = [group.id for group in analyze(model).groups if group.resizable and group.exact]
    result = chanc.rewrite(model, {name: {"scale": 0.5} for name in free})
    (finding,) = judge(model, result.model, trace=result.trace).findings
    assert not finding.deaf


def test_scores_masked_with_infinity() -> None:
    """Behind a LayerNorm, so that the rewrite itself is not exact."""
    graph = Graph(opset=17)
    x = graph.input("x", [1, 5, 6], dynamic={0: "n"}).linear(8)
    x = graph.op("LayerNormalization", x, graph.vector(8, 0.5, 1.5), graph.vector(8)).linear(4)
    mask = np.where(np.arange(4) == 1, -np.inf, 0).astype(np.float32)
    model = graph.model(x + graph.constant(mask))
    result = chanc.rewrite(model, scale=0.5)
    assert judge(model, result.model, trace=result.trace).agrees


def test_a_finite_output_must_stay_finite() -> None:
    model = normed()
    result = chanc.rewrite(model, scale=0.5)
    verdict = judge(model, spoilt(result.model, float("inf")), trace=result.trace)
    assert verdict.agrees is False
    assert "of the rewritten model is not finite" in str(verdict.wrong)


def test_outputs_without_a_number_say_nothing() -> None:
    graph = Graph(opset=17)
    x = graph.input("x", [1, 3, 6, 6], dynamic={0: "n"}).conv(8).relu().conv(5)
    model = graph.model(x - graph.constant(np.float32(np.inf)))
    result = chanc.rewrite(model, scale=0.5)
    verdict = judge(model, result.model, trace=result.trace)
    assert verdict.agrees is None
    assert "no output of the original has a finite number" in str(verdict)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_halves_have_a_tolerance_of_their_own(scale: float) -> None:
    """Copies add up to the weight; another tool's may be rounded to 11 bits. What is dropped rounds nothing."""
    graph = Graph(opset=17)
    x = graph.input("x", [1, 3, 6, 6], dynamic={0: "n"}, dtype=onnx.TensorProto.FLOAT16)
    for width in (8, 8, 8, 5):
        kernel = (graph.rng.standard_normal((width, x.shape[1], 1, 1)) / 2).astype(np.float16)
        x = graph.op("Conv", x.relu(), graph.constant(kernel))
    model = graph.model(x)
    result = chanc.rewrite(model, scale=scale, transfer="widen")
    verdict = judge(model, result.model, trace=result.trace, transfer="widen")
    assert verdict.agrees
    assert verdict.findings[0].error < 1e-5
    assert judge(model, spoilt(result.model), trace=result.trace, transfer="widen").agrees is False
    rounded = judge(model, spoilt(result.model, 1 + 2**-10), trace=result.trace, transfer="widen")
    assert rounded.findings[0].error > 1e-4
    assert rounded.agrees == (scale == 3.0)
