from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common
import pytest
from onnx_ir.passes import Sequential

from chanc.passes import RecoverGroupNorm
from chanc.testing.builders import build
from chanc.transforms import recover_groupnorm

WEIGHTS = {"w": [8, 3, 3, 3], "inner": [4], "shift": [4], "norm.weight": [8, 1, 1], "norm.bias": [8, 1, 1]}
GROUP = """
    c = Conv <pads = [1,1,1,1]> (x, w)
    split = Constant <value = int64[3] {0, 4, -1}> ()
    a = Reshape (c, split)
    b = InstanceNormalization <epsilon = 0.01> (a, inner, shift)
    shape = Shape (c)
    d = Reshape (b, shape)
    e = Mul (d, "norm.weight")
    f = Add (e, "norm.bias")
    y = Relu (f)
"""
LAYER = """
    m = ReduceMean <axes = [-1]> (x)
    d = Sub (x, m)
    two = Constant <value = float {2.0}> ()
    p = Pow (d, two)
    v = ReduceMean <axes = [-1]> (p)
    eps = Constant <value = float {0.001}> ()
    s = Add (v, eps)
    r = Sqrt (s)
    n = Div (d, r)
    k = Mul (n, "norm.weight")
    f = Add (k, "norm.bias")
    y = Relu (f)
"""


def group(text: str = GROUP, opset: int = 21, **weights):
    return build("float[N,3,6,6] x", "float y", text, {**WEIGHTS, **weights}, opset=opset)


def layer(text: str = LAYER, opset: int = 17, shape: str = "N,5,12", **weights):
    return build(f"float[{shape}] x", "float y", text, {"norm.weight": [12], "norm.bias": [12], **weights}, opset=opset)


def test_group_norm(same, groups, ops) -> None:
    proto = group()
    loaded = ir.from_proto(proto)
    result = RecoverGroupNorm()(loaded)
    assert (result.modified, result.left) == (True, ())
    assert ops(loaded) == ["Conv", "GroupNormalization", "Relu"]
    norm = next(node for node in loaded.graph if node.op_type == "GroupNormalization")
    assert [value.name for value in norm.inputs] == ["c", "norm.weight", "norm.bias"]
    assert norm.outputs[0].name == "f"
    assert norm.attributes.get_int("num_groups") == 4
    same(proto, loaded, tolerance=1e-5)
    assert {k: v[:3] for k, v in groups(proto).items()} == {k: v[:3] for k, v in groups(loaded).items()}
    assert not RecoverGroupNorm()(loaded).modified


@pytest.mark.parametrize("change", [
    ("shape = Shape (c)", "shape = Constant <value = int64[4] {0, 8, 6, 6}> ()"),
    ("shape = Shape (c)", "shape = Constant <value = int64[4] {-1, 8, 6, 6}> ()"),
    ('e = Mul (d, "norm.weight")\n    f = Add (e, "norm.bias")', "f = Identity (d)"),
    ('f = Add (e, "norm.bias")', "f = Identity (e)"),
    ('Mul (d, "norm.weight")', "Mul (one, d)"),
])  # fmt: skip
def test_other_forms_of_group_norm(change, same, ops) -> None:
    proto = group(GROUP.replace(*change), one=np.ones((1, 1, 1), np.float32))
    loaded = ir.from_proto(proto)
    common.ShapeInferencePass()(loaded)
    assert recover_groupnorm(loaded).modified
    assert [op for op in ops(loaded) if op != "Identity"] == ["Conv", "GroupNormalization", "Relu"]
    same(proto, loaded, tolerance=1e-5)


@pytest.mark.parametrize("change", [
    ("{0, 4, -1}", "{0, 2, -1}"),  # then the inner scale has another size, and onnxruntime refuses it as well
    ("d = Reshape (b, shape)", "d = Reshape (b, other)"),
    ("y = Relu (f)", "y0 = Relu (f) dd = Reshape (a, shape) y = Add (y0, dd)"),
])  # fmt: skip
def test_what_is_no_group_norm(change, ops) -> None:
    text = GROUP.replace(*change)
    other = {"other": np.array([0, 8, 4, 9])} if "other" in text else {}
    loaded = ir.from_proto(group(text, **other))
    before = ops(loaded)
    assert not recover_groupnorm(loaded).modified
    assert ops(loaded) == before


@pytest.mark.parametrize("opset", [18, 20])
def test_group_norm_of_an_old_opset_is_left(opset, ops) -> None:
    loaded = ir.from_proto(group(opset=opset))
    before = ops(loaded)
    result = recover_groupnorm(loaded)
    assert not result.modified
    assert result.left == (f"b: GroupNormalization needs opset 21, this is {opset}",)
    assert (ops(loaded), loaded.opset_imports[""]) == (before, opset)


@pytest.mark.parametrize("change", [
    ("", ""),
    ("p = Pow (d, two)", "p = Mul (d, d)"),
    ("p = Pow (d, two)", "dd = Sub (x, m) p = Pow (dd, two)"),
    ("Add (v, eps)", "Add (eps, v)"),
    ("[-1]", "[2]"),
    ('k = Mul (n, "norm.weight")\n    f = Add (k, "norm.bias")', "f = Identity (n)"),
])  # fmt: skip
def test_layer_norm(change, same, ops) -> None:
    proto = layer(LAYER.replace(*change))
    loaded = ir.from_proto(proto)
    assert recover_groupnorm(loaded).modified
    assert [op for op in ops(loaded) if op not in ("Identity", "Constant")] == ["LayerNormalization", "Relu"]
    same(proto, loaded, tolerance=1e-5)


def test_layer_norm_over_two_axes_and_axes_as_input(same, ops) -> None:
    for text, opset in ((LAYER.replace("[-1]", "[-2, -1]"), 17),
                        (LAYER.replace("ReduceMean <axes = [-1]> (x)", "ReduceMean (x, axes)")
                              .replace("ReduceMean <axes = [-1]> (p)", "ReduceMean (p, axes)"), 18)):  # fmt: skip
        proto = layer(text, opset, **{"norm.weight": [5, 12], "axes": np.array([-2, -1])})
        loaded = ir.from_proto(proto)
        assert recover_groupnorm(loaded).modified
        norm = next(node for node in loaded.graph if node.op_type == "LayerNormalization")
        assert norm.attributes.get_int("axis") == -2
        assert [list(value.const_value.shape) for value in norm.inputs[1:]] == [[5, 12], [5, 12]]
        same(proto, loaded, tolerance=1e-5)


@pytest.mark.parametrize("change", [
    ("[-1]> (p)", "[1]> (p)"),
    ("two = Constant <value = float {2.0}> ()", "two = Constant <value = float {4.0}> ()"),
    ("d = Sub (x, m)", "d = Sub (m, x)"),
    ("y = Relu (f)", "y = Add (f, r)"),
])  # fmt: skip
def test_what_is_no_layer_norm(change, ops) -> None:
    loaded = ir.from_proto(layer(LAYER.replace(*change)))
    before = ops(loaded)
    assert not recover_groupnorm(loaded).modified
    assert ops(loaded) == before


def test_layer_norm_of_an_old_opset_is_left() -> None:
    result = recover_groupnorm(ir.from_proto(layer(opset=13)))
    assert result.left == ("n: LayerNormalization needs opset 17, this is 13",)


@pytest.mark.parametrize("dynamo", [
    pytest.param(False, id="torchscript"), pytest.param(True, id="dynamo", marks=pytest.mark.nightly),
])  # fmt: skip
def test_exports_of_torch(dynamo, tmp_path, same, ops) -> None:
    """What both exporters write at opset 20, brought to 21 as a converter would: the operators between are alike."""
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    nn = torch.nn
    norms = nn.GroupNorm(4, 8), nn.GroupNorm(2, 8, affine=False)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), norms[0], nn.ReLU(), norms[1], nn.Flatten())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_()
    options = {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},), "external_data": False, "verbose": False}
    legacy = {"dynamic_axes": {"x": {0: "n"}}, "input_names": ["x"]}
    torch.onnx.export(net.eval(), (torch.randn(2, 3, 8, 8),), tmp_path / "m.onnx", dynamo=dynamo, opset_version=20,
                      **(options if dynamo else legacy))  # fmt: skip
    loaded = ir.load(tmp_path / "m.onnx")
    loaded.opset_imports[""] = 21
    loaded.ir_version = 10
    before = loaded.clone()
    assert recover_groupnorm(loaded).modified
    assert ops(loaded).count("GroupNormalization") == 2
    assert "InstanceNormalization" not in ops(loaded)
    same(before, loaded)


def test_among_foreign_passes(same, ops) -> None:
    proto = group()
    passes = Sequential(common.LiftConstantsToInitializersPass(), RecoverGroupNorm(),
                        common.DeduplicateInitializersPass(), common.CheckerPass())  # fmt: skip
    result = passes(ir.from_proto(proto))
    assert result.modified
    assert ops(result.model) == ["Conv", "GroupNormalization", "Relu"]
    same(proto, result.model)


MOMENTS = """
    m = ReduceMean <axes = [-1]> (x)
    s = Mul (x, x)
    e = ReduceMean <axes = [-1]> (s)
    mm = Mul (m, m)
    v0 = Sub (e, mm)
    zero = Constant <value = float {0.0}> ()
    v = Max (v0, zero)
    eps = Constant <value = float {0.001}> ()
    a = Add (v, eps)
    r = Sqrt (a)
"""
TAILS = {
    "a quotient": "d = Sub (x, m) n = Div (d, r) k = Mul (n, \"norm.weight\")",
    "a gain behind": "i = Reciprocal (r) d = Sub (x, m) n = Mul (d, i) k = Mul (n, \"norm.weight\")",
    "a gain before": "i = Reciprocal (r) g = Mul (i, \"norm.weight\") d = Sub (x, m) k = Mul (d, g)",
    "one over the root": "one = Constant <value = float {1.0}> () i = Div (one, r) d = Sub (x, m) k = Mul (i, d)",
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("bounded", [True, False])
def test_layer_norm_by_second_moments(same, ops, tail: str, bounded: bool) -> None:
    head = MOMENTS if bounded else MOMENTS.replace("v = Max (v0, zero)", "").replace("(v, eps)", "(v0, eps)")
    proto = layer(head + TAILS[tail] + ' f = Add (k, "norm.bias") y = Relu (f)')
    loaded = ir.from_proto(proto)
    assert recover_groupnorm(loaded).modified
    assert [op for op in ops(loaded) if op not in ("Identity", "Constant")] == ["LayerNormalization", "Relu"]
    same(proto, loaded, tolerance=1e-4)


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("mm = Mul (m, m)", "mm = Mul (m, e)"),
        ("v0 = Sub (e, mm)", "v0 = Sub (mm, e)"),
        ("e = ReduceMean <axes = [-1]> (s)", "e = ReduceMean <axes = [1]> (s)"),
        ("zero = Constant <value = float {0.0}> ()", "zero = Constant <value = float {0.5}> ()"),
        ("s = Mul (x, x)", "s = Mul (x, m)"),
    ],
)
def test_what_only_looks_like_second_moments_stays(part: str, other: str) -> None:
    text = MOMENTS.replace(part, other) + TAILS["a gain before"] + ' f = Add (k, "norm.bias") y = Relu (f)'
    assert part in MOMENTS
    assert not recover_groupnorm(ir.from_proto(layer(text))).modified
