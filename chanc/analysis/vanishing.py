"""Whether channels are zero once the weights that make them are: a sum over channels can then do without them.

A channel that goes is judged against the original with its weights, biases and norm parameters zeroed. Whatever else is
left of it, half of a Sigmoid or a one that was added, goes through the weights of what reads it; but a sum without
weights, a product of two activations or a ReduceSum, has it in its result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx_ir as ir

from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.findings import Findings
from chanc.analysis.initializers import Use
from chanc.analysis.layout import Field
from chanc.ops import Trait, has, spec_of

Answer = bool | None
"""Whether it is zero; None where that can't be told."""

MOVERS = frozenset({"Expand", "Tile", "Resize", "Upsample", "GridSample", "RotaryEmbedding", "DynamicQuantizeLinear"})
"""Operators that make zeros of zeros in their first input, beside those that their traits tell of."""


def remains(findings: Findings, unit: IntArray) -> Iterator[tuple[IntArray, str]]:
    """The labels of sums that have more than zeros of a channel that goes, each with the reason.

    `unit[l]` is the smallest label that goes with label l.
    """
    for found in findings.sums:
        zero = _Search(findings, unit, found.labels).any(found.operands)
        if zero is False or (zero is None and found.strict):
            yield found.labels, found.reason


class _Search:
    """What becomes of the channels that are summed, on the way from the weights to the sum."""

    def __init__(self, findings: Findings, unit: IntArray, labels: IntArray) -> None:
        self.findings, self.unit = findings, unit
        self.wanted = np.unique(unit[labels])
        self.known: dict[ir.Value, Answer] = {}

    def any(self, operands: Iterable[Use]) -> Answer:
        """Whether a product of these inputs is zero: one of them has to be."""
        answers = [answer for use in operands if (answer := self.operand(*use)) is not False]
        return True if True in answers else None if answers else False

    def all(self, operands: Iterable[Use]) -> Answer:
        """Whether a sum of these inputs is zero, or several joined."""
        answers = [self.operand(*use) for use in operands]
        return False if False in answers else None if None in answers else True

    def operand(self, node: ir.Node, index: int) -> Answer:
        """Whether an input of a node is zero at the channels that go."""
        value = node.inputs[index]
        assert value is not None
        if value in self.findings.layouts or value.const_value is None:
            return self._value(value)
        seen = self.findings.initializers.seen(value, (node, index))
        return seen is not None and np.isin(self.wanted, self._units(seen.fields)).all().item()

    def _value(self, value: ir.Value) -> Answer:
        if value not in self.known:
            node, layout = value.producer(), self.findings.layouts.get(value)
            if node is not None and node.op_type == "ConstantOfShape":
                fill = node.attributes.get("value")
                self.known[value] = fill is None or not fill.as_tensor().numpy().any()
            elif layout is not None and not np.isin(self._units(layout.fields), self.wanted).any():
                self.known[value] = False  # it knows nothing of them
            else:
                self.known[value] = None if node is None else self._made(node)
        return self.known[value]

    def _units(self, fields: Sequence[Field]) -> IntArray:
        return self.unit[np.concatenate([field.labels.ravel() for field in fields])] if fields else self.unit[:0]

    def _made(self, node: ir.Node) -> Answer:
        """Whether what a node makes is zero."""
        spec, kind = spec_of(node), node.op_type
        if spec is None or "activation" in node.attributes or "activations" in node.attributes:
            return None
        every = [(node, index) for index, value in enumerate(node.inputs) if value is not None]
        added = {weight.input for weight in spec.weights if weight.init == 0.0}
        shifts = [use for use in every if use[1] in added]
        if has(node, Trait.LIFTING) or (kind == "Clip" and not self._through_zero(node)):
            return False
        if has(node, Trait.LINEAR, Trait.CONVOLUTION):
            return self._shifted(self.any(use for use in every if use not in shifts), shifts)
        if has(node, Trait.NORM) and spec.weights:
            return self._shifted(self.operand(node, spec.weights[0].input), shifts)
        if kind in ("GRU", "LSTM", "RNN"):
            return self.all(use for use in every if use[1] in (1, 2, 3, 5, 6))
        if kind == "Mul":
            return self.any(every)
        if has(node, Trait.ADDITIVE, Trait.BROADCAST) and kind not in ("Div", "Mod", "Pow", "PRelu"):
            return self.all(every[kind == "Where" :])
        return self.operand(node, 0) if _passes(node) else None

    def _shifted(self, scaled: Answer, shifts: Sequence[Use]) -> Answer:
        """A product, and what is added to it."""
        added = self.all(shifts)
        return False if False in (scaled, added) else None if None in (scaled, added) else True

    def _through_zero(self, node: ir.Node) -> bool:
        """Whether the bounds of a Clip leave 0 alone; bounds that can't be read don't."""
        low, high = (self._bound(node, k, name) for k, name in ((1, "min"), (2, "max")))
        return low is not None and high is not None and low <= 0 <= high

    def _bound(self, node: ir.Node, index: int, name: str) -> float | None:
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is None:
            return node.attributes.get_float(name, 0.0)
        return None if value.const_value is None else float(value.const_value.numpy().ravel()[0])


def _passes(node: ir.Node) -> bool:
    """Whether zeros in the first input come out as zeros."""
    if node.op_type == "Pow":
        power = node.inputs[1]
        return power is not None and power.const_value is not None and bool((power.const_value.numpy() > 0).all())
    if node.op_type == "Pad":
        fill = node.inputs[2] if len(node.inputs) > 2 else None
        filled = fill is not None and (fill.const_value is None or fill.const_value.numpy().any())
        return not filled and not node.attributes.get_float("value", 0.0)
    if node.op_type in MOVERS or node.op_type in ("Div", "PRelu"):
        return True
    unary = has(node, Trait.ELEMENTWISE) and not has(node, Trait.BROADCAST)
    return unary or has(node, Trait.VIEW, Trait.CUTTER, Trait.POOL, Trait.RECAST, Trait.SUM) or _averages(node)


def _averages(node: ir.Node) -> bool:
    return node.op_type in ("ReduceMean", "ReduceMax", "ReduceMin")
