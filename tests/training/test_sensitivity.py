"""A network whose groups are masked is the rewritten one, in onnxruntime; what is dead is worth nothing."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from chanc.backends import ort  # noqa: E402
from chanc.data import Samples  # noqa: E402
from chanc.data.dataset import Dataset, make  # noqa: E402
from chanc.errors import PlanError  # noqa: E402
from chanc.rewriter import rewrite  # noqa: E402
from chanc.rewriter.plan import channels_of  # noqa: E402
from chanc.tasks import Classification, Distillation  # noqa: E402
from chanc.testing import blocks  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402
from chanc.training.sensitivity import Kept, Shrinkable  # noqa: E402


def residual() -> ir.Model:
    """A residual, a join, a depthwise convolution, a flattened image."""
    graph = Graph(scale=0.7)
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}).conv(8, stride=2).bn().relu()
    x = (x + x.conv(6).bn().relu().conv(8).bn()).relu()
    x = x.concat(x.conv(4).bn().relu()).conv(12, 1).bn().sigmoid().depthwise().bn()
    return graph.ir(x.pool().flatten().gemm(6).relu().gemm(4))


def normed() -> ir.Model:
    """A stream that a norm across its channels sees, and a wide layer that none does."""
    graph = Graph(scale=0.7)
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}).conv(8, 4, stride=4)
    y = blocks.layer_norm(blocks.channels_last(x.depthwise(7)))
    x = x + blocks.channels_first(blocks.mlp(y, 16))
    return graph.ir(x.gap().flatten().gemm(4))


def pictures() -> Dataset:
    rng = np.random.default_rng(0)
    parts = [(rng.integers(0, 256, (count, 1, 8, 8)).astype(np.uint8), np.arange(count) % 4) for count in (30, 8)]
    return make("pictures", *parts)


def shrinkable(model: ir.Model, task: Classification | Distillation | None = None) -> Shrinkable:
    what = task or Classification()
    return Shrinkable(model, what.fit(model, pictures()), what, device="cpu", batches=2, batch_size=8)


def weakest(net: Shrinkable, name: str, count: int) -> Kept:
    """All units of a group but some, drawn by chance."""
    units = net.analysis.group(name).units.size
    return {name: np.sort(np.random.default_rng(units).permutation(units)[count:])}


def rewritten(net: Shrinkable, kept: Kept) -> tuple[float, float]:
    """Cross-entropy and top-1 of the rewritten model, in onnxruntime, by hand."""
    plan = {name: {"keep": channels_of(net.analysis.group(name), units)} for name, units in kept.items()}
    done = rewrite(net.model, plan)
    assert all(done.trace.groups[name][1] < done.trace.groups[name][0] for name in kept)
    losses, rights = [], []
    for batch in net.feed:
        logits = ort.run(done.model, {"image": batch.inputs["image"].contiguous().numpy()})[0].astype(np.float64)
        assert batch.labels is not None
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        losses += (-np.log(chances[np.arange(len(logits)), batch.labels.numpy()])).tolist()
        rights += (logits.argmax(1) == batch.labels.numpy()).tolist()
    return float(np.mean(losses)), float(np.mean(rights))


@pytest.mark.parametrize(("model", "groups", "masked"), [(residual(), 5, 5), (normed(), 2, 1)],
                         ids=["residual", "normed"])  # fmt: skip
def test_a_masked_group_is_a_rewritten_one(model: ir.Model, groups: int, masked: int) -> None:
    net = shrinkable(model)
    names = [group.id for group in net.analysis.groups if group.resizable]
    assert (len(names), len(net.masks.groups)) == (groups, masked)
    together: dict[str, np.ndarray] = {}
    for name in names:
        kept = weakest(net, name, 2)
        together |= kept
        found = net.at(kept)
        assert (found.loss, found.score) == pytest.approx(rewritten(net, kept), rel=1e-4)
        assert abs(found.loss - net.at({}).loss) > 1e-4, "the mask does something"
    found = net.at(together)
    assert (found.loss, found.score) == pytest.approx(rewritten(net, together), rel=1e-4)


def test_measuring_leaves_no_trace() -> None:
    net = shrinkable(residual())
    base, name = net.at({}), next(iter(net.masks.groups))
    assert net.at(weakest(net, name, 3)) != base
    assert net.at({}) == base


def test_dead_channels_are_worth_nothing() -> None:
    """Units whose columns are 0 in what reads them."""
    model = residual()
    net = shrinkable(model)
    readers = [(group, [operand for operand in group.operands if operand.role == "consumer"])
               for group in net.analysis.groups if group.resizable]  # fmt: skip
    group, (reader,) = next((group, found) for group, found in readers if len(found) == 1)
    dead = [0, 3]
    value = model.graph.initializers[reader.initializer]
    array = value.const_value.numpy().copy()
    array[(slice(None),) * reader.axis + (reader.indices[dead].ravel(),)] = 0
    value.const_value = ir.tensor(array, name=value.name)
    net = shrinkable(model)
    kept = {group.id: np.setdiff1d(np.arange(group.units.size), dead)}
    assert net.at(kept) == net.at({})
    assert net.at({group.id: np.setdiff1d(np.arange(group.units.size), [1, 2])}) != net.at({})


def test_without_labels_the_loss_is_what_the_model_would_say_otherwise() -> None:
    model = residual()
    images = np.random.default_rng(0).random((20, 1, 8, 8), np.float32)
    task = Distillation()
    data = task.fit(model, Samples("arrays", {"image": images[:12]}, {"image": images[12:]}))
    net = Shrinkable(model, data, task, device="cpu", batches=2, batch_size=5)
    assert net.feed.samples == 10
    base = net.at({})
    assert (base.loss, base.score) == pytest.approx((0, 1), abs=1e-6)
    name = next(iter(net.masks.groups))
    kept = weakest(net, name, 2)
    done = rewrite(model, {name: {"keep": channels_of(net.analysis.group(name), kept[name])}})
    inputs = {"image": np.concatenate([batch.inputs["image"].numpy() for batch in net.feed])}
    said, now = (ort.run(one, inputs)[0].astype(np.float64) for one in (model, done.model))
    spread = ort.run(model, {"image": images[:12]})[0].astype(np.float64).var()
    assert net.at(kept).loss == pytest.approx(((said - now) ** 2).mean() / spread, rel=1e-3)


def test_what_cannot_shrink_says_why() -> None:
    net = shrinkable(normed())
    name = next(group.id for group in net.analysis.groups if group.resizable and group.id not in net.masks.groups)
    with pytest.raises(PlanError, match="must be a list of channels"):
        net.at({name: np.arange(0)})
