"""The reference networks: same keys, same training, and source that reads well."""

from __future__ import annotations

import copy
import re

import numpy as np
import onnx_ir as ir
import pytest

from chanc.analysis.infer_shapes import infer_shapes
from chanc.backends.torch import build, emit
from chanc.frontends import zoo
from chanc.frontends.torch import export
from chanc.ir import load
from chanc.ir.normalize import normalize

torch = pytest.importorskip("torch")
F = torch.nn.functional

# network: width that keeps the test small, most lines of model.py
NETWORKS = {"resnet34": (8, 120), "mobilenetv2": (8, 160), "darts7": (4, 310), "efficientnet-b0": (8, 280)}
DAY = ("resnet34", "mobilenetv2")


def normal_form(path):
    model = load(path)
    normalize(model)
    infer_shapes(model)
    return model


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in DAY else pytest.mark.nightly) for name in sorted(NETWORKS)],
)
def network(request, tmp_path_factory):
    torch.manual_seed(0)
    twin = zoo.build(request.param, width=NETWORKS[request.param][0])
    for module in twin.modules():
        if isinstance(module, torch.nn.Dropout):  # an exporter leaves it out of an eval graph
            module.p = 0.0
    path = tmp_path_factory.mktemp("zoo") / f"{request.param}.onnx"
    export(twin.eval(), (torch.zeros(2, 3, 32, 32),), path)
    return request.param, twin, normal_form(path)


def test_state_dict_keys_are_the_twins(network):
    _, twin, model = network
    built = build(model)
    assert set(built.module.state_dict()) == set(twin.state_dict())
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(built.module(x), twin(x), atol=1e-5)


def test_source_is_short(network):
    name, _, model = network
    text = emit(model, "Net").text
    assert text.count("\n") <= NETWORKS[name][1]
    assert text.count("class ") <= 10
    assert "WIDTHS = {" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.nightly
def test_ten_steps_equal_the_twin_and_the_eleventh_after_reload(network):
    _, twin, model = network
    twin, model = copy.deepcopy(twin), ir.serde.deserialize_model(ir.serde.serialize_model(model))
    for value in model.graph.initializers.values():
        array = value.const_value.numpy()
        if array.dtype == np.float32:
            value.const_value = ir.tensor(array.astype(np.float64), name=value.name)
            value.dtype = ir.DataType.DOUBLE
    twin, built = twin.double(), build(model)
    assert steps(built.module, range(10)) == pytest.approx(steps(twin, range(10)), rel=1e-9)
    same(built.module, twin, 1e-9)
    built.write_back(model)
    again = build(model)
    assert steps(again.module, [10]) == pytest.approx(steps(twin, [10]), rel=1e-9)
    same(again.module, twin, 1e-9)


def steps(module, numbers):
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    losses = []
    module.train()
    for number in numbers:
        generator = torch.Generator().manual_seed(number)
        x = torch.randn(4, 3, 32, 32, dtype=torch.float64, generator=generator)
        loss = F.cross_entropy(module(x), torch.randint(0, 10, (4,), generator=generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def same(module, twin, tolerance):
    got = module.state_dict()
    for key, value in twin.state_dict().items():
        if "num_batches" not in key:
            assert torch.allclose(got[key].double(), value.double(), rtol=0, atol=tolerance), key


def test_every_entry_of_the_table_can_be_changed_by_itself(network):
    """The network still runs with any one width doubled: nothing else in the source depends on it."""
    _, _, model = network
    text = emit(model, "Net").text
    head, table, rest = re.split(r"(?ms)^(WIDTHS = \{\n.*?^\}\n)", text)
    entries = re.findall(r'    "(.*?)": (\d+),\n', table)
    assert len(entries) > 10
    for name, width in entries[:: max(len(entries) // 8, 1)]:
        changed = table.replace(f'"{name}": {width},', f'"{name}": {2 * int(width)},')
        namespace: dict[str, object] = {}
        exec(head + changed + rest, namespace)
        with torch.no_grad():
            assert namespace["Net"]().eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
