from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

from torch import nn  # noqa: E402

from chanc.errors import ChancError, ModelError, VerifyError  # noqa: E402
from chanc.frontends import open_spec, zoo  # noqa: E402
from chanc.frontends.torch import export, load_weights  # noqa: E402

DAY = {"torchscript": ("resnet18", "vgg11", "mobilenetv3-large", "shufflenetv2"), "dynamo": ("vgg11",)}
CASES = [
    pytest.param(name, exporter, marks=() if name in day else pytest.mark.nightly)
    for exporter, day in DAY.items()
    for name in zoo.names()
]


class Small(nn.Module):
    """Two convolutions whose fresh BatchNorms are equal tensors, and a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.fc(self.dropout(x.mean((2, 3))))


def _trained_looking(module: nn.Module) -> nn.Module:
    """Give every BatchNorm other statistics, so that a swapped or folded one shows."""
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return module


def _ran(path, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})


@pytest.mark.parametrize(("name", "exporter"), CASES)
def test_zoo_network_keeps_batchnorm_names_and_a_dynamic_batch(name, exporter, tmp_path):
    module = _trained_looking(zoo.build(name, width=8))
    done = export(module, torch.randn(1, 3, 32, 32), tmp_path / "m.onnx", exporter=exporter)
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)

    assert model.ir_version <= 13
    assert {entry.domain for entry in model.opset_import} == {""}
    assert done.params == zoo.params(name, width=8)
    assert done.inputs == {"input": ("batch", 3, 32, 32)}
    assert done.outputs == {"output": ("batch", 10)}
    state = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert set(state) <= set(stored)
    for key, value in state.items():
        np.testing.assert_array_equal(stored[key], value.numpy(), err_msg=key)

    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert len(norms) == sum(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())
    assert all(set(node.input[1:]) <= set(state) and len(node.output) == 1 for node in norms)
    for batch in (1, 3):
        x = torch.randn(batch, 3, 32, 32)
        with torch.no_grad():
            want = module.eval()(x).numpy()
        np.testing.assert_allclose(_ran(tmp_path / "m.onnx", x)[0], want, rtol=0, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_fresh_equal_tensors_are_not_aliased(exporter, tmp_path):
    """TorchScript joins the equal running means of fresh BatchNorms through Identity nodes unless told not to."""
    module = Small()
    export(module, torch.randn(2, 3, 8, 8), tmp_path / "m.onnx", exporter=exporter)
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert "Identity" not in {node.op_type for node in graph.node}
    assert {"bn1.running_mean", "bn2.running_mean"} <= {tensor.name for tensor in graph.initializer}
    assert len(graph.input) == 1


def test_branches_with_equal_operations_stay_apart(tmp_path):
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return self.left(torch.relu(x)) + self.right(torch.relu(x))

    export(Branches(), torch.randn(1, 3, 4, 4), tmp_path / "m.onnx", exporter="torchscript")
    operators = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert operators.count("Relu") == 2


def test_module_modes_and_random_states_are_left_alone(tmp_path):
    module = Small().train()
    module.bn1.eval()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    export(module, torch.randn(2, 3, 8, 8, generator=torch.Generator()), tmp_path / "m.onnx")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert module.training
    assert module.dropout.training
    assert not module.bn1.training


def test_same_module_same_bytes(tmp_path):
    module, x = Small(), torch.randn(1, 3, 8, 8)
    for file in ("a.onnx", "b.onnx"):
        export(module, x, tmp_path / file)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_dynamo_file_names_no_source_paths(tmp_path):
    export(Small(), torch.randn(1, 3, 8, 8), tmp_path / "m.onnx", exporter="dynamo")
    assert os.path.basename(__file__).encode() not in (tmp_path / "m.onnx").read_bytes()


def test_several_inputs_and_outputs(tmp_path):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x, y):
            z = self.conv(x)
            return z, {"sum": z.sum((2, 3)) + y}

    done = export(Pair(), (torch.randn(1, 3, 4, 4), torch.randn(1, 4)), tmp_path / "m.onnx", input_names=("image",))
    assert done.inputs == {"image": ("batch", 3, 4, 4), "image_1": ("batch", 4)}
    assert done.outputs == {"output": ("batch", 4, 4, 4), "output_1": ("batch", 4)}


def test_fixed_batch(tmp_path):
    done = export(Small(), torch.randn(5, 3, 8, 8), tmp_path / "m.onnx", dynamic_batch=False)
    assert done.inputs == {"input": (5, 3, 8, 8)}


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_baked_batch_is_caught(tmp_path):
    class Baked(Small):
        def forward(self, x):
            return super().forward(x).reshape(int(x.shape[0]), 2, 2)

    with pytest.raises(VerifyError) as caught:
        export(Baked(), torch.randn(1, 3, 8, 8), tmp_path / "m.onnx", exporter="torchscript")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_dynamo_takes_over_where_torchscript_fails(tmp_path):
    class Uneven(Small):
        def forward(self, x):
            return super().forward(nn.functional.adaptive_avg_pool2d(x, 3))

    with pytest.raises(ModelError, match=r"the TorchScript exporter failed: .*adaptive"):
        export(Uneven(), torch.randn(1, 3, 8, 8), tmp_path / "m.onnx", exporter="torchscript")
    done = export(Uneven(), torch.randn(1, 3, 8, 8), tmp_path / "m.onnx")
    assert done.exporter == "dynamo"
    assert done.note.endswith("; used the dynamo exporter")
    assert done.opset == 18


@pytest.mark.parametrize(
    ("exporter", "opset"),
    [("torchscript", 12), ("torchscript", 20), pytest.param("dynamo", 21, marks=pytest.mark.nightly)],
)
def test_opset_as_asked(exporter, opset, tmp_path):
    done = export(Small(), torch.randn(1, 3, 8, 8), tmp_path / "m.onnx", exporter=exporter, opset=opset)
    model = onnx.load(tmp_path / "m.onnx")
    assert done.opset == opset == model.opset_import[0].version
    assert done.exporter == exporter


@pytest.mark.parametrize(("exporter", "opset"), [("torchscript", 21), ("torchscript", 6), ("dynamo", 17), ("auto", 99)])
def test_opset_that_the_exporter_has_not(exporter, opset, tmp_path):
    with pytest.raises(ModelError, match=rf"writes opsets \d+ to \d+, not {opset}"):
        export(Small(), torch.randn(1, 3, 8, 8), tmp_path / "m.onnx", exporter=exporter, opset=opset)
    assert not list(tmp_path.iterdir())


def test_refusals(tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(ModelError, match=r"fails on inputs of shape \[1, 4, 8, 8\]: RuntimeError"):
        export(Small(), torch.randn(1, 4, 8, 8), path)
    with pytest.raises(ChancError, match="there is no exporter 'onnx'; there are dynamo, torchscript"):
        export(Small(), torch.randn(1, 3, 8, 8), path, exporter="onnx")
    with pytest.raises(OSError, match="missing"):
        export(Small(), torch.randn(1, 3, 8, 8), tmp_path / "missing" / "m.onnx")

    class Text(nn.Module):
        def forward(self, x):
            return x, "text"

    with pytest.raises(ModelError, match="outputs are not all tensors"):
        export(Text(), torch.randn(1, 3, 8, 8), path)
    assert not list(tmp_path.iterdir())


def _small() -> nn.Module:
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize("exporter", ["torchscript", pytest.param("dynamo", marks=pytest.mark.nightly)])
def test_axes_that_stay_open(exporter, tmp_path):
    axes = [{2: "H", 3: "W"}]
    done = export(_small(), torch.rand(1, 1, 6, 8), tmp_path / "m.onnx", exporter=exporter, open_axes=axes)
    assert done.inputs == {"input": ("batch", 1, "H", "W")}
    assert not any(isinstance(size, int) for size in done.outputs["output"][2:])


def test_a_module_that_runs_at_one_batch_only(tmp_path):
    class Fixed(nn.Module):
        def forward(self, x):
            return x.reshape(2, -1)

    done = export(Fixed(), torch.rand(2, 1, 3), tmp_path / "m.onnx")
    assert done.inputs == {"input": (2, 1, 3)}
    assert done.note == "the batch stays 2: the module runs at no other"


def test_weights_of_torch_save(tmp_path):
    state = _small().state_dict()
    torch.save(state, tmp_path / "plain.pt")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "checkpoint.pth")
    for name in ("plain.pt", "checkpoint.pth"):
        module = _small()
        load_weights(module, tmp_path / name)
        assert torch.equal(module[0].weight, state["0.weight"])
    torch.save(_small(), tmp_path / "module.pt")  # a pickle of classes, which would run their code
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("not weights")
    for name, says in (("module.pt", "more than weights"), ("list.pt", "no state_dict"), ("text.pt", "no file of")):
        with pytest.raises(ModelError, match=says):
            load_weights(_small(), tmp_path / name)


@pytest.mark.nightly
def test_programs_of_torch_export(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example, batch = torch.rand(2, 1, 6, 6), torch.export.Dim("batch")
    torch.export.save(torch.export.export(_small(), (example,), dynamic_shapes=({0: batch},)), "open.pt2")
    torch.export.save(torch.export.export(_small(), (example,)), "fixed.pt2")
    for name, size in (("open", "batch"), ("fixed", 2)):
        done = export(open_spec(f"torch:{name}.pt2"), example, f"{name}.onnx")
        assert done.inputs == {"input": (size, 1, 6, 6)}
        model = onnx.load(f"{name}.onnx")
        assert [node.op_type for node in model.graph.node] == ["Conv", "BatchNormalization", "Relu", "Conv"]
        assert {tensor.name for tensor in model.graph.initializer} >= {"0.weight", "1.running_mean", "3.bias"}
    Path("text.pt2").write_text("no program")
    with pytest.raises(ChancError, match=r"text\.pt2 is no file of torch\.export\.save"):
        open_spec("torch:text.pt2")
