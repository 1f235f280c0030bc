"""A rule for an operator of one's own: com.example::ChannelGate, Y = X * sigmoid(gain), with the width as an attribute.

Without a rule chanc leaves the channels that enter such an operator alone, and says so. With one for the analysis and
one for the rewrite they can be resized. A spec says what the operator is: that its gain is trained, one value a
channel, and begins as 0. In a package all three would stand in a module that `pyproject.toml` names:

    [project.entry-points."chanc.ops"]
    example = "example_package.rules"

Run: python examples/03_custom_operator.py
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx.numpy_helper import to_array
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

import chanc
from chanc.analysis.context import Context
from chanc.analysis.rules import rule as analysis_rule
from chanc.ir import to_proto
from chanc.ops import Trait, Weight, free, operator
from chanc.oracles import compare, zeroed
from chanc.rewriter.rules import rule as rewrite_rule
from chanc.rewriter.site import Site
from chanc.testing.graphs import Graph

DOMAIN = "com.example"


class ChannelGate(OpRun):
    """What the operator computes: X [N, C, H, W], gain [C] -> [N, C, H, W]; it insists on its attribute `channels`."""

    op_domain = DOMAIN

    def _run(self, data, gain, channels=None):
        assert data.shape[1] == gain.size == channels, f"{data.shape[1]} channels, but the attribute says {channels}"
        return (data / (1 + np.exp(-gain))[:, None, None],)


def analyze_gate(context: Context) -> None:
    """Channel k of X and entry k of the gain are one; the output's channels are those of X."""
    data = context.input(0)
    gain = context.parameter(1, (0,))
    channels, entries = context.project(data, 1), context.project(gain, 0)
    if entries is None:
        return
    if channels is None:
        context.pin(entries, f"it meets {data.why}")
    else:
        context.same(entries, channels)
    context.output(data)


def rewrite_gate(site: Site) -> None:
    """The attribute follows the width."""
    width = site.resize.size(site.result(), 1)
    assert isinstance(width, int), "a channel axis has a known size"
    site.set_attribute("channels", width)


def register() -> None:
    """What the entry point would do when it is loaded."""
    operator(
        "ChannelGate",
        domain=DOMAIN,
        traits={Trait.CHANNELWISE, Trait.RANK},
        weights=(Weight(1, init=0.0),),
        divisors=(),
        work=free,
    )
    analysis_rule("ChannelGate", domain=DOMAIN)(analyze_gate)
    rewrite_rule("ChannelGate", domain=DOMAIN)(rewrite_gate)


def network() -> onnx.ModelProto:
    """Convolution, gate, convolution."""
    graph = Graph()
    x = graph.input("image", [2, 3, 8, 8]).conv(16)
    gain = graph.vector(16, -2, 2)
    gated = graph.node("ChannelGate", [x, gain], shapes=[x.shape], domain=DOMAIN, channels=16)[0]
    return graph.model(gated.relu().conv(4, 1))


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Run a model with the operator; onnxruntime would need a custom operator library."""
    return ReferenceEvaluator(model, new_ops=[ChannelGate]).run(None, feeds)


def main() -> None:
    """Show the groups before and after, halve the width, and compare with the original where channels are zeroed."""
    model = network()
    for group in chanc.analyze(model).groups:
        print(f"without a rule: {group.id} {group.size} {'may change' if group.resizable else group.reason}")
    register()
    for group in chanc.analyze(model).groups:
        print(f"with rules:     {group.id} {group.size} {'may change' if group.resizable else group.reason}")
    result = chanc.rewrite(model, scale=0.5)
    feeds = {"image": np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)}
    expected = run(to_proto(zeroed(model, result.trace)), feeds)
    (found,) = compare(expected, run(result.model, feeds), ["output"])
    gate = next(node for node in result.model.graph.node if node.op_type == "ChannelGate")
    print(f"after rewrite:  channels = {gate.attribute[0].i}, largest error {found.error:.1e}")
    fresh = chanc.rewrite(model, scale=0.5, transfer="init").model
    gain = next(to_array(tensor) for tensor in fresh.graph.initializer if tensor.name == gate.input[1])
    print(f"from scratch:   {gain.size} gains from {gain.min():.1f} to {gain.max():.1f}")


if __name__ == "__main__":
    main()
