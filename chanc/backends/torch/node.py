"""A node as the rules see it: attributes by name with defaults, inputs that may be left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from chanc.errors import ModelError


@dataclass(frozen=True, eq=False)
class Node:
    """One node of the graph and the opset version of its domain."""

    raw: ir.Node
    version: int

    @property
    def op(self) -> str:
        """The operator's name."""
        return self.raw.op_type

    @property
    def inputs(self) -> tuple[ir.Value | None, ...]:
        """The inputs; None where an optional one is left out."""
        return tuple(value if value is not None and value.name != "" else None for value in self.raw.inputs)

    @property
    def outputs(self) -> tuple[ir.Value, ...]:
        """The outputs; a left out one has the empty name."""
        return tuple(self.raw.outputs)

    @property
    def label(self) -> str:
        """What messages call the node: its operator and first output."""
        first = next((out.name for out in self.raw.outputs if out.name), self.raw.name)
        return f"{self.raw.domain + '::' if self.raw.domain else ''}{self.op} node {first!r}"

    def input(self, index: int) -> ir.Value | None:
        """Input `index`, or None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def has(self, index: int) -> bool:
        """Whether input `index` is given."""
        return self.input(index) is not None

    def wants(self, index: int) -> bool:
        """Whether output `index` is named and used by anyone."""
        if index >= len(self.outputs) or not self.outputs[index].name:
            return False
        value = self.outputs[index]
        return bool(value.uses()) or value.is_graph_output()

    def _value(self, name: str) -> Any:
        attr = self.raw.attributes.get(name)
        if attr is None:
            return None
        if attr.is_ref():
            raise self.refuse(f"attribute {name!r} refers to a function's attribute")
        return attr.value

    def given(self, name: str) -> bool:
        """Whether the attribute is written out."""
        return name in self.raw.attributes

    def i(self, name: str, default: int = 0) -> int:
        """An integer attribute."""
        value = self._value(name)
        return default if value is None else int(value)

    def f(self, name: str, default: float = 0.0) -> float:
        """A float attribute as its shortest decimal."""
        from chanc.backends.torch.names import float32

        value = self._value(name)
        return default if value is None else float32(float(value))

    def s(self, name: str, default: str = "") -> str:
        """A string attribute."""
        value = self._value(name)
        if value is None:
            return default
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def ints(self, name: str, default: list[int] | None = None) -> list[int] | None:
        """A list of integers, or `default`."""
        value = self._value(name)
        return default if value is None else [int(entry) for entry in value]

    def floats(self, name: str) -> list[float]:
        """A list of floats; empty where it is not given."""
        return [float(entry) for entry in self._value(name) or ()]

    def strings(self, name: str) -> list[str]:
        """A list of strings; empty where it is not given."""
        return [entry.decode() if isinstance(entry, bytes) else str(entry) for entry in self._value(name) or ()]

    def tensor(self, name: str) -> np.ndarray | None:
        """A tensor attribute as an array."""
        value = self._value(name)
        return None if value is None else np.asarray(value.numpy())

    def graph(self, name: str) -> ir.Graph:
        """A graph attribute; raises ModelError where it is missing."""
        value = self._value(name)
        if not isinstance(value, ir.Graph):
            raise self.refuse(f"attribute {name!r} is missing")
        return value

    def refuse(self, reason: str) -> ModelError:
        """The error that names this node and says why it can't be written in PyTorch."""
        return ModelError(f"{self.label} can't be written in PyTorch: {reason}")
