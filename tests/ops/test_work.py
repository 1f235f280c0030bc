"""What operators compute, by hand; sizes are small and all different, so that no axis passes for another."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from chanc.cost.cost import Cost, cost

MS = "com.microsoft"


def single(
    op: str,
    inputs: dict[str, tuple[int, ...] | np.ndarray],
    outputs: dict[str, tuple[int, ...]],
    *,
    domain: str = "",
    opset: int = 23,
    **attributes: object,
) -> Cost:
    """The cost of one node; arrays among its inputs are initializers."""
    node = helper.make_node(op, list(inputs), list(outputs), domain=domain, **attributes)
    free = [value(name, shape) for name, shape in inputs.items() if name and isinstance(shape, tuple)]
    held = [numpy_helper.from_array(array, name) for name, array in inputs.items() if isinstance(array, np.ndarray)]
    results = [value(name, shape) for name, shape in outputs.items()]
    graph = helper.make_graph([node], "g", free, results, held)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(MS, 1), helper.make_opsetid("mine", 1)]
    return cost(ir.from_proto(helper.make_model(graph, opset_imports=imports)))


def value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("equation", "left", "right", "result", "macs"),
    [
        ("bij,bjk->bik", (1, 3, 5), (1, 5, 7), (1, 3, 7), 3 * 5 * 7),
        ("bij,bjk", (1, 3, 5), (1, 5, 7), (3, 7), 3 * 5 * 7),
        ("bhid,bhjd->bhij", (1, 2, 3, 5), (1, 2, 7, 5), (1, 2, 3, 7), 2 * 3 * 5 * 7),
        ("...ij,jk->...ik", (1, 4, 3, 5), (5, 7), (1, 4, 3, 7), 4 * 3 * 5 * 7),
    ],
)
def test_einsum(equation, left, right, result, macs: int) -> None:
    assert single("Einsum", {"a": left, "b": right}, {"y": result}, equation=equation) == Cost(0, macs, macs)


def test_einsum_of_one_operand_moves() -> None:
    assert single("Einsum", {"a": (1, 3, 5)}, {"y": (1, 5, 3)}, equation="bij->bji") == Cost(0, 0, 0)


def test_einsum_with_a_weight() -> None:
    found = single("Einsum", {"a": (1, 3, 5), "w": floats(5, 7)}, {"y": (1, 3, 7)}, equation="bij,jk->bik")
    assert found == Cost(35, 105, 105)


@pytest.mark.parametrize("shapes", [
    ((1, 2, 3, 5), (1, 2, 7, 5), (1, 2, 7, 11), (1, 2, 3, 11)),
    ((1, 3, 10), (1, 7, 10), (1, 7, 22), (1, 3, 22)),
])  # fmt: skip
def test_attention_multiplies_twice(shapes) -> None:
    query, key, values, result = shapes
    heads = {} if len(query) == 4 else {"q_num_heads": 2, "kv_num_heads": 2}
    found = single("Attention", {"q": query, "k": key, "v": values}, {"y": result}, **heads)
    assert found.macs == 2 * 3 * 7 * (5 + 11)


def test_attention_reads_past_keys() -> None:
    inputs = {"q": (1, 2, 3, 5), "k": (1, 2, 7, 5), "v": (1, 2, 7, 5), "": (), "pk": (1, 2, 4, 5), "pv": (1, 2, 4, 5)}
    assert single("Attention", inputs, {"y": (1, 2, 3, 5)}).macs == 2 * 3 * (7 + 4) * (5 + 5)


def test_attention_of_onnxruntime_projects_first() -> None:
    inputs = {"x": (1, 3, 5), "w": floats(5, 24), "b": floats(24)}
    found = single("Attention", inputs, {"y": (1, 3, 8)}, domain=MS, num_heads=2)
    assert found == Cost(5 * 24 + 24, 3 * 5 * 24 + 2 * 3 * 3 * 8, 3 * 5 * 24 + 2 * 3 * 3 * 8)


def test_multi_head_attention_of_onnxruntime() -> None:
    inputs = {"q": (1, 3, 8), "k": (1, 7, 8), "v": (1, 7, 8)}
    assert single("MultiHeadAttention", inputs, {"y": (1, 3, 8)}, domain=MS, num_heads=2).macs == 2 * 3 * 7 * 8


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent(op: str, gates: int, directions: int) -> None:
    steps, width, hidden = 6, 5, 7
    weight, recurrence = floats(directions, gates * hidden, width), floats(directions, gates * hidden, hidden)
    inputs = {"x": (1, steps, width), "w": weight, "r": recurrence, "b": floats(directions, 2 * gates * hidden)}
    direction = "bidirectional" if directions == 2 else "forward"
    found = single(op, inputs, {"y": (1, steps, directions, hidden)}, direction=direction, hidden_size=hidden, layout=1)
    matrices = directions * gates * hidden * (width + hidden)
    assert found == Cost(matrices + directions * 2 * gates * hidden, steps * matrices, steps * matrices)


@pytest.mark.parametrize("op", ["Swish", "Mish", "Softplus", "Tanh", "Sigmoid", "Gelu", "HardSwish"])
def test_activations_count_their_elements(op: str) -> None:
    assert single(op, {"x": (1, 3, 5)}, {"y": (1, 3, 5)}, opset=24) == Cost(0, 0, 15)


def test_the_scale_of_an_rms_norm_is_a_parameter() -> None:
    found = single("RMSNormalization", {"x": (1, 3, 5), "s": floats(5)}, {"y": (1, 3, 5)}, axis=-1)
    assert found == Cost(5, 0, 30)


def test_packed_weights() -> None:
    inputs = {"x": (1, 3, 64), "w": np.zeros((7, 2, 16), np.uint8), "s": floats(14)}
    found = single("MatMulNBits", inputs, {"y": (1, 3, 7)}, domain=MS, K=64, N=7, bits=4, block_size=32)
    assert found.macs == 3 * 64 * 7


@pytest.mark.parametrize(("op", "domain"), [("Secret", "mine"), ("LongformerAttention", MS), ("STFT", "")])
def test_what_has_no_formula_is_named(op: str, domain: str) -> None:
    found = single(op, {"x": (1, 3, 5)}, {"y": (1, 3, 5)}, domain=domain)
    assert found == Cost(0, 0, 0, ("y",))
