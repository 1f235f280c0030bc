"""`import chanc` is instant, `dir(chanc)` is the API, and each verb is a plain function."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import chanc
from chanc.errors import ChancError, ModelError, RunError, VerifyError
from chanc.ir import to_proto
from chanc.testing.graphs import Graph

VERBS = (
    "analyze", "codegen", "evaluate", "export", "gather", "latency", "load", "prune", "reconstruct", "rewrite", "save",
    "search", "sensitivity", "train", "verify",
)  # fmt: skip
TYPES = ("Analysis", "Evaluated", "Pruned", "Reconstruction", "Rewrite", "Run", "Sensitivity", "Timed", "Trained")


@pytest.fixture
def model() -> ir.Model:
    """A classifier of the digits."""
    graph = Graph(seed=0, scale=3**-0.5)
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}).conv(8, bias=False).bn().relu()
    x = x.conv(12, stride=2, bias=False).bn().relu().conv(16, stride=2).relu()
    return graph.ir(x.gap().flatten().gemm(10))


def test_packages_need_no_import_of_their_own(fresh) -> None:
    """`import chanc` is enough, and imports none of them before it is asked for."""
    program = (
        "import sys, chanc; early = [name for name in sys.modules if name.startswith('chanc.')]; "
        "print(early, chanc.passes.ResizeWidths.__name__, chanc.oracles.judge.__name__, hasattr(chanc, 'nothing'), "
        "hasattr(chanc, '__wrapped__'))"
    )
    assert fresh(program).stdout == "[] ResizeWidths judge False False\n"


def test_dir_is_the_api() -> None:
    assert dir(chanc) == sorted(chanc.__all__) == sorted([*TYPES, "__version__", *VERBS])
    with pytest.raises(AttributeError, match="module 'chanc' has no attribute 'prume'"):
        chanc.prume  # noqa: B018


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_a_plain_function(verb: str) -> None:
    function = getattr(chanc, verb)
    assert inspect.isfunction(function)
    assert "Raises" in function.__doc__
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in signature.parameters.values())


def test_importing_chanc_imports_nothing_else() -> None:
    """Nor does importing a room give a verb's name another meaning."""
    code = (
        "import sys, chanc\nprint([name for name in sys.modules if name.startswith('chanc.') or name == 'numpy'])\n"
        "import chanc.study.study, chanc.rewriter.rewrite, chanc.analysis.analyze, chanc.api, chanc.cli.search\n"
        f"print(all(callable(getattr(chanc, verb)) for verb in {VERBS}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\nTrue\n"


def test_verify_by_the_trace(model: ir.Model) -> None:
    pytest.importorskip("onnxruntime")
    half = chanc.rewrite(model, scale=0.5)
    for trace in (half.trace, half.trace.to_json()):
        assert all(found.error < 1e-5 for found in chanc.verify(model, half.model, trace=trace))
    assert max(found.error for found in chanc.verify(model, half.model)) > 1e-2
    wide = chanc.rewrite(model, scale=1.5, transfer="widen")
    assert all(found.error < 1e-5 for found in chanc.verify(to_proto(model), to_proto(wide.model)))


def test_verify_refuses_other_interfaces_and_traces(model: ir.Model) -> None:
    graph = Graph(seed=0)
    other = graph.ir(graph.input("picture", [2, 1, 8, 8], dynamic={0: "n"}).conv(8))
    with pytest.raises(ModelError, match="the models have other inputs"):
        chanc.verify(model, other)
    trace = chanc.rewrite(other, scale=0.5).trace if chanc.analyze(other).groups[0].resizable else None
    assert trace is None, "its only group is the output"
    wrong = {"format": 1, "exact": True, "groups": {}, "operands": [
        {"node": "nowhere", "input": 1, "initializer": "w", "axes": {"0": [0]}}]}  # fmt: skip
    with pytest.raises(VerifyError, match="nowhere"):
        chanc.verify(model, model, trace=wrong)


def test_codegen_of_a_model_in_memory(model: ir.Model, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    source = chanc.codegen(model, tmp_path / "out", name="Digits")
    assert "class Digits(" in (tmp_path / "out" / "model.py").read_text() == source.text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["check.py", "model.py", "model.safetensors"]
    with pytest.raises(ChancError, match="'not a name' can't be the name of a class"):
        chanc.codegen(model, tmp_path / "no", name="not a name")
    with pytest.raises(ModelError, match="is a file"):
        chanc.codegen(model, tmp_path / "out" / "model.py")
    assert not (tmp_path / "no").exists()


def test_export_of_a_module_and_of_a_name(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 10))
    done = chanc.export(module, tmp_path / "own.onnx", shapes=[(1, 1, 8, 8)])
    assert done.inputs == {"input": ("batch", 1, 8, 8)}
    weights = {value.name: onnx.numpy_helper.to_array(value)
               for value in onnx.load(tmp_path / "own.onnx").graph.initializer}  # fmt: skip
    assert np.array_equal(weights["0.weight"], module[0].weight.detach().numpy())
    done = chanc.export("zoo:resnet18", tmp_path / "zoo.onnx", shapes=[(1, 1, 8, 8)], width=4, channels=1, classes=3)
    assert done.outputs == {"output": ("batch", 3)}
    with pytest.raises(ChancError, match="the zoo has no network"):
        chanc.export("zoo:lenet", tmp_path / "no.onnx")


def test_train_leaves_the_model_and_returns_its_kind(model: ir.Model) -> None:
    pytest.importorskip("torch")
    proto = to_proto(model)
    before, notes = proto.SerializeToString(), []
    done = chanc.train(proto, "digits", epochs=3, batch_size=32, insert_batchnorm=True, say=notes.append)
    assert isinstance(done.model, onnx.ModelProto)
    assert proto.SerializeToString() == before
    assert done.top1 > done.before + 0.3
    assert (done.data, done.test_images) == ("digits", 360)
    assert [node.op_type for node in done.model.graph.node].count("BatchNormalization") == 3
    chanc.train(done.model, "digits", epochs=1, limit_train=40, insert_batchnorm=True, say=notes.append)
    pixels = "note: the input is (pixels / 255 - 0.3058) / 0.3762, channels first (NCHW): "
    assert [note.removeprefix(pixels) for note in notes] == [
        next(note for note in notes if "as for fresh weights" in note).removeprefix(pixels),
        "note: 40 of 1437 training images", "as the model's metadata says", "note: no convolution lacks a BatchNorm",
    ]  # fmt: skip


def test_train_refuses_unknown_options(model: ir.Model) -> None:
    pytest.importorskip("torch")
    for options, told in (
        ({"speed": 3}, "unknown training option: speed"),
        ({"optimizer": "lion"}, "optimizer 'lion' is unknown: one of sgd, adamw, adas"),
        ({"momentum": 2}, "momentum 2 lies outside 0..1"),
    ):
        with pytest.raises(RunError, match=told):
            chanc.train(model, "digits", epochs=1, limit_train=40, **options)
