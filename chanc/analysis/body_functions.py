"""Nodes with bodies as calls of functions, for onnx's shape inference, which finds the same so.

For each body onnx copies the types of all that is around it, which takes minutes in a large graph. Around the bodies of
a function is what the function reads.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx_ir as ir

from chanc.ir.nodes import captured_by

DOMAIN = "chanc.body"
"""The functions' domain; names in them begin so, too."""


class BodyFunctions:
    """Makes calls of functions, which it adds to a model.

    onnx copies the table of functions for each body as well: nodes that differ in nothing but bodies share one.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        """The model imports its operators already."""
        self._model, self._opsets = model, list(model.opset_import)
        self._names: dict[tuple[bytes, int], str] = {}

    def __call__(self, node: ir.Node, made: onnx.NodeProto) -> onnx.NodeProto:
        """The call that stands for `made`, the form of `node` in a file: it gets all that the bodies read, and them."""
        read = [value.name for value in (*node.inputs, *captured_by(node)) if value is not None and value.name]
        places = {name: f"{DOMAIN}.in.{index}" for index, name in enumerate(dict.fromkeys(read))}
        function = self._function(made, places)
        call = onnx.helper.make_node(function, [*places], [name for name in made.output if name], domain=DOMAIN)
        call.attribute.extend(made.attribute)
        for attribute in call.attribute:
            for body in (attribute.g, *attribute.graphs):
                _rename(body, places)
        return call

    def _function(self, made: onnx.NodeProto, places: Mapping[str, str]) -> str:
        """The name of a function of one node, whose inputs are these places, and its attributes those of a call."""
        inner = onnx.NodeProto(op_type=made.op_type, domain=made.domain, overload=made.overload)
        inner.input.extend(places.get(name, name) for name in made.input)
        inner.output.extend(f"{DOMAIN}.out.{index}" if name else "" for index, name in enumerate(made.output))
        for attribute in made.attribute:
            inner.attribute.add(name=attribute.name, type=attribute.type, ref_attr_name=attribute.name)
        key = inner.SerializeToString(deterministic=True), len(places)
        if key not in self._names:
            self._names[key] = str(len(self._names))
            ends, attributes = [name for name in inner.output if name], [each.name for each in made.attribute]
            make, inputs = onnx.helper.make_function, list(places.values())
            function = make(DOMAIN, self._names[key], inputs, ends, [inner], self._opsets, attributes)
            if not self._model.functions:
                self._model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
            self._model.functions.append(function)
        return self._names[key]


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Other names for what a body reads of the graphs around it."""
    own = {value.name for value in (*graph.input, *graph.initializer)}
    own.update(name for node in graph.node for name in node.output)
    names = {old: new for old, new in names.items() if old not in own}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                _rename(body, names)
    for value in graph.output:
        value.name = names.get(value.name, value.name)
