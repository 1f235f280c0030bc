"""Channel groups of the zoo's networks against the published structure (Hosseini et al. 2021, Wang et al. 2021)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
import pytest

from chanc.analysis import Analysis, analyze
from chanc.testing.builders import build
from chanc.testing.graphs import Graph

pytest.importorskip("torch")

from chanc.frontends import zoo

COUNTS = [
    ("resnet34", 20),
    ("darts7", 48),
    pytest.param("dartsplus7", 55, marks=pytest.mark.nightly),
    pytest.param("darts14", 111, marks=pytest.mark.nightly),
    pytest.param("darts20", 165, marks=pytest.mark.nightly),
    pytest.param("dartsplus14", 125, marks=pytest.mark.nightly),
    pytest.param("dartsplus20", 185, marks=pytest.mark.nightly),
]


@pytest.fixture(scope="module")
def analysed(zoo_model) -> Callable[..., Analysis]:
    """The analysis of a network of the zoo, made once: `analysed("resnet34", width=16)`."""

    @cache
    def make(name: str, *, width: int | None) -> Analysis:
        return analyze(zoo_model(name, width=width))

    return make


def resizable(analysis: Analysis) -> list:
    return [group for group in analysis.groups if group.resizable]


@pytest.mark.parametrize(("name", "count"), COUNTS)
@pytest.mark.parametrize("width", [pytest.param(None, marks=pytest.mark.nightly), 16])
def test_groups_of_the_published_networks(analysed, name: str, count: int, width: int | None) -> None:
    groups = resizable(analysed(name, width=width))
    assert len(groups) == count
    assert all(group.exact and group.scalable for group in groups)


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "count"), [("resnet34", 20), ("darts7", 48), ("dartsplus7", 55)])
def test_dynamo_writes_the_same_groups(zoo_model, name: str, count: int) -> None:
    pytest.importorskip("onnxscript")
    assert len(resizable(analyze(zoo_model(name, width=16, exporter="dynamo")))) == count


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16", "mobilenetv2", "densenet-bc", "googlenet"])
def test_as_many_groups_as_the_network_has_widths(analysed, name: str) -> None:
    assert len(resizable(analysed(name, width=24))) == len(zoo.table(name))


@pytest.mark.parametrize("width", [None, 16])
def test_resnet34_has_four_streams_and_sixteen_inner_widths(analysed, width: int | None) -> None:
    analysis = analysed("resnet34", width=width)
    groups = resizable(analysis)
    streams = {g.id: len(g.members) for g in groups if len(g.members) != 2}
    assert streams == {
        "conv1.weight": 9,
        "layer2.0.conv2.weight": 10,
        "layer3.0.conv2.weight": 14,
        "layer4.0.conv2.weight": 6,
    }
    assert len(groups) - len(streams) == 16
    assert sum(len(g.members) for g in groups) == 71
    published = {64: 4, 128: 5, 256: 7, 512: 4}
    assert Counter(g.size for g in groups) == (published if width is None else {width: 20})
    assert {g.step for g in groups} == {1}


@pytest.mark.parametrize(
    ("width", "params", "macs", "macs_all"),
    [
        (None, 21_282_122, 1_159_402_496, 1_162_425_344),
        (16, 76_250, 21_393_568, 21_888_416),
        pytest.param(32, 301_482, 84_689_216, 85_678_912, marks=pytest.mark.nightly),
    ],
)
def test_resnet34_counts_to_the_unit(analysed, width: int | None, params: int, macs: int, macs_all: int) -> None:
    analysis = analysed("resnet34", width=width)
    assert (analysis.params, analysis.macs, analysis.macs_all) == (params, macs, macs_all)


def test_members_are_the_axes_of_convolutions(analysed) -> None:
    stream = analysed("resnet34", width=16).group("layer4.0.conv2.weight")
    members = {(o.initializer, o.axis, o.role) for o in stream.members}
    assert members == {
        ("layer4.0.conv2.weight", 0, "producer"),
        ("layer4.0.shortcut.0.weight", 0, "producer"),
        ("layer4.1.conv1.weight", 1, "consumer"),
        ("layer4.1.conv2.weight", 0, "producer"),
        ("layer4.2.conv1.weight", 1, "consumer"),
        ("layer4.2.conv2.weight", 0, "producer"),
    }
    others = Counter((o.op, o.role) for o in stream.operands if o not in stream.members)
    assert others == {("BatchNormalization", "follower"): 16, ("Gemm", "consumer"): 1}


def test_the_halves_of_a_factorized_reduce_are_tied(analysed) -> None:
    analysis = analysed("darts7", width=16)
    halves = [g for g in resizable(analysis) if "preprocess0.conv1.weight" in g.id]
    assert len(halves) == 2
    for group in halves:
        halves_of = {group.id, group.id.replace("conv1", "conv2")}
        inside = {o.initializer: o for o in group.members if o.initializer in halves_of}
        assert set(inside) == halves_of
        assert all(o.role == "producer" and o.indices.tolist() == [[k] for k in range(8)] for o in inside.values())
        joined = [o for o in group.members if o.initializer not in halves_of]
        assert {o.role for o in joined} == {"producer", "consumer"}
        for o in joined:
            first, *others = o.indices.T.tolist()
            assert len(others) % 2
            assert all(np.diff(column).tolist() == [1] * 7 for column in (first, *others))


def test_ids_are_producers_and_the_same_from_run_to_run(analysed, zoo_model) -> None:
    first, second = analysed("darts7", width=16), analyze(onnx.load(zoo_model("darts7", width=16)))
    assert [g.id for g in first.groups] == [g.id for g in second.groups]
    assert len({g.id for g in first.groups}) == len(first.groups)
    names = set(first.model.graph.initializers)
    for group in resizable(first):
        assert group.id.partition("#")[0] in names
    for one, two in zip(first.groups, second.groups, strict=True):
        assert [(o.node, o.input, o.axis, o.role) for o in one.operands] == [
            (o.node, o.input, o.axis, o.role) for o in two.operands
        ]
        assert all(np.array_equal(a.indices, b.indices) for a, b in zip(one.operands, two.operands, strict=True))


def test_ids_do_not_depend_on_the_width(analysed) -> None:
    wide, narrow = (analysed("resnet34", width=width) for width in (None, 16))
    assert [g.id for g in wide.groups] == [g.id for g in narrow.groups]


def test_every_position_of_a_weight_axis_is_in_one_group(analysed) -> None:
    for name in ("mobilenetv2", "shufflenetv2", "densenet-bc"):
        analysis = analysed(name, width=24)
        places: dict[tuple[str, int, str, int], list[int]] = {}
        for group in analysis.groups:
            for o in group.operands:
                places.setdefault((o.node, o.input, o.initializer, o.axis), []).extend(o.indices.ravel().tolist())
        for (_, _, initializer, axis), found in places.items():
            shape = analysis.model.graph.initializers[initializer].shape
            assert shape is not None
            assert sorted(found) == list(range(shape.numpy()[axis])), initializer


def test_analysis_leaves_the_model_alone(zoo_model) -> None:
    model = onnx.load(zoo_model("mobilenetv2", width=24))
    before = model.SerializeToString(deterministic=True)
    analyze(model)
    assert model.SerializeToString(deterministic=True) == before


CONCAT = """
a = Conv (x, wa)
b = Conv (x, wb)
j = Concat <axis = 1> (a, b, a)
y = Conv (j, w)
"""


def test_a_concat_reads_as_segments_of_groups() -> None:
    shapes = {"wa": (2, 3, 1, 1), "wb": (3, 3, 1, 1), "w": (4, 7, 1, 1)}
    analysis = analyze(build("float[N,3,4,4] x", "float y", CONCAT, shapes))
    segments = {
        group.id: [o.indices.tolist() for o in group.operands if o.initializer == "w"] for group in resizable(analysis)
    }
    assert segments == {"wa": [[[0, 5], [1, 6]]], "wb": [[[2], [3], [4]]]}


def test_pinned_groups_say_why() -> None:
    body = "a = Conv (x, w1)\nr = Relu (a)\ny, other = me.Odd (r)"
    model = build("float[N,3,4,4] x", "float[N,8,4,4] y", body, {"w1": (8, 3, 1, 1)}, domains=("me",))
    analysis = analyze(model)
    assert not resizable(analysis)
    assert analysis.group("w1").reason == "no rule for me::Odd (Odd 'y')"
    assert analysis.group("w1:1").reason == "it takes graph input 'x' (Conv 'a')"
    assert [(p.op, p.node, p.tensor) for p in analysis.pinned if "no rule" in p.reason] == [("Odd", "y", "r")]


def test_the_json_names_what_is_not_counted() -> None:
    from chanc.cli.analyze import to_json

    graph = Graph()
    x = graph.input("x", [1, 3, 4, 4]).conv(4)
    (odd,) = graph.node("Odd", [x], shapes=[(1, 4, 4, 4)], domain="me")
    found = to_json(analyze(graph.model(odd)), "net.onnx")["model"]
    assert (found["macs"], found["uncounted"]) == (4 * 3 * 9 * 16, [odd.name])


def test_the_json_of_an_analysis(analysed) -> None:
    from chanc.cli.analyze import to_json

    analysis = analysed("resnet18", width=16)
    found = json.loads(json.dumps(to_json(analysis, "net.onnx")))
    assert found["format"] == 1
    assert found["model"].items() >= {"path": "net.onnx", "opset": 17, "params": analysis.params}.items()
    assert [g["id"] for g in found["groups"]] == [g.id for g in analysis.groups]
    for entry, group in zip(found["groups"], analysis.groups, strict=True):
        assert set(entry) == {"id", "size", "step", "resizable", "reason", "exact", "heads", "operands"}
        assert (entry["size"], entry["step"], entry["resizable"]) == (group.size, group.step, group.resizable)
        for use, operand in zip(entry["operands"], group.operands, strict=True):
            assert set(use) >= {"node", "input", "initializer", "axis", "role", "indices"}
            assert np.array_equal(np.array(use["indices"]), operand.indices)
            assert use["role"] in ("producer", "consumer", "follower")
    assert found["pinned"] == [
        {"tensor": p.tensor, "node": p.node, "op": p.op, "reason": p.reason} for p in analysis.pinned
    ]


SCRIPT = """
import json, sys
from chanc.analysis import analyze
from chanc.cli.analyze import to_json
from chanc.rewriter import rewrite
found = [to_json(analyze(sys.argv[1]), "m"), rewrite(sys.argv[1], scale=0.5, importance="random").trace.to_json()]
print(json.dumps(found))
"""


@pytest.mark.parametrize("name", ["shufflenetv2", pytest.param("densenet-bc", marks=pytest.mark.nightly)])
@pytest.mark.nightly
def test_analysis_and_rewrite_do_not_depend_on_hashes(zoo_model, name: str) -> None:
    path = str(zoo_model(name, width=24))
    runs = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, path],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert json.loads(runs[0])[0]["groups"]
