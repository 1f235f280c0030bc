"""Names, doc strings and attributes of a hostile model never become code."""

from __future__ import annotations

import ast
import os

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from chanc.backends.torch import build, emit, names

HOSTILE = [
    "'); open('owned', 'w').write('x'); ('",
    '"""\nimport os\nos.system("touch owned")\n"""',
    "__import__('os').system('touch owned')",
    "a; b = 1",
    "x\nopen('owned', 'w')",
    "class",
    "self",
    "forward",
    "__init__.py",
    "conv\u202e\u00e9\u4e2d.weight",
    "\\'; exec('1')#",
    "{open('owned','w')}",
    "%s%(n)s\r\n\topen('owned')",
    "layer.__class__.__bases__",
    "train.eval.0.type",
    "\x00v0\x00",
    "\x00m1\x00(open('owned','w'))",
    "nn.Conv2d",
    "0.1.2",
    ".",
]


def hostile_model(text: str) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    value = helper.make_tensor_value_info
    weights = {
        f"{text}.weight": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        f"{text}.bias": rng.standard_normal(4).astype(np.float32),
        f"{text}": rng.standard_normal((4, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node(
            "Conv", [f"in{text}", f"{text}.weight", f"{text}.bias"], [f"a{text}"], name=text, doc_string=text
        ),
        helper.make_node("Mul", [f"a{text}", text], [f"b{text}"], name=text),
        helper.make_node("Relu", [f"b{text}"], [f"c{text}"], name=f"/{text}/Relu"),
        helper.make_node("Einsum", [f"c{text}", f"c{text}"], [f"d{text}"], equation="nchw,nchw->nc"),
    ]
    graph = helper.make_graph(
        nodes, text, [value(f"in{text}", 1, [f"{text}", 3, 8, 8])], [value(f"d{text}", 1, [text, 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()], doc_string=text,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], doc_string=text, producer_name=text)


@pytest.mark.parametrize("text", HOSTILE)
def test_names_are_rebuilt(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = ir.serde.deserialize_model(hostile_model(text))
    built = build(model, name=text)
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(built.source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    classes = {node.name for node in ast.walk(ast.parse(built.source)) if isinstance(node, ast.ClassDef)}
    assert calls <= {"super", "setattr", "getattr"} | classes
    assert not os.listdir(tmp_path)
    assert built.source.isascii()
    import torch

    x = torch.randn(2, 3, 8, 8)
    weight, bias, scale = (torch.from_numpy(np.array(v.const_value.numpy())) for v in model.graph.initializers.values())
    want = torch.relu(torch.nn.functional.conv2d(x, weight, bias) * scale).square().sum((2, 3))
    assert torch.allclose(built.module(x), want, atol=1e-4)


def test_a_hostile_equation_is_reduced_to_letters():
    model = hostile_model("fine")
    model.graph.node[3].attribute[0].s = b"nchw,nchw->nc'); open('owned"
    text = emit(ir.serde.deserialize_model(model)).text
    assert "open(" not in text
    ast.parse(text)


@pytest.mark.parametrize(
    "name", ["class", "self", "forward", "train", "type", "__init__", "1x", "", "é", "print", "match", "T_destination"]
)
def test_identifiers(name):
    made = names.identifier(name)
    assert made.isidentifier()
    assert made.isascii()
    assert made not in names.reserved()


def test_numbers():
    assert names.number(np.float32(0.1)) == "0.1"
    assert names.number(float("nan")) == "math.nan"
    assert names.number(np.float32("-inf")) == "-math.inf"
    assert names.number(np.int64(7)) == "7"
    assert names.number(np.bool_(True)) == "True"
    assert names.number(3.0) == "3.0"
