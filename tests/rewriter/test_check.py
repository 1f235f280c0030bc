"""Sabotage: a rule that is wrong must not get past the second analysis, or else past the oracles."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from chanc.analysis import analyze, analyze_model
from chanc.analysis.context import Context
from chanc.errors import VerifyError
from chanc.ir import load
from chanc.ir.normalize import normalize
from chanc.oracles import check_shrink, check_widen
from chanc.rewriter import rewrite
from chanc.rewriter.check import check_against
from chanc.rewriter.rules import REGISTRY
from chanc.rewriter.site import Site
from chanc.testing.builders import build

INPUT = "float[N,3,4,4] x"
ADD = "a = Conv (x, wa)\nb = Conv (x, wb)\ns = Add (a, b)\ny = Conv (s, w)"
ADD_SHAPES = {"wa": (6, 3, 1, 1), "wb": (6, 3, 1, 1), "w": (2, 6, 1, 1)}
SPLIT = "a = Conv (x, wa)\nb, c = Split <axis = 1> (a, sizes)\nd = Conv (b, wb)\ne = Conv (c, wc)\ny = Add (d, e)"
SPLIT_SHAPES = {"wa": (6, 3, 1, 1), "wb": (3, 4, 1, 1), "wc": (3, 2, 1, 1), "sizes": np.array([4, 2])}
GROUPED = "a = Conv (x, wa)\nb = Conv <group = 2> (a, wb)\ny = Conv (b, w)"
GROUPED_SHAPES = {"wa": (6, 3, 1, 1), "wb": (4, 3, 1, 1), "w": (2, 4, 1, 1)}


def nothing(self: object, *noted: object) -> None:
    """What is forgotten."""


def replace_rule(monkeypatch: pytest.MonkeyPatch, op: str, rule: object) -> None:
    find = REGISTRY.find
    monkeypatch.setattr(REGISTRY, "find", lambda domain, name, since: rule if name == op else find(domain, name, since))


@pytest.fixture
def add() -> onnx.ModelProto:
    return build(INPUT, "float y", ADD, ADD_SHAPES)


@pytest.fixture
def cut() -> onnx.ModelProto:
    """A Split of six channels in four and two."""
    return build(INPUT, "float y", SPLIT, SPLIT_SHAPES)


def test_the_rules_as_they_are_pass(add, cut) -> None:
    for model in (add, cut, build(INPUT, "float y", GROUPED, GROUPED_SHAPES)):
        assert check_shrink(model, scale=0.5).operands
        assert check_widen(model, scale=1.5).operands


def test_an_add_that_forgets_to_unite(add, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "same", nothing)
    with pytest.raises(VerifyError, match="after the rewrite"):
        rewrite(add, {"wa": 3})


def test_an_add_that_forgets_to_unite_under_the_oracle(add, monkeypatch: pytest.MonkeyPatch) -> None:
    """At equal widths every shape fits, and only the values tell."""
    monkeypatch.setattr(Context, "same", nothing)
    assert rewrite(add, scale=0.5).changed
    with pytest.raises(AssertionError, match="output 'y' differs"):
        check_shrink(add, scale=0.5)


def test_a_grouped_convolution_that_forgets_to_couple(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(INPUT, "float y", GROUPED, GROUPED_SHAPES)
    monkeypatch.setattr(Context, "couple", nothing)
    with pytest.raises(VerifyError):
        rewrite(model, {"wa#0": 2})
    with pytest.raises(AssertionError, match="output 'y' differs"):
        check_shrink(model, scale=0.5, importance="random")


@pytest.mark.parametrize("sizes", [[1, 4], [3, 1], [1, 3], [4, 2], [4, 0]])
def test_wrong_split_sizes(cut, monkeypatch: pytest.MonkeyPatch, sizes: list[int]) -> None:
    """The parts should be [2, 2]."""
    replace_rule(monkeypatch, "Split", lambda site: Site.set_input(site, 1, np.array(sizes)))
    with pytest.raises(VerifyError, match="after the rewrite"):
        rewrite(cut, {"wa#0": 2})


def test_a_split_without_a_rewrite_rule(cut, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_rule(monkeypatch, "Split", None)
    with pytest.raises(VerifyError, match="after the rewrite Split 'b' is not understood"):
        rewrite(cut, {"wa#0": 2})


def test_a_grouped_convolution_that_keeps_its_group_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Depthwise: `group` must follow the channels."""
    body = "a = Conv (x, wa)\nb = Conv <group = 6> (a, wb)\ny = Conv (b, w)"
    model = build(INPUT, "float y", body, {"wa": (6, 3, 1, 1), "wb": (6, 1, 3, 3), "w": (2, 6, 1, 1)})
    assert rewrite(model, {"wa": 3}).changed
    replace_rule(monkeypatch, "Conv", lambda site: None)
    with pytest.raises(VerifyError, match="after the rewrite"):
        rewrite(model, {"wa": 3})


def test_a_gather_that_mixes_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A permutation before a residual Add: wrong indices of the right number unite channels of different origin."""
    body = "a = Conv (x, wa)\ng = Gather <axis = 1> (a, order)\nb = Conv (g, wb)\nt = Add (g, b)\ny = Conv (t, w)"
    shapes = {"wa": (6, 3, 1, 1), "wb": (6, 6, 1, 1), "w": (2, 6, 1, 1), "order": np.array([5, 3, 4, 0, 2, 1])}
    model = build(INPUT, "float y", body, shapes)
    assert check_shrink(model, scale=0.5, importance="random").operands
    replace_rule(monkeypatch, "Gather", lambda site: site.set_input(1, np.arange(3)))
    with pytest.raises(VerifyError, match="mix channels"):
        rewrite(model, {"wa": {"keep": [0, 3, 5]}})


def test_analyses_of_one_model_agree(add) -> None:
    model = load(add)
    normalize(model)
    check_against(analyze_model(model), model, {})


def test_an_analysis_of_another_width_does_not_agree(add) -> None:
    model = load(add)
    normalize(model)
    before = analyze_model(model)
    value = model.graph.initializers["wb"]
    value.const_value = ir.tensor(np.ones((5, 3, 1, 1), np.float32), name="wb")
    with pytest.raises(VerifyError, match="after the rewrite"):
        check_against(before, model, {})


@pytest.mark.parametrize("sizes", [[1, 4], [4, 3], [7, -1], [2, 2, 2]])
def test_a_model_whose_split_does_not_add_up_is_not_understood(cut, sizes: list[int]) -> None:
    cut.graph.initializer[3].CopyFrom(onnx.numpy_helper.from_array(np.array(sizes), "sizes"))
    analysis = analyze(cut)
    assert not any(group.resizable for group in analysis.groups if group.id.startswith("wa"))
    assert "don't add up" in analysis.group("wa").reason


@pytest.mark.parametrize("before", [0, 2])
def test_zeros_that_a_pad_leaves_outside_their_groups(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of five channels, some of them zeros: no weight tells the groups' channels from one another."""
    nodes = "a = Conv (x, wa)\np = Pad (a, pads)\nb = Conv <group = 2> (p, wb)\ny = Conv (b, w)"
    shapes = {"wa": (8, 3, 1, 1), "wb": (2, 5, 1, 1), "w": (2, 2, 1, 1)}
    pads = np.array([0, before, 0, 0, 0, 2 - before, 0, 0])
    model = build(INPUT, "float y", nodes, {**shapes, "pads": pads})
    assert check_widen(model, scale=2.0).operands
    monkeypatch.setattr(Site, "reorder", nothing)
    done = rewrite(model, scale=2.0)
    ((name, reason),) = done.trace.left.items()
    assert name in ("wa#0", "wa#1")
    assert "mix channels" in reason
    assert done.changed
