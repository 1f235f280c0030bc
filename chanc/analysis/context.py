"""What the rule of an operator gets: a node, what is known of its inputs, and where it reports what it does to them.

    @rule("ChannelGate", domain="com.example")
    def gate(context: Context) -> None:
        data, gain = context.input(0), context.parameter(1, (0,))
        ...
        context.output(data)

A context is made for each node. What rules report (`same`, `couple`, `pin`, ...) is in `chanc.analysis.notes`, what
they do to layouts (`fix`, `strip`, `project`, `together`) in `chanc.analysis.fixing` and `chanc.analysis.broadcast`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import onnx_ir as ir

from chanc.analysis import broadcast, dims, fixing
from chanc.analysis.dims import Size, unknown
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.evaluate import named
from chanc.analysis.findings import Array, Findings
from chanc.analysis.initializers import Constant, Role
from chanc.analysis.layout import Factors, Field, Layout, Opaque, factors_of, insert_axes
from chanc.analysis.notes import Notes
from chanc.ir.nodes import called

VisitBody = Callable[[ir.Graph], None]


class Context(Notes):
    """One node of a graph, its inputs, outputs and attributes; `visit_body` runs the rules of a body's nodes."""

    __slots__ = ("_read", "attributes", "outputs", "visit_body")

    def __init__(self, findings: Findings, node: ir.Node, visit_body: VisitBody) -> None:
        self.findings = findings
        self.node = node
        # Read once: rules ask again and again, and the properties of a node make new views each time.
        self.inputs = node.inputs
        self.outputs = node.outputs
        self.attributes: Mapping[str, ir.Attr] = node.attributes.data
        self.visit_body = visit_body
        self._read: set[ir.Value] = set()

    def __repr__(self) -> str:
        return f"<Context of {self.node.op_type} '{called(self.node)}'>"

    @property
    def opset(self) -> int:
        """The version of ONNX's operators that the graph uses."""
        return self.findings.opset

    # Inputs

    def input(self, index: int) -> Layout:
        """The layout of an input; an initializer gets labels on every axis longer than 1."""
        inputs = self.inputs
        value = inputs[index] if index < len(inputs) else None
        if value is None:
            raise Opaque(f"input {index} is missing")
        self._read.add(value)
        found = self.findings.layouts.get(value)
        if found is not None:
            return found
        if value.const_value is not None:
            return self.parameter(index, [k for k, n in enumerate(self.initializer(index).shape) if n > 1])
        raise Opaque(f"the shape of '{value.name}' is not known")

    def value(self, index: int) -> ir.Value | None:
        """An input, or None where it is left out."""
        inputs = self.inputs
        return inputs[index] if index < len(inputs) else None

    def unneeded(self, index: int) -> None:
        """The node takes nothing of an input's channels: it may be of any width."""
        if (value := self.value(index)) is not None:
            self._read.add(value)

    def settle_unread(self) -> None:
        """Pin the channels of inputs that the rule took no notice of: scales made by a Concat."""
        layouts, read = self.findings.layouts, self._read
        for value in self.inputs:
            if value is not None and value not in read and value in layouts:
                for part in layouts[value].fields:
                    self.pin(part.labels, f"{self.node.op_type} takes it as it is")

    def rank(self, index: int) -> int:
        """The number of axes of an input."""
        return len(self.initializer(index).shape) if self.is_parameter(index) else self.input(index).rank

    # Weights

    def is_parameter(self, index: int) -> bool:
        """Whether an input is an initializer whose axes can be labelled."""
        inputs = self.inputs
        value = inputs[index] if index < len(inputs) else None
        return value is not None and value.const_value is not None and value not in self.findings.layouts

    def is_weight(self, index: int) -> bool:
        """Whether an input is an initializer, or computed from initializers alone."""
        value = self.value(index)
        if value is None or value in self.findings.weights:
            return value is not None
        return value.const_value is not None and value not in self.findings.layouts

    def initializer(self, index: int) -> Constant:
        """Shape and kind of an input that is an initializer; Opaque where it is none."""
        value = self.value(index)
        if value is None:
            raise Opaque(f"input {index} is missing")
        return self.findings.initializers.constant(value)

    def parameter(self, index: int, axes: Iterable[int], integers: bool = False) -> Layout:
        """The layout of an initializer input, with labels on the axes named and none on others.

        The labels of a vector belong to this one use (exporters let equal vectors share a tensor: they part when they
        must); those of a matrix or kernel, or of a vector that is cut up (biases of gates), belong to the tensor, so
        tied weights stay tied. Wide integers are indices and get no labels, unless `integers` says that these are
        quantised values.
        """
        value = self.value(index)
        if value is None:
            raise Opaque(f"input {index} is missing")
        constant = self.findings.initializers.constant(value)
        shape = constant.shape
        layout: list[Factors] = [factors_of(n) for n in shape]
        if not constant.channels and not integers:
            return Layout(tuple(layout), (), f"constant '{value.name}' of type {value.dtype}")
        fields = []
        for axis in axes:
            layout[axis] = (shape[axis],)
            fields.append(Field(((axis, 0),), self._labels(value, axis, index, constant)))
        return Layout(tuple(layout), tuple(fields), f"constant '{value.name}'")

    def labels(self, index: int, axis: int) -> IntArray | None:
        """The labels of one axis of an initializer input, as `parameter` gives them: [its size].

        None where its type has none.
        """
        value = self.inputs[index]
        assert value is not None
        constant = self.findings.initializers.constant(value)
        return self._labels(value, axis, index, constant) if constant.channels else None

    def _labels(self, value: ir.Value, axis: int, index: int, constant: Constant) -> IntArray:
        findings = self.findings
        labels, made = findings.initializers.labels(value, axis, self.use(index), constant, findings.fresh)
        if made and constant.shown:
            self.pin(labels, "it is a graph output")
        return labels

    def adopt(self, index: int, axis: int, labels: IntArray, role: Role = "follower") -> bool:
        """Let an axis of a vector, or of a matrix or kernel used once, take the labels that it meets: [its size].

        The same as `parameter` and `same`, without labels or unions of its own; False where it must have its own, or
        the input is no initializer.
        """
        inputs, findings = self.inputs, self.findings
        value = inputs[index] if index < len(inputs) else None
        if value is None or value in findings.layouts:
            return False
        # Weights that are computed from weights pass their roles on by labels of their own.
        if findings.weights and self.outputs[0] in findings.weights:
            return False
        return findings.initializers.adopt(value, axis, self.use(index), labels, role)

    # Contents

    def constant(self, index: int) -> Array | None:
        """The content of an input where it is known: an initializer, or a small tensor that was read through."""
        value = self.value(index)
        if value is None:
            return None
        known = self.findings.data.get(value)
        if known is None and value.const_value is not None and value not in self.findings.fed:
            known = value.const_value.numpy()
        return known

    def certain(self, index: int) -> Array | None:
        """The content of an input as it is whatever open axes measure: where channels are cut must not depend on that.

        Other than `constant`, which may hold only at the sizes given.
        """
        value, open_data = self.value(index), self.findings.open_data
        if value is None or open_data is None or value.const_value is not None:
            return self.constant(index)
        return open_data.get(value)

    def integers(self, index: int) -> list[int] | None:
        """The content of an integer input as Python integers, or None where it is left out; Opaque where unknown."""
        value = self.value(index)
        if value is None:
            return None
        known = self.constant(index)
        if known is None or any(not isinstance(n, int) for n in known.ravel().tolist()):
            raise Opaque(f"'{value.name}' is computed while the model runs")
        return [int(n) for n in known.ravel().tolist()]

    def attribute(self, name: str, default: object = None) -> object:
        """An attribute of the node."""
        found = self.attributes.get(name)
        return default if found is None else found.value

    def integer(self, name: str, default: int) -> int:
        """An integer attribute of the node; Opaque where it is of another type."""
        attribute = self.attributes.get(name)
        if attribute is None:
            return default
        found = attribute.value
        if not isinstance(found, int):
            raise Opaque(f"its attribute '{name}' is no integer")
        return found

    def integer_list(self, name: str, default: Sequence[int] | None = None) -> list[int] | None:
        """A list attribute of the node, or the default; Opaque where it is of another type."""
        attribute = self.attributes.get(name)
        found = None if attribute is None else attribute.value
        if found is None:
            return None if default is None else list(default)
        if not isinstance(found, (list, tuple)):
            raise Opaque(f"its attribute '{name}' is no list")
        return list(found)

    def numbers(self, index: int, certain: bool = False) -> list[Size]:
        """The content of an input that is a vector of integers; what is computed while the model runs has a name.

        `certain` asks for what it is whatever open axes measure. Opaque where not even their count is known.
        """
        value, known = self.value(index), self.certain(index) if certain else self.constant(index)
        if known is not None:
            if not all(isinstance(n, (int, dims.Dim)) for n in known.ravel().tolist()):
                raise Opaque(f"'{value.name if value is not None else ''}' holds other things than integers")
            return list(known.ravel().tolist())
        layout = self.input(index)
        array = named(value, dims.product(layout.sizes)) if value is not None and not layout.fields else None
        if array is None:
            raise Opaque("its sizes are computed while the model runs")
        self.pin_sources(value)
        return list(array.tolist())

    def filled(self, why: str) -> Layout:
        """The layout of ConstantOfShape or Expand of one number: every position of an axis may go, as in a weight.

        But for axes whose size follows from that of open ones.
        """
        index = 0 if self.node.op_type == "ConstantOfShape" else 1
        sizes, certain = self.numbers(index), self.numbers(index, certain=True)
        known = [(axis, size) for axis, size in enumerate(certain) if isinstance(size, int) and size > 1]
        fields = tuple(Field(((axis, 0),), self.fresh(size)) for axis, size in known)
        layout = Layout(tuple(factors_of(size) for size in sizes), fields, why)
        return insert_axes(layout, range(max(self.rank(0) - layout.rank, 0))) if index else layout

    # Results

    def output(self, layout: Layout, index: int = 0) -> None:
        """Set the layout of an output."""
        self.findings.layouts[self.outputs[index]] = layout

    def unknown_size(self, what: int | str) -> Size:
        """A size that only running the model tells, named after the first output and the axis, or whatever it is of."""
        return unknown(f"{self.node.outputs[0].name}.{what}")

    # Layouts

    fix = fixing.fix
    strip = fixing.strip
    project = fixing.project
    together = broadcast.together
