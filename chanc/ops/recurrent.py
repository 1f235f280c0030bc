"""Recurrent layers (ONNX LSTM, GRU, RNN).

W: [directions, gates * hidden, input], R: [directions, gates * hidden, hidden], B: [directions, 2 * gates * hidden],
P: [directions, 3 * hidden]. First states, nearly always zeros, are no weights.
"""

from __future__ import annotations

from chanc.ops.spec import Weight, at
from chanc.ops.table import operator
from chanc.ops.work import recurrent

MATRICES = tuple(Weight(index, init="he", makes=at(1), takes=at(2)) for index in (1, 2))
BIASES = Weight(3, init=0.0)
PEEPHOLES = Weight(7, init=0.0)

operator("GRU", "RNN", traits=(), weights=(*MATRICES, BIASES), divisors=(), work=recurrent)
operator("LSTM", traits=(), weights=(*MATRICES, BIASES, PEEPHOLES), divisors=(), work=recurrent)
