from __future__ import annotations

import dataclasses
import json
import re

import pytest

from chanc.report.visualizer import model_graph, write_html
from chanc.testing.builders import build

HOSTILE = "</script><script>alert(1)</script>"


def test_bars_grow_with_the_square_root_of_the_width(runs):
    graph = model_graph(runs.resnet(16, width=16))
    by_width = {node["out"][0]["n"]: node["out_px"] for node in graph["nodes"] if node["kind"] == "layer"}
    assert by_width[128] / by_width[32] == pytest.approx(2.0, rel=0.01)
    assert by_width[64] / by_width[16] == pytest.approx(2.0, rel=0.01)
    assert {sample["n"]: sample["px"] for sample in graph["scale"]}[128] == by_width[128]


def test_the_area_of_a_circle_is_the_width(runs):
    graph = model_graph(runs.resnet(16, width=16), circles=True)
    layers = [node for node in graph["nodes"] if node["kind"] == "layer"]
    radius = {node["out"][0]["n"]: node["radius"] for node in layers}
    assert radius[128] ** 2 / radius[32] ** 2 == pytest.approx(4.0, rel=0.02)
    for node in layers:
        assert 2 * node["radius"] < node["h"]
        assert 2 * (node["radius"] + 5 + 5 * len(node["count"]["out"])) <= node["w"]


def test_what_a_width_was_before_stands_beside_it(runs):
    graph = model_graph(runs.resnet(4, width=8), before=runs.resnet(4, width=32))
    stem, *_, last = (node for node in graph["nodes"] if node["kind"] == "layer")
    assert stem["count"] == {"in": "3", "out": "32 → 8"}
    assert stem["in_was_px"] == 0
    assert stem["out_was_px"] / stem["out_px"] == pytest.approx(2.0, rel=0.01)
    assert stem["was_radius"] / stem["radius"] == pytest.approx(2.0, rel=0.02)
    assert last["count"]["out"] == str(last["out"][0]["n"])  # the classes stay
    assert graph["before"]["params"] == runs.resnet(4, width=32).params
    alone = model_graph(runs.resnet(4, width=8))
    assert alone["before"] is None
    assert all(node["was_radius"] == node["out_was_px"] == 0 for node in alone["nodes"])


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
@pytest.mark.parametrize("circles", [False, True])
def test_pictures(runs, tmp_path, circles, kind):
    """Of networks in which a layer has several groups and some can't change; the same picture is the same file."""
    pytest.importorskip("matplotlib")
    from chanc.report.static import draw_network

    for network in (runs.resnet(4, width=8), runs.cells(3)):
        graph = model_graph(network, circles=circles, before=runs.resnet(4, width=32))
        one, two = (draw_network(graph, tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "two"))
        assert one == two
        assert one.startswith({"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}[kind])
        if kind == "svg":
            assert one.count(b"<path") > 2 * len(graph["nodes"])


def test_a_groups_nodes_are_those_that_show_it(runs):
    graph = model_graph(runs.resnet(8))
    assert len(graph["groups"]) == 12
    for index, group in enumerate(graph["groups"]):
        for number, node in enumerate(graph["nodes"]):
            shows = any(segment["g"] == index for segment in (*node["in"], *node["out"]))
            assert shows == (number in group["nodes"])
    inner = next(group for group in graph["groups"] if group["id"] == "layer1.0.conv1.weight")
    assert [graph["nodes"][number]["label"] for number in inner["nodes"]] == ["layer1.0.conv1", "layer1.0.conv2"]
    assert inner["members"] == 2


def test_labels_and_bars_fit_their_boxes(runs):
    for node in model_graph(runs.cells(6))["nodes"]:
        assert max(node["in_px"], node["out_px"]) <= node["w"] + 0.1
        assert 6 * len(f"{node['label']} {node['detail']}".strip()) <= node["w"]


def test_five_hundred_layers_make_a_page(runs, tmp_path):
    analysis = runs.resnet(240, width=8)
    write_html(analysis, tmp_path / "net.html")
    text = (tmp_path / "net.html").read_text()
    assert len(text) < 2_000_000
    graph = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))["graph"]
    assert len([node for node in graph["nodes"] if node["kind"] == "layer"]) > 480


def test_hostile_names_stay_data(runs, tmp_path):
    analysis = runs.resnet(4, prefix=HOSTILE)
    pins = (runs.Pinned("t", HOSTILE + "stem_out", "Conv", HOSTILE),)
    analysis = dataclasses.replace(analysis, pinned=pins)
    write_html(analysis, tmp_path / "net.html", title=HOSTILE)
    text = (tmp_path / "net.html").read_text()
    assert "<script>alert" not in text
    assert text.count("</script>") == 4
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))
    assert any(node["name"].startswith(HOSTILE) for node in data["graph"]["nodes"])


def test_a_folder_that_is_missing_is_an_error(runs, tmp_path):
    with pytest.raises(OSError, match="No such file"):
        write_html(runs.resnet(4), tmp_path / "missing" / "net.html")


def test_the_real_analysis_of_a_network(runs):
    from chanc.analysis import analyze

    made = runs.resnet(8)
    graph = model_graph(analyze(made.model))
    by_label = {node["label"]: node for node in graph["nodes"]}
    groups = graph["groups"]
    first, second = by_label["layer1.0.conv1"], by_label["layer1.0.conv2"]
    assert first["out"][0]["g"] == second["in"][0]["g"]
    assert groups[first["out"][0]["g"]]["resizable"]
    # the stream of the first stage: the stem and every second convolution write it
    assert second["out"][0]["g"] == by_label["stem"]["out"][0]["g"] == by_label["layer1.1.conv1"]["in"][0]["g"]
    # the image's channels and the classes are held, and say why
    assert by_label["stem"]["in"][0]["r"]
    assert by_label["fc"]["out"][0]["r"]
    assert graph["params"] > 0


def test_what_a_reader_drops_is_pale_and_its_line_thin(runs):
    stem, second = range(16), range(0, 24, 2)
    graph = model_graph(runs.cells(3), {
        "cells.0.branch0_out:1": {"stem.weight": stem[:4]},
        "cells.2.branch0_out:1": {"cells.1.branch1.weight": second, "cells.1.branch2.weight": ()},
    })  # fmt: skip
    by_name = {node["name"]: number for number, node in enumerate(graph["nodes"])}
    first, last = by_name["cells.0.branch0_out"], by_name["cells.2.branch0_out"]
    (segment,) = graph["nodes"][first]["in"]
    assert (segment["n"], segment["d"]) == (32, 28)
    assert [(part["n"], part["d"]) for part in graph["nodes"][last]["in"]] == [(16, 0), (24, 12), (32, 32), (16, 0)]
    read = {(edge["from"], edge["to"]): edge["read"] for edge in graph["edges"]}
    assert {share for (_, to), share in read.items() if to == first} == {4 / 32}
    assert {share for (_, to), share in read.items() if to == last} == {0.5}
    assert {share for (_, to), share in read.items() if to not in (first, last)} == {1.0}


def test_a_line_is_thin_through_the_depthwise_filter_before_its_reader():
    from chanc.analysis import analyze

    nodes = """
        a = Conv (x, wa)
        d = Conv <group = 6> (a, wd)
        p = Conv (d, wp)
        y = Conv (a, wy)
    """
    weights = {"wa": (6, 3, 1, 1), "wd": (6, 1, 1, 1), "wp": (4, 6, 1, 1), "wy": (4, 6, 1, 1)}
    found = analyze(build("float[1,3,4,4] x", "float p, float y", nodes, weights))
    graph = model_graph(found, {"p:1": {"wa": (0, 2)}})
    name = [node["label"] for node in graph["nodes"]]
    assert {(name[edge["from"]], name[edge["to"]]): edge["read"] for edge in graph["edges"]} == {
        ("x", "wa"): 1, ("wa", "wd"): 0.333, ("wd", "wp"): 0.333, ("wa", "wy"): 1, ("wp", "p"): 1, ("wy", "y"): 1,
    }  # fmt: skip
