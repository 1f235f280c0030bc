"""Recurrent layers with `layout` 1 (batch first), which onnxruntime doesn't run: both oracles on ONNX's reference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import reference

from chanc.backends import ort
from chanc.testing.graphs import Graph, Tensor
from chanc.testing.rules import RuleContract

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
HIDDEN = 4


def network(operator: str, *, both: bool, batch_first: bool, state: str = "Y") -> onnx.ModelProto:
    """A linear layer, a recurrent one on [batch 2, sequence 5, channels 6] and a linear layer on `state`: Y or Y_h."""
    graph = Graph(opset=17)
    x = graph.input("x", [2, 5, 3]).linear(6)
    ways, gates = 1 + both, GATES[operator]
    weights: list[Tensor | None] = [
        graph.weight(ways, gates * HIDDEN, 6, fan_in=6),
        graph.weight(ways, gates * HIDDEN, HIDDEN, fan_in=HIDDEN),
        graph.vector(ways * 2 * gates * HIDDEN, shape=(ways, 2 * gates * HIDDEN)),
    ]
    first = graph.weight(2, ways, HIDDEN)
    attributes = {"hidden_size": HIDDEN, "direction": "bidirectional" if both else "forward"}
    if batch_first:
        whole, last = graph.node(operator, [x, *weights, None, first], outputs=2, layout=1, **attributes)
    else:
        turned, started = x.transpose(1, 0, 2), first.transpose(1, 0, 2)
        whole, last = graph.node(operator, [turned, *weights, None, started], outputs=2, **attributes)
        whole, last = whole.transpose(2, 0, 1, 3), last.transpose(1, 0, 2)
    made = whole.reshape(0, 0, -1) if state == "Y" else last.reshape(0, -1)
    return graph.model(made.linear(3))


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [np.asarray(array) for array in reference.ReferenceEvaluator(model).run(None, dict(feeds))]


@pytest.mark.parametrize("state", ["Y", "Y_h"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("operator", GATES)
def test_the_reference_agrees_with_onnxruntime_on_turned_tensors(operator: str, both: bool, state: str) -> None:
    """What the tests below rest on."""
    model = network(operator, both=both, batch_first=True, state=state)
    feeds = ort.random_feeds(model)
    (expected,) = ort.run(network(operator, both=both, batch_first=False, state=state), feeds)
    np.testing.assert_allclose(run(model, feeds)[0], expected, rtol=1e-5, atol=1e-5)


class _Contract(RuleContract):
    version = 17

    def models(self):
        for both in (False, True):
            for state in ("Y", "Y_h"):
                yield network(self.operator, both=both, batch_first=True, state=state)

    def run(self, model, feeds):
        return run(model, feeds)


class TestLSTM(_Contract):
    operator = "LSTM"


class TestGRU(_Contract):
    operator = "GRU"


class TestRNN(_Contract):
    operator = "RNN"
