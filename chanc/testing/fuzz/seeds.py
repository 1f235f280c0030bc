"""The models that are mutated: a small one of each family of operators, and random graphs over all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import external_data_helper

from chanc.testing import blocks
from chanc.testing.builders import Weight, build
from chanc.testing.graphs import Graph, Tensor
from chanc.testing.strategies import graph_of_seed

EXTERNAL = "weights.bin"
"""The file that lies beside every mutated model; some keep weights in it."""

_RANDOM_GRAPHS = 24
_NODES = 24


def _grown(grow: Callable[[Tensor], Tensor], shape: tuple[int, ...] = (1, 4, 8, 8), opset: int = 17) -> onnx.ModelProto:
    graph = Graph(opset=opset)
    return graph.model(grow(graph.input("image", shape, dynamic={0: "n"})))


def _residual(x: Tensor) -> Tensor:
    y = x.conv(8).bn().relu()
    y = (y + y.conv(8).bn()).relu()
    return blocks.squeeze_excite(y, 4).pool().gap().flatten().gemm(5)


def _joined(x: Tensor) -> Tensor:
    first, second = x.conv(8).relu().split(3, 5)
    y = first.concat(second.depthwise(), first.sigmoid())
    return blocks.glu(y.conv(12, 1, groups=1)).concat(blocks.group_norm(y.conv(8), 2)).conv(3, 1)


def _shuffled(x: Tensor) -> Tensor:
    y = blocks.shuffle(x.conv(8, groups=2), 2, open_sizes=True)
    y = y.conv_transpose(6).op("PRelu", x.graph.vector(6, shape=(6, 1, 1)))
    return y.conv(12, 1).op("DepthToSpace", blocksize=2).slice(2, 0, 9, 2).conv(2)


def _transformer(x: Tensor) -> Tensor:
    y = blocks.tokens(x.conv(8, 2, stride=2))
    y = y + blocks.attention(blocks.layer_norm(y), 2)
    y = y + blocks.mlp(blocks.layer_norm(y, fused=False), 12)
    return y.mean(1, keep=False).linear(4)


def _recurrent(x: Tensor) -> Tensor:
    return blocks.lstm(x.conv(6).relu(), 5, both=True).linear(3)


def _integers(numbers: Mapping[str, Sequence[int]]) -> dict[str, Weight]:
    return {name: np.array(value, np.int64) for name, value in numbers.items()}


def _gru() -> onnx.ModelProto:
    body = """
        h, last = GRU <hidden_size = 4> (x, w, r, b)
        s = Squeeze (h, one)
        t = Slice (s, zero, two, zero)
        p = Pad (t, pads)
        y = MatMul (p, m)
    """
    numbers = {"one": [1], "zero": [0], "two": [2], "pads": [0, 0, 0, 1, 0, 0]}
    integers = _integers(numbers)
    weights: dict[str, Weight] = {"w": (1, 12, 6), "r": (1, 12, 4), "b": (1, 24), "m": (4, 2)}
    return build("float[3,N,6] x", "float y", body, weights | integers)


def _branches() -> onnx.ModelProto:
    body = """
        c = Conv <pads = [1, 1, 1, 1]> (x, w)
        y = If (flag) <
            then_branch = yes () => (float[N,6,8,8] t) { t = Conv <pads = [1, 1, 1, 1]> (c, v) },
            else_branch = no () => (float[N,6,8,8] e) { r = Relu (c) e = Identity (r) }
        >
        z = GlobalAveragePool (y)
    """
    return build("float[N,3,8,8] x, bool flag", "float z", body, {"w": (6, 3, 3, 3), "v": (6, 6, 3, 3)})


def _turns() -> onnx.ModelProto:
    body = """
        c = MatMul (x, w)
        state, seen = Loop (count, go, c) <
            body = turn (int64 i, bool on, float[N,6] s) => (bool again, float[N,6] next, float[N,6] out) {
                again = Identity (on)
                m = MatMul (s, v)
                next = Tanh (m)
                out = Identity (next)
            }
        >
        last, rows = Scan (state, seen) <
            num_scan_inputs = 1,
            body = step (float[N,6] a, float[N,6] b) => (float[N,6] a2, float[N,6] b2) {
                a2 = Add (a, b)
                b2 = Relu (a2)
            }
        >
        y = MatMul (last, u)
    """
    weights: dict[str, Weight] = {"w": (4, 6), "v": (6, 6), "u": (6, 2)}
    fixed: dict[str, Weight] = {"count": np.array(3, np.int64), "go": np.array(True)}
    return build("float[N,4] x", "float y", body, weights | fixed)


def _quantised() -> onnx.ModelProto:
    body = """
        q = QuantizeLinear (x, s, z)
        d = DequantizeLinear (q, s, z)
        k = DequantizeLinear <axis = 0> (w, ws, wz)
        c = Conv <pads = [1, 1, 1, 1]> (d, k, b)
        r = Relu (c)
        rq = QuantizeLinear (r, s, z)
        g = QLinearConv (rq, s, z, v, ws2, wz2, s, z)
        gd = DequantizeLinear (g, s, z)
        y = GlobalAveragePool (gd)
    """
    rng = np.random.default_rng(0)
    scale: dict[str, Weight] = {
        "s": np.float32(0.05),
        "z": np.uint8(128),
        "ws": np.full(6, 0.02, np.float32),
        "wz": np.zeros(6, np.int8),
    }
    other: dict[str, Weight] = {
        "ws2": np.full(4, 0.02, np.float32),
        "wz2": np.zeros(4, np.int8),
        "b": np.ones(6, np.float32),
    }
    kernels: dict[str, Weight] = {
        "w": rng.integers(-9, 9, (6, 3, 3, 3), np.int8),
        "v": rng.integers(-9, 9, (4, 6, 1, 1), np.int8),
    }
    return build("float[N,3,8,8] x", "float y", body, scale | other | kernels)


def _functions() -> onnx.ModelProto:
    text = """
        <ir_version: 9, opset_import: ["": 17, "local": 1]>
        g (float[N,4,8,8] x) => (float[N,3,8,8] y) {
            a = Conv <pads = [1, 1, 1, 1]> (x, w)
            b = local.gate <alpha = 0.5> (a)
            y = Conv (b, v)
        }
        <domain: "local", opset_import: ["": 17]>
        gate <alpha> (p) => (q) {
            l = LeakyRelu <alpha: float = @alpha> (p)
            s = Sigmoid (l)
            q = Mul (l, s)
        }
    """
    model: onnx.ModelProto = onnx.parser.parse_model(text)
    for name, shape in (("w", (6, 4, 3, 3)), ("v", (3, 6, 1, 1))):
        array = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def _indexed() -> onnx.ModelProto:
    body = """
        e = Gather (table, ids)
        m = ReduceMean <axes = [1], keepdims = 0> (e)
        t = Tile (m, two)
        o = OneHot (ids, depth, values)
        f = ReduceSum <keepdims = 0> (o, one)
        j = Concat <axis = 1> (t, f)
        k, i = TopK (j, three)
        x = Expand (k, wide)
        y = Einsum <equation = "bij,jk->bk"> (x, w)
    """
    numbers = {"two": [1, 2], "depth": [9], "one": [1], "three": [3], "wide": [1, 1, 1]}
    integers = _integers(numbers)
    weights: dict[str, Weight] = {"table": (9, 6), "values": np.array([0, 1], np.float32), "w": (3, 4)}
    return build("int64[N,5] ids", "float y", body, weights | integers)


def _resized() -> onnx.ModelProto:
    body = """
        c = Conv <pads = [1, 1, 1, 1]> (x, w)
        s = Shape (c)
        h = Slice (s, zero, two)
        t = Concat <axis = 0> (h, size)
        u = Resize <mode = "nearest"> (c, none, none, t)
        l = LRN <size = 3> (u)
        i = InstanceNormalization (l, gain, off)
        n = NonZero (flags)
        r = Reshape <allowzero = 0> (i, shape)
        y = Gemm <transB = 1> (r, v)
    """
    numbers = {"zero": [0], "two": [2], "size": [4, 4], "shape": [0, -1]}
    integers = _integers(numbers)
    weights: dict[str, Weight] = {"w": (6, 3, 3, 3), "v": (2, 96), "gain": (6,), "off": (6,)}
    fixed: dict[str, Weight] = {"none": np.zeros(0, np.float32), "flags": np.array([1, 0, 1], np.int64)}
    return build("float[N,3,8,8] x", "float y", body, weights | integers | fixed)


def _outside() -> onnx.ModelProto:
    """Weights in a file beside the model."""
    model = _grown(_residual)
    external_data_helper.convert_model_to_external_data(model, location=EXTERNAL, size_threshold=256)
    offset = 0
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            external_data_helper.set_external_data(tensor, EXTERNAL, offset, len(tensor.raw_data))
            offset += len(tensor.raw_data)
            tensor.ClearField("raw_data")
    return model


_FAMILIES: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "residual": lambda: _grown(_residual),
    "joined": lambda: _grown(_joined),
    "shuffled": lambda: _grown(_shuffled),
    "transformer": lambda: _grown(_transformer),
    "recurrent": lambda: _grown(_recurrent),
    "gru": _gru,
    "branches": _branches,
    "turns": _turns,
    "quantised": _quantised,
    "functions": _functions,
    "indexed": _indexed,
    "resized": _resized,
    "outside": _outside,
}


@functools.cache
def seeds() -> Mapping[str, onnx.ModelProto]:
    """The models by name; they are shared, so copy what you change."""
    made = {name: make() for name, make in _FAMILIES.items()}
    return made | {f"random{k}": graph_of_seed(k, _NODES) for k in range(_RANDOM_GRAPHS)}


def beside() -> bytes:
    """What the file of external weights holds: more than the model asks for, small numbers."""
    values: np.ndarray[tuple[int], np.dtype[np.float32]] = np.random.default_rng(2).standard_normal(4096, np.float32)
    return (values * np.float32(0.2)).tobytes()
