"""Recurrent layers (ONNX LSTM, GRU, RNN).

W: [directions, gates * hidden, input], R: [directions, gates * hidden, hidden], B: [directions, 2 * gates * hidden],
P: [directions, 3 * hidden]. First states, nearly always zeros, are no weights.
"""

from __future__ import annotations

from chanc.ops.spec import Attributes, Weight, at
from chanc.ops.table import operator
from chanc.ops.work import recurrent

RECURRENT = {("", "GRU"), ("", "LSTM"), ("", "RNN"), ("com.microsoft", "DynamicQuantizeLSTM")}
BATCH_AXES = {0: 1, 4: 0, 5: 1, 6: 1}
"""The batch axis of each input that has one, where layout is 0: X, sequence_lens, initial_h, initial_c."""


def batch_first(attributes: Attributes) -> bool:
    """Whether X is [B, T, I], and not [T, B, I]."""
    layout = attributes.get("layout")
    return layout is not None and bool(layout.as_int())


MATRICES = tuple(Weight(index, init="he", makes=at(1), takes=at(2)) for index in (1, 2))
BIASES = Weight(3, init=0.0)
PEEPHOLES = Weight(7, init=0.0)

operator("GRU", "RNN", traits=(), weights=(*MATRICES, BIASES), divisors=(), work=recurrent)
operator("LSTM", traits=(), weights=(*MATRICES, BIASES, PEEPHOLES), divisors=(), work=recurrent)
