"""check.py of a folder of source: it invents inputs that fit, and compares as the judge of a rewrite does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

import chanc
from chanc.testing.builders import build
from chanc.testing.graphs import Graph

Check = Callable[..., tuple[int, str]]


@pytest.fixture
def check(tmp_path: Path, check_source: Check) -> Check:
    """check(model, *arguments, **sizes): the exit code of the check.py made for it, and what it printed."""

    def run(model: onnx.ModelProto, *arguments: str, **sizes: object) -> tuple[int, str]:
        onnx.save(model, tmp_path / "model.onnx")
        chanc.codegen(tmp_path / "model.onnx", tmp_path / "out", **sizes)
        return check_source(tmp_path / "out", *arguments)

    return run


def test_one_value_for_one_name(check: Check) -> None:
    """An LSTM's states have the batch as their second axis."""
    body = "a, b, c = LSTM <hidden_size = 5> (x, w, r, , , h, k)\ny = Identity (b)"
    inputs = "float[4, batch, 3] x, float[1, batch, 5] h, float[1, batch, 5] k"
    code, said = check(build(inputs, "float y", body, {"w": (1, 20, 3), "r": (1, 20, 5)}))
    assert (code, said.startswith("largest difference")) == (0, True)


def test_ids_below_their_table(check: Check) -> None:
    model = build("int64[n, 40] ids, int64[n, 40] kinds", "float y",
                  "a = Gather (words, ids)\nb = Gather (types, kinds)\ny = Add (a, b)",
                  {"words": (50, 6), "types": (1, 6)})  # fmt: skip
    assert check(model)[0] == 0


def test_the_size_that_runs(check: Check) -> None:
    model = build("float[n, 3, h, w] x", "float y", "a = Conv (x, k)\ny = Reshape (a, to)",
                  {"k": (4, 3, 1, 1), "to": np.array([-1, 4 * 32 * 32])})  # fmt: skip
    assert check(model, "--size", "32")[0] == 0
    code, said = check(model, "--size", "31")
    assert code == 1
    assert "give it some with --inputs" in said
    assert check(model)[0] == 0


RESHAPED = {"k": (4, 3, 1, 1), "to": np.array([2, 4, 7, 11])}


@pytest.mark.parametrize(
    "sizes",
    [{"dims": {"h": 7, "w": 11}}, {"dims": {"h": 7, "w": 11, "n": 2}}, {"shapes": {"x": [2, 3, 7, 11]}}],
    ids=["dims", "with the batch", "shapes"],
)
def test_sizes_that_were_given(check: Check, sizes: dict[str, object]) -> None:
    model = build("float[n, 3, h, w] x", "float y", "a = Conv (x, k)\ny = Reshape (a, to)", RESHAPED)
    assert check(model)[0] == 1
    assert check(model, **sizes)[0] == 0


def test_axes_that_only_a_size_given_knows(check: Check) -> None:
    """An axis without a name, and an input without a shape."""
    model = build("float[n, 3, h, w] x", "float y", "a = Conv (x, k)\ny = Reshape (a, to)", RESHAPED)
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.Clear()
    assert check(model, dims={"x:2": 7, "x:3": 11})[0] == 0
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert check(model, shapes={"x": [2, 3, 7, 11]})[0] == 0


def test_a_length_that_the_model_was_traced_at(check: Check, capfd: pytest.CaptureFixture[str]) -> None:
    model = build("float[n, t, 6] x", "float y", "a = MatMul (x, w)\ny = Reshape (a, to)",
                  {"w": (6, 4), "to": np.array([0, 23, 2, 2])})  # fmt: skip
    assert check(model)[0] == 0
    assert not capfd.readouterr().err, "sizes that were tried are no news"


def test_channels_that_are_open(check: Check) -> None:
    body = "a = Transpose <perm = [0, 3, 1, 2]> (x)\ny = Conv (a, k)"
    assert check(build("float[n, h, w, c] x", "float y", body, {"k": (4, 3, 1, 1)}))[0] == 0


def test_many_inputs_are_a_table(check: Check, tmp_path: Path) -> None:
    names = [f"a_rather_long_name_of_input_{k}" for k in range(5)]
    body = "\n".join(f"t{k} = Gather (w{k}, {name})" for k, name in enumerate(names))
    sums = "\n".join(f"s{k + 1} = Add ({'t0' if not k else f's{k}'}, t{k + 1})" for k in range(4))
    inputs = ", ".join(f"int64[batch, 7] {name}" for name in names)
    model = build(inputs, "float y", f"{body}\n{sums}\ny = Relu (s4)", {f"w{k}": (k + 2, 4) for k in range(5)})
    assert check(model)[0] == 0
    text = (tmp_path / "out" / "check.py").read_text()
    assert '    "a_rather_long_name_of_input_0": ["batch", 7],\n' in text
    assert max(map(len, text.splitlines())) <= 120


def test_inputs_of_the_users(check: Check, tmp_path: Path) -> None:
    model = build("float[n, 3, h, w] x", "float y", "a = Conv (x, k)\ny = Reshape (a, to)",
                  {"k": (4, 3, 1, 1), "to": np.array([1, 4, 7, 11])})  # fmt: skip
    assert check(model)[0] == 1
    np.savez(tmp_path / "feeds.npz", x=np.ones((1, 3, 7, 11), np.float32))
    assert check(model, "--inputs", str(tmp_path / "feeds.npz"))[0] == 0
    np.savez(tmp_path / "double.npz", x=np.ones((1, 3, 7, 11)), more=np.ones(1))
    assert check(model, "--inputs", str(tmp_path / "double.npz"))[0] == 0


def test_inputs_that_can_not_be_used(check: Check, tmp_path: Path) -> None:
    body = "a = Gather (t, ids)\nb = Gather (t, kinds)\ny = Add (a, b)"
    model = build("int64[n] ids, int64[n] kinds", "float y", body, {"t": (5, 4)})
    np.savez(tmp_path / "feeds.npz", ids=np.ones(2, np.int64))
    (tmp_path / "text.npz").write_text("no archive")
    told = {"nowhere": "can't be read as inputs", "text.npz": "can't be read as inputs",
            "feeds.npz": "has no 'kinds'; the model's inputs are ['ids', 'kinds']"}  # fmt: skip
    for name, said in told.items():
        code, line = check(model, "--inputs", str(tmp_path / name))
        assert code == 1
        assert said in line
    np.savez(tmp_path / "feeds.npz", ids=np.array([4, 0], np.int32), kinds=np.array([1, 2], np.int32))
    assert check(model, "--inputs", str(tmp_path / "feeds.npz"))[0] == 0


def test_a_weight_that_is_an_output(check: Check) -> None:
    graph = Graph(opset=17)
    x = graph.input("x", [1, 3, 6, 6], dynamic={0: "n"}).conv(4)
    model = graph.model(x)
    weight = model.graph.initializer[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    assert check(model)[0] == 0


def test_a_mask_of_infinity(check: Check) -> None:
    graph = Graph(opset=17)
    mask = np.where(np.arange(4) == 1, -np.inf, 0).astype(np.float32)
    assert check(graph.model(graph.input("x", [1, 5], dynamic={0: "n"}).gemm(4) + graph.constant(mask)))[0] == 0


def test_noise_leaves_shapes_to_compare(check: Check) -> None:
    graph = Graph(opset=17)
    x = graph.input("x", [1, 3, 6, 6], dynamic={0: "n"}).conv(4)
    code, said = check(graph.model((x + graph.op("RandomNormalLike", x)).conv(2)))
    assert (code, said) == (0, "the shapes are the same; the model draws random numbers, so values can't be compared\n")


def chaotic(depth: int) -> onnx.ModelProto:
    """Waves of waves: a difference in the last digit of float32 grows by a factor of some 40 a layer."""
    graph = Graph(opset=17)
    x = graph.input("x", [1, 3, 6, 6], dynamic={0: "n"}).conv(8)
    for _ in range(depth):
        x = graph.op("Sin", x.conv(8) * graph.constant(np.float32(40)))
    return graph.model(x.conv(5))


def test_rounding_is_no_difference(check: Check) -> None:
    code, said = check(chaotic(3))
    assert code == 0
    assert "can't tell: in float32 rounding alone makes" in said


def test_a_difference_is_one(check: Check, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    assert check(chaotic(0))[0] == 0
    path = tmp_path / "out" / "model.safetensors"
    weights = load_file(path)
    key = next(iter(weights))
    save_file({**weights, key: weights[key] * 1.01}, path)
    monkeypatch.setattr(chanc, "codegen", lambda *_: None)
    assert check(chaotic(0))[0] == 1
