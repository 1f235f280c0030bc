"""Roads in a process of their own, with made-up frameworks: what they may do, and what comes of their files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import chanc
from chanc.cli import main
from chanc.errors import ChancError, MissingDependencyError, ModelError, VerifyError
from chanc.frontends import open_spec
from chanc.frontends.convert import export_foreign
from chanc.frontends.foreign import Foreign, Job, require
from chanc.frontends.runner import walked

SOURCE = '''
import os
import sys
import time

import chanc.frontends.foreign as foreign


def missing(job):
    foreign.require(json="json", nothing_at_all="nothing-at-all")


def leaving(job):
    sys.exit(3)


def dying(job):
    print("a framework's last words")
    os.abort()


def stopping(job):
    os._exit(7)


def failing(job):
    raise KeyError("two\\nlines")


def hanging(job):
    time.sleep(60)


def silent(job):
    return foreign.Written([], [], ())


def network(job):
    """Channels last, a batch of one, and a norm as arithmetic: y = relu((conv(x) + bias - mean) * k + t)."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 2, 3, 3)).astype(np.float32)
    scale, bias, mean, shift = (rng.uniform(0.5, 2, 4).astype(np.float32) for _ in range(4))
    variance, epsilon = rng.uniform(0.5, 2, 4).astype(np.float32), 1e-3
    k = scale / np.sqrt(variance + epsilon)
    t = shift + (bias - mean) * k
    parts = {"w": w, "k": k.astype(np.float32), "t": t.astype(np.float32)}
    nodes = [
        helper.make_node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["a", "w"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 2, 3, 1]),
        helper.make_node("Mul", ["c", "k"], ["d"]),
        helper.make_node("Add", ["d", "t"], ["e"]),
        helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("Transpose", ["f"], ["g"], perm=[0, 3, 1, 2]),
        helper.make_node("GlobalAveragePool", ["g"], ["h"]),
        helper.make_node("Flatten", ["h"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (("x", [1, 5, 6, 2]), ("y", [1, 4]))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:],
                              [numpy_helper.from_array(array, name) for name, array in parts.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    job.path.write_bytes(model.SerializeToString())
    (x,) = job.examples([(None, 5, 6, 2)])
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    conv = sum(padded[:, i:i + 5, j:j + 6] @ w[:, :, i, j].T for i in range(3) for j in range(3))
    y = np.maximum(conv * k + t, 0).mean((1, 2)) * job.options.get("factor", 1)
    norm = {"scale": scale, "bias": shift, "mean": mean, "variance": variance, "epsilon": epsilon}
    return foreign.Written([x], [y.astype(np.float32)], ("numpy",), [norm], {"layout": "NHWC"})
'''


@pytest.fixture
def road(tmp_path, monkeypatch):
    """A function of SOURCE as a frontend: the worker finds it in the working directory."""
    (tmp_path / "made_up.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "made_up"}
    exec(SOURCE, scope)
    return lambda name: Foreign(scope[name], "made:UP")


def test_a_file_is_checked_cleaned_and_told(road):
    done = export_foreign("made:up", road("network"), "m.onnx")
    assert done.inputs == {"x": ("batch", 5, 6, 2)}
    assert done.outputs == {"y": ("batch", 4)}
    assert (done.params, done.opset, done.exporter, done.note) == (4 * 2 * 9 + 8, 15, f"numpy {np.__version__}", "")
    assert 0 < done.difference < 1e-6
    model = chanc.load("m.onnx")
    kinds = [node.op_type for node in model.graph]
    assert kinds == ["Transpose", "Conv", "BatchNormalization", "Relu", "GlobalAveragePool", "Flatten"]
    assert model.metadata_props["chanc.input.layout"] == "NHWC"
    assert Path("m.onnx").stat().st_size < 4000
    with pytest.raises(VerifyError, match=r"made: what its exporter wrote is wrong: y .* from made by 5\.0e-01"):
        export_foreign("made:up", road("network"), "no.onnx", options={"factor": 2})
    assert not Path("no.onnx").exists()


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("missing", MissingDependencyError, f"made: {sys.executable} has no nothing_at_all: "
         f"{sys.executable} -m pip install json nothing-at-all, or name an interpreter that has them by --python"),
        ("leaving", ModelError, "made: the exporter stopped by sys.exit(3)"),
        ("dying", ModelError, "made: the exporter died of SIGABRT; the last that it said: a framework's last words"),
        ("stopping", ModelError, "made: the exporter ended with exit code 7"),
        ("failing", ModelError, "made: KeyError: 'two\\nlines'"),
        ("silent", ModelError, "made: the exporter wrote no file"),
    ],
)  # fmt: skip
def test_whatever_a_framework_does_is_one_line(name, kind, says, road):
    with pytest.raises(ChancError) as caught:
        export_foreign("made:up", road(name), "no.onnx")
    assert type(caught.value) is kind
    assert str(caught.value) == says
    assert [path.name for path in Path.cwd().iterdir() if path.suffix == ".onnx"] == []


def test_a_framework_that_hangs_is_ended(road):
    with (
        pytest.raises(ModelError, match=r"^made: the export took more than 0\.3 seconds, and was ended$"),
        walked("made", road("hanging"), Job("up", Path()), None, seconds=0.3),
    ):
        pass


def test_an_interpreter_that_is_none(road):
    with pytest.raises(ChancError, match=r"^nowhere/python can't be run: No such file or directory$"):
        export_foreign("made:up", road("network"), "no.onnx", python="nowhere/python")


def test_an_input_whose_size_is_open():
    with pytest.raises(ChancError, match="give --input, its shape with the batch first"):
        Job("up", Path()).examples([(None, None, 8, 3)])
    (given,) = Job("up", Path(), shapes=((1, 4, 8, 3),)).examples([(None, None, 8, 3)])
    assert given.shape == (3, 4, 8, 3)
    require(json="json")


def test_a_foreign_network_is_no_module():
    with pytest.raises(ChancError, match="keras:net:build is no module of PyTorch"):
        open_spec("keras:net:build")
    with pytest.raises(ChancError, match="weights and exporter are for PyTorch"):
        chanc.export("keras:net:build", "no.onnx", weights="w.pt")


@pytest.mark.parametrize("args", [["keras:a:b", "--weights", "w.pt"], ["keras:a:b", "--exporter", "dynamo"],
                                  ["keras:a:b", "--input", "1,H=8"], ["keras:a:b", "--size", "8"],
                                  ["zoo:resnet18", "--python", "python"],
                                  ["torch:a:b", "--input", "1,=8"]])  # fmt: skip
def test_options_that_mean_nothing(args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["export", *args, "-o", "m.onnx"])
    assert stop.value.code == 2
    assert not list(tmp_path.iterdir())


def test_the_command_line_tells_the_difference(tmp_path, monkeypatch, capsys, road):
    from chanc.frontends import FRONTENDS

    with FRONTENDS.scratch():
        FRONTENDS.add("made", road("network"))
        main(["export", "made:up", "-o", "m.onnx"])
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("wrote m.onnx: made:up, 80 params, x [batch, 5, 6, 2] -> y [batch, 4], opset 15 (numpy ")
    assert out[1].startswith("checked: onnxruntime is within ")
    assert out[1].endswith("of made's largest output (0.0001 may be)")
