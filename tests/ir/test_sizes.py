from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

import chanc
from chanc.errors import ModelError
from chanc.ir import load
from chanc.ir.sizes import bind, names_in, others, per_sample, release, sizes_of, worked_out
from chanc.testing.builders import build

BODY = "h = MatMul(x, w1)\n r = Relu(h)\n y = MatMul(r, w2)"
WEIGHTS = {"w1": (6, 16), "w2": (16, 5)}


def model(inputs: str = "float[N,T,6] x", outputs: str = "float[N,T,5] y") -> onnx.ModelProto:
    return build(inputs, outputs, BODY, WEIGHTS)


def shapes(loaded: ir.Model) -> list[str]:
    return [str(value.shape) for value in (*loaded.graph.inputs, *loaded.graph.outputs)]


def test_a_dimension_has_its_size_wherever_its_name_stands() -> None:
    assert shapes(load(model(), dims={"T": 24})) == ["[N,24,6]", "[N,24,5]"]


def test_a_shape_gives_the_dimensions_of_an_input() -> None:
    assert sizes_of(load(model()), shapes={"x": [2, 24, 6]}) == {"N": 2, "T": 24}
    assert shapes(load(model(), shapes={"x": [2, 24, 6]})) == ["[2,24,6]", "[2,24,5]"]


def test_axes_without_a_name_are_called_by_input_and_number() -> None:
    nameless = model()
    for dim in nameless.graph.input[0].type.tensor_type.shape.dim[:2]:
        dim.Clear()
    assert shapes(load(nameless, dims={"x:1": 24})) == ["[None,24,6]", "[N,T,5]"]
    assert sizes_of(load(nameless), shapes={"x": [2, 24, 6]}) == {"x:0": 2, "x:1": 24}


def test_axes_that_paddle_writes_as_minus_one() -> None:
    minus = model()
    minus.graph.input[0].type.tensor_type.shape.dim[1].dim_value = -1
    assert shapes(load(minus, dims={"x:1": 24}))[0] == "[N,24,6]"


def test_what_is_bound_is_released() -> None:
    loaded = load(model())
    before = shapes(loaded)
    opened = bind(loaded, {"T": 24})
    assert shapes(loaded) != before
    release(loaded, opened)
    assert shapes(loaded) == before


def test_an_input_without_a_shape() -> None:
    bare = model()
    bare.graph.input[0].type.tensor_type.ClearField("shape")
    loaded = load(bare)
    opened = bind(loaded, sizes_of(loaded, shapes={"x": [2, 24, 6]}))
    assert shapes(loaded)[0] == "[2,24,6]"
    release(loaded, opened)
    assert loaded.graph.inputs[0].shape is None


def test_a_batch_is_no_size_of_a_sample() -> None:
    loaded = load(model())
    assert per_sample(loaded, {"N": 2, "T": 24}) == {"T": 24}
    bare = model()
    bare.graph.input[0].type.tensor_type.ClearField("shape")
    loaded = load(bare)
    bind(loaded, per_sample(loaded, sizes_of(loaded, shapes={"x": [2, 24, 6]})))
    assert shapes(loaded)[0] == "[None,24,6]"


def test_two_other_sizes() -> None:
    assert others({"T": 24, "N": 1}) == ({"T": 12, "N": 2}, {"T": 48, "N": 3})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dims": {"Q": 3}}, "no open axis of the model's inputs is called 'Q'; there are N, T"),
        ({"dims": {"T": 0}}, "the size of 'T' must be at least 1, not 0"),
        ({"shapes": {"z": [3]}}, "the model has no input 'z'; it has x"),
        ({"shapes": {"x": [2, 24]}}, "the shape 2,24 has 2 axes, input 'x' has 3"),
        ({"shapes": {"x": [2, 24, 7]}}, "the shape 2,24,7 doesn't fit input 'x', which has 6 on axis 2"),
        ({"shapes": {"x": [2, 24, 6]}, "dims": {"T": 12}}, "the axes called 'T' can't be 12 and 24 at once"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(given: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(ModelError, match="^" + message.replace("?", r"\?") + "$"):
        load(model(), **given)


def test_counts_are_made_at_the_sizes_given() -> None:
    found = chanc.analyze(model(), dims={"T": 24})
    assert found.macs == 24 * (6 * 16 + 16 * 5)
    assert chanc.analyze(model(), shapes={"x": [2, 24, 6]}).macs == found.macs  # of one sample
    assert chanc.analyze(model()).macs < found.macs


def test_the_rewritten_model_is_open_again() -> None:
    made = chanc.rewrite(load(model()), scale=0.5, dims={"T": 24}).model
    assert shapes(made) == ["[N,T,6]", "[N,T,5]"]
    chanc.verify(made, made, dims={"T": 7})


def test_an_input_without_a_shape_may_be_called_by_axis() -> None:
    bare = model()
    bare.graph.input[0].type.tensor_type.ClearField("shape")
    assert shapes(load(bare, dims={"x:0": 2, "x:1": 24, "x:2": 6}))[0] == "[2,24,6]"


@pytest.mark.parametrize(
    ("name", "names", "value"),
    [
        ("past + length", {"past", "length"}, 5),
        ("2*past", {"past"}, 4),
        ("past", set(), 2),
        ("past - length", {"past", "length"}, None),
        ("9**9**9**9", set(), None),
        ("past//0", set(), None),
        ("floor(", set(), None),
        ("(" * 5000, set(), None),
        ("a name, as it comes", set(), None),
    ],
)
def test_the_name_of_a_dimension_is_read_but_no_work_order(name: str, names: set[str], value: int | None) -> None:
    assert names_in(name) == names
    assert worked_out(name, {"past": 2, "length": 3}) == value


def test_a_model_may_call_its_dimensions_as_it_likes() -> None:
    hostile = model("float[N,T,6] x")
    hostile.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "9**9**9**9"
    assert chanc.analyze(hostile).group("w1").resizable
    assert chanc.verify(hostile, hostile).agrees
