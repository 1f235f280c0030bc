"""Both oracles on rebuilt networks of many kinds: a few by day, all of them at night.

Of each network a stated number of groups may change; at half the widths, and wider, the judge finds the rewrite exact,
or verifies the groups that norms see by doubling. `-s` prints a line a network.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from chanc.analysis import Analysis, analyze
from chanc.backends import ort
from chanc.oracles import Verdict, judge
from chanc.rewriter import Rewrite, rewrite

pytest.importorskip("torch")

from .catalogue import NETWORKS
from .registry import Network

CASES = [pytest.param(each, id=name, marks=() if each.day else pytest.mark.nightly) for name, each in NETWORKS.items()]


@pytest.mark.parametrize("network", CASES)
def test_network(network: Network) -> None:
    start = time.perf_counter()
    model = network.build()
    found = analyze(model)
    free = [group for group in found.groups if group.resizable]
    narrow, wide = rewrite(model, scale=0.5), rewrite(model, scale=network.wide, transfer="widen")
    verdicts = (
        judge(model, narrow.model, trace=narrow.trace),
        judge(model, wide.model, trace=wide.trace, transfer="widen"),
    )
    share = _share(found, narrow)
    said = " | ".join(map(_kind, verdicts))
    print(
        f"\n| {network.name} | {len(free)} of {len(found.groups)} | {share:.1%} | {said} | "
        f"{time.perf_counter() - start:.1f} |"
    )
    assert all(group.reason for group in found.groups if not group.resizable)
    assert len(free) >= network.groups
    assert share >= network.share, {group.id: group.reason for group in found.groups if group.reason}
    assert not narrow.trace.left
    assert wide.trace.operands
    _told(network, found, wide)
    for verdict in verdicts:
        assert verdict.agrees, str(verdict)
    _runs(model, narrow, wide)
    if narrow.trace.exact:
        _shows(model, narrow)


def test_there_are_many() -> None:
    """Sixty and more kinds."""
    assert len(NETWORKS) >= 60


def _kind(verdict: Verdict) -> str:
    """How a rewrite was judged, in a word or two."""
    text = str(verdict)
    words = ["can't tell"] if verdict.agrees is None else [] if verdict.agrees else ["WRONG"]
    words += [word for word, told in (("doubled", "by doubling"), ("halved", "by the first half")) if told in text]
    words += ["float64"] if any(finding.judge == "float64" for finding in verdict.findings) else []
    return ", ".join(words) or "exact"


def _share(found: Analysis, narrow: Rewrite) -> float:
    """The part of the weights that changes at half the widths."""
    sizes = {
        str(name): value.const_value.size
        for name, value in found.model.graph.initializers.items()
        if (value.const_value is not None and value.const_value.dtype.is_floating_point()) or "quantized" in str(name)
    }
    changed = {operand.initializer for operand in narrow.trace.operands}
    return sum(size for name, size in sizes.items() if name in changed) / max(sum(sizes.values()), 1)


def _told(network: Network, found: Analysis, wide: Rewrite) -> None:
    """What is left alone on widening is told, and for a reason that the network names."""
    for name, reason in wide.trace.left.items():
        assert not found.group(name).scalable, (name, reason)
        assert network.stays, (name, reason)
        assert network.stays in reason, (name, reason)


def _runs(model: onnx.ModelProto, *rewrites: Rewrite) -> None:
    """In onnxruntime as it is installed, optimised, with outputs of the same shapes."""
    feeds = ort.fitting_feeds(model, batch=2)
    before = ort.run(model, feeds)
    for each in rewrites:
        after = ort.run(each.model, feeds)
        assert [array.shape for array in after] == [array.shape for array in before]
        assert all(np.isfinite(b).all() for a, b in zip(before, after, strict=True) if np.isfinite(a).all())


def _shows(model: onnx.ModelProto, narrow: Rewrite) -> None:
    """A weight in the wrong order is seen, of the last few that changed: that nothing was found is no formality."""
    assert any(judge(model, wrong, trace=narrow.trace).agrees is False for wrong in _turned(narrow))


def _turned(narrow: Rewrite) -> Iterator[onnx.ModelProto]:
    """The rewritten model with the channels of one weight in another order, for each of the last four weights."""
    for operand in narrow.trace.operands[:-5:-1]:
        wrong = onnx.ModelProto()
        wrong.CopyFrom(narrow.model)
        tensor = next((t for t in wrong.graph.initializer if t.name == operand.initializer), None)
        if tensor is not None:
            turned = np.roll(numpy_helper.to_array(tensor), 1, max(operand.axes))
            tensor.CopyFrom(numpy_helper.from_array(turned, tensor.name))
            yield wrong
