"""Both oracles on whole networks: exported skeletons with random weights, and trained models of other packages."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from chanc.analysis import Analysis, analyze
from chanc.backends import ort
from chanc.oracles import TOLERANCE, compare, zeroed
from chanc.rewriter import rewrite
from chanc.testing.skeletons import open_model

SHARED = Path(os.environ.get("CHANC_SHARED", Path(__file__).parents[2] / "shared")) / "models"
FILES = sorted([*SHARED.glob("third_party/*.onnx"), *SHARED.glob("skeletons/*.onnx.gz")])
QUICK = (
    "embedding_model", "onet", "pnet", "rnet", "silero", "det_det", "cls-model", "squeezenet1_1.dy", "squeezenet1_1.ts",
    "mnasnet0_5.dy", "mobilenet_v2.ts", "shufflenet_v2_x1_0.dy",
)  # fmt: skip
SQUASHES = ("Sigmoid", "Softmax")

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not FILES, reason="models are not part of the repository"),
]


def _params() -> list[object]:
    quick = [any(f"{name}." in path.name or name in path.name for name in QUICK) for path in FILES]
    return [
        pytest.param(path, id=path.name.split(".onnx")[0], marks=() if fast else pytest.mark.nightly)
        for path, fast in zip(FILES, quick, strict=True)
    ]


def _before_squash(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with what goes into a final Sigmoid or Softmax as output: noise as input drives those to 0 or 1."""
    makers = {name: node for node in model.graph.node for name in node.output}
    for output in model.graph.output:
        maker = makers.get(output.name)
        if maker is not None and maker.op_type in SQUASHES:
            output.name = maker.input[0]
    return model


@pytest.fixture(scope="module", params=_params())
def case(request):
    """(model, its analysis, inputs, what it computes)"""
    model = _before_squash(open_model(request.param))
    feeds = ort.fitting_feeds(model, batch=1)
    return model, analyze(model), feeds, ort.run(model, feeds, exact=True)


def _check(case, analysis: Analysis, scale: float, transfer: str) -> None:
    model, _, feeds, before = case
    plan = {
        group.id: {"scale": scale}
        for group in analysis.groups
        if group.resizable and group.exact and (transfer == "select" or group.scalable)
    }
    result = rewrite(model, plan, transfer=transfer)
    assert result.changed
    expected = before if transfer == "widen" else ort.run(zeroed(model, result.trace), feeds, exact=True)
    names = [value.name for value in model.graph.output]
    for found in compare(expected, ort.run(result.model, feeds, exact=True), names):
        assert found.error <= TOLERANCE, f"{found.output}: {found.error:.2e}"


def test_shrink(case):
    _check(case, case[1], 0.5, "select")


def test_widen(case):
    _check(case, case[1], 1.5, "widen")


def test_most_convolutions_may_change(case):
    """All axes of convolutions but those at the model's own inputs and outputs, with few exceptions."""
    operands = [(operand, group) for group in case[1].groups for operand in group.members]
    inner = [(o, g) for o, g in operands if not g.reason.startswith(("it takes graph input", "it is a graph output"))]
    free = sum(group.resizable for _, group in inner)
    assert free >= 0.9 * len(inner), {group.id: group.reason for _, group in inner if not group.resizable}


def test_inexact_rewrites_run(case):
    """Groups under a norm across channels can be resized, too: the model runs and its outputs keep their shapes."""
    model, analysis, feeds, before = case
    if all(group.exact for group in analysis.groups if group.resizable):
        pytest.skip("every group is exact")
    result = rewrite(model, scale=0.5)
    assert not result.trace.exact
    after = ort.run(result.model, feeds, exact=True)
    assert [array.shape for array in after] == [array.shape for array in before]
    assert all(np.isfinite(array).all() for array in after)
