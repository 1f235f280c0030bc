"""onnxruntime's own fused operators (com.microsoft): each against onnxruntime."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

MS = "com.microsoft"


def const(array):
    return ("const", np.asarray(array))


def r(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("activation", "parameters"),
    [
        ("Relu", []), ("Sigmoid", []), ("Tanh", []), ("LeakyRelu", [0.2]), ("Clip", [-0.5, 0.7]),
        ("HardSigmoid", [0.3, 0.4]),
    ],
)  # fmt: skip
def test_fused_conv(agrees, activation, parameters):
    attrs = {"activation": activation, "activation_params": parameters} if parameters else {"activation": activation}
    given = {"domain": MS, "pads": [1, 0, 1, 0], "strides": [2, 1], **attrs}
    x, w, b = r(2, 4, 7, 6), const(r(8, 4, 3, 3, seed=1)), const(r(8, seed=2))
    assert "nn.Conv2d(" in agrees("FusedConv", x, w, b, **given).source
    agrees("FusedConv", x, w, **given)
    agrees("FusedConv", x, w, b, r(2, 8, 4, 4, seed=3), **given)


def test_fused_conv_refuses_other_activations(refused):
    message = refused("FusedConv", r(1, 2, 4, 4), const(r(2, 2, 1, 1)), domain=MS, activation="Softmax")
    assert "the activation 'Softmax'" in message
    assert "with 0 parameters" in refused(
        "FusedConv", r(1, 2, 4, 4), const(r(2, 2, 1, 1)), domain=MS, activation="LeakyRelu"
    )


@pytest.mark.parametrize(("flip_a", "flip_b"), list(itertools.product([0, 1], [0, 1])))
def test_fused_gemm(agrees, flip_a, flip_b):
    a, b = r(3, 4), r(4, 5, seed=1)
    a, b = (a.T.copy() if flip_a else a), (b.T.copy() if flip_b else b)
    given = {"transA": flip_a, "transB": flip_b, "domain": MS}
    agrees("FusedGemm", a, const(b), const(r(5, seed=2)), activation="Relu", **given)
    agrees("FusedGemm", a, const(b), activation="LeakyRelu", activation_alpha=0.3, alpha=0.5, **given)


@pytest.mark.parametrize(("flip_a", "flip_b", "alpha"), list(itertools.product([0, 1], [0, 1], [1.0, 0.125])))
def test_fused_matmul(agrees, flip_a, flip_b, alpha):
    a, b = r(2, 3, 4), r(2, 4, 5, seed=1)
    a, b = (np.ascontiguousarray(x.swapaxes(1, 2)) if flip else x for x, flip in ((a, flip_a), (b, flip_b)))
    given = {"transA": flip_a, "transB": flip_b, "alpha": alpha, "domain": MS}
    agrees("FusedMatMul", a, b, **given)
    agrees("TransposeMatMul", a, b, **given)
    assert "nn.Linear(4, 5, bias=False)" in agrees("FusedMatMul", a, const(b[0]), **given).source


@pytest.mark.parametrize("op", ["BiasGelu", "FastGelu"])
def test_gelu_with_bias(agrees, op):
    agrees(op, r(2, 3, 8), const(r(8, seed=1)), domain=MS)
    agrees(op, r(2, 3, 8), r(8, seed=1), domain=MS)


def test_gelus(agrees):
    agrees("Gelu", r(2, 3, 8), domain=MS)
    agrees("FastGelu", r(2, 3, 8), domain=MS)
    agrees("QuickGelu", r(2, 3, 8), domain=MS)
    agrees("QuickGelu", r(2, 3, 8), alpha=1.0, domain=MS)


@pytest.mark.parametrize("wrap", [const, np.asarray])
def test_skip_layer_norm(agrees, wrap):
    x, skip = r(2, 3, 8), r(2, 3, 8, seed=1)
    gamma, beta, bias = (wrap(r(8, seed=seed)) for seed in (2, 3, 4))
    given = {"domain": MS, "epsilon": 1e-3}
    for rest in ([], [beta], [beta, bias], [None, bias]):
        agrees("SkipLayerNormalization", x, skip, gamma, *rest, **given)
    agrees("SkipSimplifiedLayerNormalization", x, skip, gamma, **given)
    agrees("SkipSimplifiedLayerNormalization", x, skip, gamma, bias, **given)
    agrees("SkipLayerNormalization", x, skip[:1], gamma, beta, **given)


def test_simplified_layer_norm(agrees):
    agrees("SimplifiedLayerNormalization", r(2, 3, 8), const(r(8, seed=1)), epsilon=1e-3)
    agrees("SimplifiedLayerNormalization", r(2, 3, 8), const(r(8, seed=1)), outs=2)
    agrees("SimplifiedLayerNormalization", r(2, 3, 8), const(r(3, 8, seed=1)), axis=1)


@pytest.mark.parametrize("causal", [0, 1])
def test_multi_head_attention(agrees, causal):
    q, k, v, bias = r(2, 5, 12), r(2, 5, 12, seed=1), r(2, 5, 12, seed=2), const(r(36, seed=3))
    given = {"num_heads": 3, "unidirectional": causal, "domain": MS, "tolerance": 1e-5}
    agrees("MultiHeadAttention", q, k, v, **given)
    agrees("MultiHeadAttention", q, k, v, bias, scale=0.3, **given)
    agrees("MultiHeadAttention", q, k, v, bias, None, r(2, 3, 5, 5, seed=4), **given)
    past = r(2, 3, 2, 4, seed=5), r(2, 3, 2, 4, seed=6)
    agrees("MultiHeadAttention", q, k, v, None, None, None, *past, outs=3, **given)


def test_attention_to_another_sequence(agrees, refused):
    q, k, v, bias = r(2, 5, 12), r(2, 7, 12, seed=1), r(2, 7, 12, seed=2), const(r(36, seed=3))
    mask = np.array([[1] * 7, [1] * 4 + [0] * 3], dtype=np.int32)
    given = {"num_heads": 3, "domain": MS, "tolerance": 1e-5}
    agrees("MultiHeadAttention", q, k, v, bias, const(mask), **given)
    agrees("MultiHeadAttention", q, k, v, bias, mask, r(1, 3, 5, 7, seed=4), **given)
    assert "counts the keys" in refused("MultiHeadAttention", q, k, v, bias, np.int32([7, 4]), **given)


def packed_attention(*operands: np.ndarray) -> torch.Tensor:
    from chanc.backends.torch import build

    names = [f"x{k}" for k, _ in enumerate(operands)]
    node = helper.make_node("MultiHeadAttention", names, ["y"], num_heads=3, domain=MS)
    inputs = [helper.make_tensor_value_info(f"x{k}", 1, operand.shape) for k, operand in enumerate(operands)]
    made = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", 1, [2, 5, 12])])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)]
    module = build(helper.make_model(made, opset_imports=opsets, ir_version=8)).module
    return module(*map(torch.from_numpy, operands))


def test_operands_that_are_packed_or_split(agrees, refused):
    """onnxruntime has packed ones on GPUs only: they are what they are packed of."""
    q, k, v = r(2, 5, 12), r(2, 7, 12, seed=1), r(2, 7, 12, seed=2)
    heads = [part.reshape(2, 7, 3, 4) for part in (k, v)]
    given = {"num_heads": 3, "domain": MS, "tolerance": 1e-5}
    split = [np.ascontiguousarray(part.swapaxes(1, 2)) for part in heads]
    agrees("MultiHeadAttention", q, *split, **given)
    whole = agrees("MultiHeadAttention", q, k, v, **given).module(*map(torch.from_numpy, (q, k, v)))
    torch.testing.assert_close(packed_attention(q, np.stack(heads, 3)), whole)
    alike = r(3, 2, 5, 3, 4)
    parts = [torch.from_numpy(part).flatten(2) for part in alike]
    whole = agrees("MultiHeadAttention", *map(torch.Tensor.numpy, parts), **given).module(*parts)
    torch.testing.assert_close(packed_attention(np.stack(alike, 3)), whole)
    assert "other axes" in refused("MultiHeadAttention", q, *split, const(r(36)), num_heads=3, domain=MS)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rotary", [0, 1])
def test_grouped_queries(agrees, refused, packed, rotary):
    """A first prompt, one more word for samples of several lengths, and several more for all."""
    tables = [const(r(16, 8, seed=5)), const(r(16, 8, seed=6))] if rotary else []

    def ask(length: int, there: list[int], past: int, **more):
        count = len(there)
        q, k, v = r(count, length, 64), r(count, length, 32, seed=1), r(count, length, 32, seed=2)
        first = [np.concatenate([q, k, v], -1), None, None] if packed else [q, k, v]
        caches = [r(count, 2, past, 16, seed=3), r(count, 2, past, 16, seed=4)] if past else [None, None]
        sizes = [const(np.int32(there) - 1), const(np.int32(max(there)))]
        given = {"num_heads": 4, "kv_num_heads": 2, "do_rotary": rotary, "outs": 3, "domain": MS, **more}
        return agrees("GroupQueryAttention", *first, *caches, *sizes, *tables, tolerance=1e-5, **given)

    ask(5, [5, 5], 0)
    ask(5, [5, 5], 0, scale=0.2, softcap=1.5)
    ask(5, [5, 5], 0, local_window_size=2)
    ask(1, [7, 7], 6)
    ask(1, [8, 8], 8)
    ask(1, [8, 5], 8)
    ask(3, [9], 6)
    ask(1, [9, 9], 8, local_window_size=3)
    ask(5, [5, 5], 0, rotary_interleaved=1)


def test_grouped_queries_with_a_bias(agrees, refused):
    q, k, v, bias = r(2, 5, 32), r(2, 5, 16, seed=1), r(2, 5, 16, seed=2), r(1, 4, 5, 5, seed=3)
    sizes = const(np.int32([4, 4])), const(np.int32(5))
    given = {"num_heads": 4, "kv_num_heads": 2, "domain": MS}
    agrees("GroupQueryAttention", q, k, v, None, None, *sizes, None, None, None, bias, tolerance=1e-5, outs=3, **given)
    said = refused("GroupQueryAttention", q, k, v, None, None, *sizes, smooth_softmax=1, outs=3, **given)
    assert "smooth softmax" in said


def test_embeddings_with_a_norm(agrees, refused):
    ids = np.int32([[1, 2, 3, 0], [4, 5, 0, 2]])
    tables = [const(r(rows, 8, seed=rows)) for rows in (6, 9, 2)]
    norm = [const(r(8, seed=1)), const(r(8, seed=2))]
    given = {"domain": MS, "epsilon": 1e-5, "tolerance": 1e-5, "outs": 2}
    agrees("EmbedLayerNormalization", ids, ids % 2, *tables, *norm, **given)
    agrees("EmbedLayerNormalization", ids, ids % 2, *tables, *norm, **given | {"outs": 3})
    agrees("EmbedLayerNormalization", ids, None, *tables[:2], None, *norm, **given)
    agrees("EmbedLayerNormalization", ids, ids % 2, *tables, *norm, None, ids[:, ::-1].copy(), **given)
    mask = np.int32([[1, 1, 1, 0], [1, 1, 1, 1]])
    assert "number of words" in refused("EmbedLayerNormalization", ids, ids, *tables, *norm, mask, outs=2, domain=MS)


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_with_its_projections(agrees, causal):
    x, w, bias = r(2, 5, 8), const(r(8, 36, seed=1)), const(r(36, seed=2))
    given = {"num_heads": 3, "unidirectional": causal, "domain": MS, "tolerance": 1e-5}
    agrees("Attention", x, w, bias, **given)
    agrees("Attention", x, w, bias, const(np.array([[1] * 5, [1, 1, 1, 0, 0]], dtype=np.int32)), **given)
    agrees("Attention", x, const(r(8, 30, seed=1)), const(r(30)), qkv_hidden_sizes=[12, 12, 6], **given)
    agrees("Attention", x, w, bias, None, r(2, 2, 3, 4, 4, seed=3), outs=2, **given)


@pytest.mark.parametrize(("interleaved", "opset"), list(itertools.product([0, 1], [0, 23])))
def test_rotary_embedding(agrees, interleaved, opset):
    positions = np.array([[0, 1, 2, 3, 4], [3, 4, 5, 6, 7]], dtype=np.int64)
    cos, sin = const(r(9, 4, seed=1)), const(r(9, 4, seed=2))
    given = {"interleaved": interleaved, **({"opset": opset} if opset else {"domain": MS})}

    def order(x, positions, cos, sin):
        return (x, cos, sin, positions) if opset else (x, positions, cos, sin)

    built = agrees("RotaryEmbedding", *order(r(2, 3, 5, 8), positions, cos, sin), **given)
    assert not list(built.module.parameters())
    agrees("RotaryEmbedding", *order(r(2, 5, 24), positions, cos, sin), num_heads=3, **given)
    half = (const(r(9, 2, seed=1)), const(r(9, 2, seed=2)))
    agrees("RotaryEmbedding", *order(r(2, 5, 24), positions, *half), num_heads=3, rotary_embedding_dim=4, **given)
    if opset:
        agrees("RotaryEmbedding", r(2, 3, 5, 8), r(2, 5, 4, seed=1), r(2, 5, 4, seed=2), **given)
    else:
        agrees("RotaryEmbedding", r(2, 5, 24), np.int64([3]), cos, sin, **given)


@pytest.mark.parametrize(("bits", "columns"), list(itertools.product([4, 8], [64, 40])))
def test_packed_matrix(agrees, bits, columns):
    """Two blocks, of which the second may be filled up."""
    draw = np.random.default_rng(0)
    packed = draw.integers(0, 256, (6, 2, 32 * bits // 8), dtype=np.uint8)
    scales, zeros = (
        draw.random((6, 2), dtype=np.float32) / 16,
        draw.integers(0, 256, (6, 2 * bits // 8), dtype=np.uint8),
    )
    given = {"K": columns, "N": 6, "bits": bits, "block_size": 32, "domain": MS, "tolerance": 1e-5}
    x = r(2, 3, columns)
    agrees("MatMulNBits", x, const(packed), const(scales), **given)
    agrees("MatMulNBits", x, const(packed), const(scales), const(zeros), **given)
    agrees("MatMulNBits", x, const(packed), const(scales), None, None, const(r(6, seed=1)), **given)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_quantisation(agrees, shape):
    scale, zero = const(np.abs(r(*shape, seed=1)) + np.float32(0.1)), const(np.full(shape, 7, dtype=np.uint8))
    agrees("QuantizeLinear", 4 * r(2, 3, 5), scale, zero, axis=1, domain=MS)
    x = np.random.default_rng(2).integers(0, 256, (2, 3, 5), dtype=np.uint8)
    agrees("DequantizeLinear", x, scale, zero, axis=1, domain=MS)


def graph(nodes, shape, weights, outputs=("y",)) -> onnx.ModelProto:
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8)


def test_the_sum_of_a_skip_norm_is_an_output(matches):
    for op, empty in (("SkipLayerNormalization", ["", ""]), ("SkipSimplifiedLayerNormalization", ["", ""])):
        node = helper.make_node(op, ["x", "x", "g"], ["y", *empty, "s"], domain=MS)
        matches(graph([node], [2, 3, 8], {"g": r(8)}, ("y", "s")), {"x": r(2, 3, 8, seed=1)})


def test_widths_of_fused_convolutions_are_in_the_table(matches):
    """The table's entry is what makes the width: a module of another width is made by changing the number there."""
    nodes = [
        helper.make_node("FusedConv", ["x", "a.weight"], ["h"], activation="Relu", domain=MS),
        helper.make_node("FusedConv", ["h", "b.weight", "", "h"], ["k"], activation="Relu", domain=MS),
        helper.make_node("Conv", ["k", "c.weight"], ["y"]),
    ]
    weights = {"a.weight": r(8, 3, 1, 1), "b.weight": r(8, 8, 1, 1, seed=1), "c.weight": r(5, 8, 1, 1, seed=2)}
    built = matches(graph(nodes, [2, 3, 4, 4], weights), {"x": r(2, 3, 4, 4)})
    assert '"a": 8' in built.source
    changed: dict[str, object] = {"__name__": "changed"}
    exec(built.source.replace('"a": 8', '"a": 6'), changed)
    assert changed["Network"]()(torch.zeros(1, 3, 4, 4)).shape == (1, 5, 4, 4)


class Mixed(torch.nn.Module):
    """Convolutions with a residual sum, then a layer of a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.Conv2d(16, 16, 3, padding=1)
        self.up, self.down = torch.nn.Linear(16, 32), torch.nn.Linear(32, 16)
        self.first, self.last = torch.nn.LayerNorm(16), torch.nn.LayerNorm(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.a(x))
        x = torch.relu(x + self.b(x)).flatten(2).transpose(1, 2)
        y = self.first(x)
        return self.last(y + self.down(torch.nn.functional.gelu(self.up(y))))


def test_what_onnxruntime_makes_of_a_network_is_written(matches, tmp_path):
    """Its optimizer at work: the file that it saves has operators of its own domain."""
    import onnxruntime

    from chanc.frontends.torch import export

    export(Mixed().eval(), (torch.zeros(2, 3, 6, 6),), tmp_path / "plain.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    onnxruntime.InferenceSession(tmp_path / "plain.onnx", options, providers=["CPUExecutionProvider"])
    model = onnx.load(tmp_path / "fused.onnx")
    assert {node.op_type for node in model.graph.node if node.domain == MS} >= {"FusedConv", "BiasGelu"}
    matches(model, {model.graph.input[0].name: r(2, 3, 6, 6)}, 1e-5)
