"""ONNX -> model.py -> torch.onnx -> analysis: the source that codegen writes has the channel groups of its model."""

from __future__ import annotations

import importlib.util
from collections import Counter

import pytest

from chanc.analysis import analyze
from chanc.analysis.infer_shapes import infer_shapes
from chanc.backends.torch.package import write_package
from chanc.ir import load
from chanc.ir.normalize import normalize

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

NETWORKS = [
    ("resnet18", 8),
    ("mobilenetv2", 8),
    pytest.param("densenet-bc", 4, marks=pytest.mark.nightly),
    pytest.param("darts7", 8, marks=pytest.mark.nightly),
]


def groups(analysis):
    """The groups without their names: width, step, whether and how exactly they resize, members by their axes."""
    return Counter(
        (
            g.size,
            g.step,
            g.resizable,
            g.exact,
            tuple(sorted(Counter((m.op, m.axis, m.role) for m in g.members).items())),
        )
        for g in analysis.groups
    )


def from_disk(folder):
    """The network of a folder that codegen wrote, as its user would load it."""
    from safetensors.torch import load_file

    spec = importlib.util.spec_from_file_location("generated_model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.Network()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval()


@pytest.mark.parametrize(("name", "width"), NETWORKS)
def test_groups_survive_the_way_through_source(name, width, zoo_model, tmp_path):
    from chanc.frontends.torch import export

    original = zoo_model(name, width=width)
    model = load(original)
    normalize(model)
    infer_shapes(model)
    write_package(model, tmp_path, "Network", original)
    network = from_disk(tmp_path)
    again = tmp_path / "again.onnx"
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    export(network, images, again)

    before, after = analyze(original), analyze(again)
    assert len(before.groups) > 10
    assert groups(after) == groups(before)
    assert {g.id for g in after.groups} == {g.id for g in before.groups}
    assert (after.params, after.macs) == (before.params, before.macs)
    assert len(after.pinned) == len(before.pinned)
