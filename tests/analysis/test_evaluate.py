"""The content of shape chains against onnx's reference implementation, and with unknown sizes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from chanc.analysis.dims import Size, applied, floor_divide, multiply, unknown
from chanc.analysis.evaluate import EVALUATORS, evaluate, folded, onnx_slice

N, H, W = unknown("N"), unknown("H"), unknown("W")
A = np.array([[3, -4, 7], [2, 5, -6]])
B = np.array([2, -3, 4])
CASES = {
    "add": ("y = Add(a, b)", {"a": A, "b": B}),
    "sub": ("y = Sub(a, b)", {"a": A, "b": B}),
    "mul": ("y = Mul(a, b)", {"a": A, "b": B}),
    "div_towards_zero": ("y = Div(a, b)", {"a": A, "b": B}),
    "mod_sign_of_divisor": ("y = Mod(a, b)", {"a": A, "b": B}),
    "fmod_sign_of_dividend": ("y = Mod<fmod=1>(a, b)", {"a": A, "b": B}),
    "pow": ("y = Pow(a, b)", {"a": np.array([2, 3]), "b": np.array([3, 2])}),
    "max": ("y = Max(a, b)", {"a": A, "b": B}),
    "min": ("y = Min(a, b)", {"a": A, "b": B}),
    "equal": ("y = Equal(a, b)", {"a": A, "b": np.array([3, 5, 7])}),
    "greater": ("y = Greater(a, b)", {"a": A, "b": B}),
    "less": ("y = Less(a, b)", {"a": A, "b": B}),
    "greater_or_equal": ("y = GreaterOrEqual(a, b)", {"a": A, "b": B}),
    "less_or_equal": ("y = LessOrEqual(a, b)", {"a": A, "b": B}),
    "and": ("y = And(a, b)", {"a": np.array([True, False]), "b": np.array([True, True])}),
    "xor": ("y = Xor(a, b)", {"a": np.array([True, False]), "b": np.array([True, True])}),
    "not": ("y = Not(a)", {"a": np.array([True, False])}),
    "neg": ("y = Neg(a)", {"a": A}),
    "clip": ("y = Clip(a, l, h)", {"a": A, "l": np.array(-2), "h": np.array(4)}),
    "clip_below": ("y = Clip(a, l)", {"a": A, "l": np.array(0)}),
    "abs": ("y = Abs(a)", {"a": A}),
    "sign": ("y = Sign(a)", {"a": A}),
    "floor": ("y = Floor(a)", {"a": np.array([1.5, -1.5], np.float32)}),
    "ceil": ("y = Ceil(a)", {"a": np.array([1.5, -1.5], np.float32)}),
    "round_half_to_even": ("y = Round(a)", {"a": np.array([0.5, 1.5, -2.5], np.float32)}),
    "cast_float": ("y = Cast<to=1>(a)", {"a": A}),
    "cast_towards_zero": ("y = Cast<to=7>(a)", {"a": np.array([1.7, -1.7], np.float32)}),
    "concat": ("y = Concat<axis=-1>(a, b)", {"a": A, "b": A}),
    "gather": ("y = Gather<axis=1>(a, i)", {"a": A, "i": np.array([2, -1, 0])}),
    "gather_scalar": ("y = Gather(a, i)", {"a": B, "i": np.array(1)}),
    "gather_nd": ("y = GatherND(a, i)", {"a": A, "i": np.array([[0, 2], [1, 0]])}),
    "slice_steps": ("y = Slice(a, s, e, x, t)", {
        "a": A, "s": np.array([-1, 0]), "e": np.array([-9, 9]), "x": np.array([1, 0]), "t": np.array([-2, 1]),
    }),
    "slice_all_axes": ("y = Slice(a, s, e)", {"a": A, "s": np.array([1, 1]), "e": np.array([9, -1])}),
    "unsqueeze": ("y = Unsqueeze(a, x)", {"a": A, "x": np.array([0, -1])}),
    "squeeze": ("y = Squeeze(a, x)", {"a": A[None], "x": np.array([0])}),
    "squeeze_all": ("y = Squeeze(a)", {"a": A[None]}),
    "reshape_zero_and_rest": ("y = Reshape(a, s)", {"a": A, "s": np.array([0, -1, 1])}),
    "flatten": ("y = Flatten<axis=0>(a)", {"a": A}),
    "transpose": ("y = Transpose(a)", {"a": A}),
    "transpose_perm": ("y = Transpose<perm=[1, 0, 2]>(a)", {"a": A[None]}),
    "expand": ("y = Expand(a, s)", {"a": B, "s": np.array([2, 1])}),
    "tile": ("y = Tile(a, r)", {"a": A, "r": np.array([2, 1])}),
    "constant_of_shape": ("y = ConstantOfShape<value=int64[1] {4}>(s)", {"s": np.array([2, 3])}),
    "zeros_of_shape": ("y = ConstantOfShape(s)", {"s": np.array([2, 3])}),
    "range": ("y = Range(a, b, d)", {"a": np.array(9), "b": np.array(1), "d": np.array(-3)}),
    "where": ("y = Where(c, a, b)", {"c": A > 0, "a": A, "b": B}),
    "scatter_nd": ("y = ScatterND(a, i, u)", {"a": B, "i": np.array([[2], [0]]), "u": np.array([8, 9])}),
    "reduce_prod": ("y = ReduceProd<axes=[0], keepdims=0>(a)", {"a": A}),
    "reduce_sum": ("y = ReduceSum(a, x)", {"a": A, "x": np.array([1])}),
    "reduce_max_all": ("y = ReduceMax<keepdims=0>(a)", {"a": A}),
    "reduce_nothing": ("y = ReduceSum<noop_with_empty_axes=1>(a)", {"a": A}),
    "cumsum": ("y = CumSum(a, x)", {"a": A, "x": np.array(1)}),
    "trilu_upper": ("y = Trilu<upper=1>(a, k)", {"a": A, "k": np.array(1)}),
    "trilu_lower": ("y = Trilu<upper=0>(a)", {"a": A}),
}  # fmt: skip


def node(body: str, arrays: dict[str, np.ndarray]) -> tuple[ir.Node, onnx.ModelProto]:
    """The node of a model of one node, and the model."""
    kinds = {"b": "bool", "i": "int64", "f": "float"}
    inputs = ", ".join(f"{kinds[a.dtype.kind]}[{','.join(map(str, a.shape))}] {name}" for name, a in arrays.items())
    graph = onnx.parser.parse_graph(f"g ({inputs}) => (float y) {{ {body} }}")
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return next(iter(ir.from_proto(model).graph)), model


@pytest.mark.parametrize("name", CASES)
def test_against_the_reference(name: str) -> None:
    body, arrays = CASES[name]
    made, model = node(body, arrays)
    found = evaluate(made, [arrays[str(v.name)] for v in made.inputs if v is not None])
    assert found is not None
    (expected,) = ReferenceEvaluator(model).run(None, arrays)
    np.testing.assert_array_equal(found, expected)
    assert found.shape == np.shape(expected)
    assert found.dtype == np.asarray(expected).dtype


def test_every_evaluator_is_compared() -> None:
    """Identity and Sqrt apart, which need no case; Or is And's sibling."""
    compared = {node(body, arrays)[0].op_type for body, arrays in CASES.values()}
    assert set(EVALUATORS) - compared <= {"Identity", "Sqrt", "Or", "ReduceMin"}


def objects(*sizes: Size) -> np.ndarray:
    array = np.empty(len(sizes), dtype=object)
    array[:] = sizes
    return array


def made(op: str, count: int = 2, **attributes: int) -> ir.Node:
    inputs = [ir.Value(name=f"i{k}", type=ir.TensorType(ir.DataType.INT64)) for k in range(count)]
    return ir.Node("", op, inputs, [ir.AttrInt64(name, value) for name, value in attributes.items()])


def of_floats(op: str, count: int = 2) -> ir.Node:
    return ir.Node("", op, [ir.Value(name=f"i{k}", type=ir.TensorType(ir.DataType.FLOAT)) for k in range(count)])


def test_unknown_sizes_go_through_a_shape_chain() -> None:
    shape = objects(N, 6, H, W)
    picked = evaluate(made("Gather", axis=0), [shape, np.array([2, 3])])
    assert picked is not None
    area = evaluate(made("ReduceProd", 1, keepdims=1), [picked])
    joined = evaluate(made("Concat", axis=0), [np.array([-1, 6]), area])
    assert joined is not None
    assert joined.tolist() == [-1, 6, multiply(H, W)]


def test_arithmetic_with_unknown_sizes() -> None:
    assert evaluate(made("Mul"), [objects(H), np.array([2])]).tolist() == [multiply(H, 2)]
    assert evaluate(made("Div"), [objects(multiply(H, 4)), np.array([2])]).tolist() == [multiply(H, 2)]
    assert evaluate(made("Div"), [objects(H), np.array([2])]).tolist() == [floor_divide(H, 2)]
    assert evaluate(made("Sub"), [objects(H), objects(H)]).tolist() == [0]
    assert evaluate(made("Mod"), [objects(multiply(H, 4)), np.array([2])]).tolist() == [0]
    assert evaluate(made("Max"), [objects(H), np.array([2])]).tolist() == [applied("Max", H, 2)]
    assert evaluate(made("Max"), [objects(H, 3), np.array([1, 2])]).tolist()[1] == 3


def test_known_results_are_integers_again() -> None:
    found = evaluate(made("Gather", axis=0), [objects(N, 6, H), np.array([1])])
    total = evaluate(made("Mul"), [found, np.array([2])])
    assert total.dtype == np.int64
    assert total.tolist() == [12]


@pytest.mark.parametrize(("op", "other", "expected"), [("Equal", -1, False), ("Greater", 0, True), ("Less", 0, False)])
def test_an_unknown_size_is_at_least_one(op: str, other: int, expected: bool) -> None:
    assert evaluate(made(op), [objects(H), np.array([other])]).tolist() == [expected]


@pytest.mark.parametrize("op", ["Equal", "Greater", "Less"])
def test_other_comparisons_with_unknown_sizes_are_open(op: str) -> None:
    assert evaluate(made(op), [objects(H), np.array([3])]) is None


@pytest.mark.parametrize("op", ["Equal", "Greater", "Less"])
def test_what_is_computed_may_be_zero(op: str) -> None:
    """An amount to pad, clipped at 0, is no axis: a branch that depends on it stays open."""
    amount = evaluate(made("Clip"), [objects(H), np.array(0)])
    assert evaluate(made(op), [amount, np.array([0])]) is None


def test_a_fraction_is_told_from_what_it_is_rounded_to() -> None:
    half = evaluate(of_floats("Mul"), [objects(H), np.array([0.5], np.float32)])
    floor, ceil = (evaluate(of_floats(op, 1), [half]) for op in ("Floor", "Ceil"))
    whole = evaluate(made("Cast", 1, to=7), [half])
    assert len({half.tolist()[0], floor.tolist()[0], ceil.tolist()[0]}) == 3
    assert whole.tolist() == floor.tolist() == evaluate(of_floats("Floor", 1), [whole]).tolist()
    assert evaluate(of_floats("Mul"), [floor, np.array([2])]).tolist() != [H]


def test_long_names_stay_short_and_tell_apart() -> None:
    sizes = [objects(H), objects(W)]
    for _ in range(40):
        sizes = [evaluate(made("Sub"), [size, evaluate(made("Max"), [size, np.array([3])])]) for size in sizes]
    names = [size.tolist()[0].atoms[0] for size in sizes]
    assert names[0] != names[1]
    assert max(map(len, names)) < 100


def test_a_size_equals_itself() -> None:
    assert evaluate(made("Equal"), [objects(H, W), objects(H, W)]).tolist() == [True, True]


def test_what_is_not_in_the_table_gives_none() -> None:
    assert evaluate(made("Conv"), [A, B]) is None
    assert evaluate(ir.Node("my", "Add", [None, None]), [A, B]) is None
    assert evaluate(made("Add"), [A, np.arange(2)]) is None


def test_large_results_give_none() -> None:
    assert evaluate(made("Expand"), [np.array([1]), np.array([1 << 40])]) is None


@pytest.mark.parametrize("size", [1, 4, 7])
@pytest.mark.parametrize("step", [1, 2, -1, -3])
def test_slices_clamp_as_onnx_does(size: int, step: int) -> None:
    for start in range(-size - 2, size + 3):
        for end in (*range(-size - 2, size + 3), 2**31 - 1, -(2**31)):
            data = np.arange(size)
            low, high = (0, size) if step > 0 else (-1, size - 1)
            first = min(max(start + size if start < 0 else start, 0), size if step > 0 else size - 1)
            last = min(max(end + size if end < 0 else end, low), high)
            expected = [n for n in range(first, last, step) if 0 <= n < size]
            assert data[onnx_slice(start, end, step, size)].tolist() == expected, (start, end)


def test_a_sum_of_sums_is_computed_once() -> None:
    """Forty additions of a number to itself: 2^40 ways lead to the first."""
    lines = "".join(f"a{k + 1} = Add(a{k}, a{k})\n" for k in range(40))
    text = f'<ir_version: 9, opset_import: ["": 17]> g () => (int64[1] a40) <int64[1] a0 = {{1}}> {{ {lines} }}'
    graph = ir.from_proto(onnx.parser.parse_model(text)).graph
    found = folded(graph.outputs[0])
    assert found is not None
    assert found.tolist() == [1 << 40]


@pytest.mark.parametrize("op", ["Add", "Less", "Where", "And"])
def test_vectors_that_meet_in_a_huge_matrix_are_not_read_through(op: str) -> None:
    row, column = np.ones((1, 1 << 17), bool), np.ones((1 << 17, 1), bool)
    given = [row, row, column] if op == "Where" else [row, column]
    node = ir.node(op, [ir.Value(name=f"i{k}") for k in range(len(given))])
    assert evaluate(node, given) is None
