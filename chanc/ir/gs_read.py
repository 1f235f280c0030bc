"""onnx-graphsurgeon to `onnx_ir`. Imports onnx_graphsurgeon: only `chanc.ir.graphsurgeon` imports this.

graphsurgeon means tensors by name: two objects with one name are one tensor. Its exporter gives a constant to every
subgraph that reads it; here it goes to the innermost graph around all of its uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
import onnx_graphsurgeon as gs
import onnx_ir as ir
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter
from onnx_graphsurgeon.util.misc import convert_to_onnx_attr_type

from chanc.errors import ModelError
from chanc.ir import external, screen
from chanc.ir.gs_carry import Carry, restore
from chanc.ir.gs_values import constant_tensor, describe, plain_attribute, same_tensor
from chanc.ir.gs_write import SharedValues
from chanc.ir.verify import verify

Path = tuple[int, ...]
_OLDEST_IR = 4


def read(graph: gs.Graph, carry: Carry | None) -> ir.Model:
    """The model of a main graph. Raises: ModelError."""
    imports = _imports(graph)
    main = GraphReader(graph, carry, imports).graph(graph, (), {})
    main.opset_imports.update(imports)
    functions = [_function(function) for function in graph.functions]
    for function in functions:
        for domain, version in function.opset_imports.items():
            main.opset_imports.setdefault(domain, version)
        main.opset_imports.setdefault(function.domain, 1)
    model = ir.Model(
        main,
        ir_version=graph.ir_version or _ir_version(imports),
        producer_name=graph.producer_name or None,
        producer_version=graph.producer_version or None,
        functions=functions,
    )
    if carry is not None:
        restore(model, carry)
    screen.opsets(model.opset_imports, "the gs.Graph")
    external.resolve(screen.bodies(model), None, "the gs.Graph")
    for inner in model.graphs():
        _sort(inner)
    verify(model)
    return model


class GraphReader:
    """Reads the main graph and its subgraphs, in which tensors are known by name."""

    def __init__(self, main: gs.Graph, carry: Carry | None, imports: dict[str, int]) -> None:
        self.carry = carry
        self.imports = imports
        self.homes = _homes(main)
        self.children: dict[Path, int] = {}

    def graph(self, graph: gs.Graph, path: Path, outer: dict[str, ir.Value]) -> ir.Graph:
        """One graph; `outer` has the values of the graphs around it."""
        own: dict[str, ir.Value] = {}
        initializers = self.initializers(path, own)
        inputs = [self.declare(tensor, own) for tensor in graph.inputs]
        for node in graph.nodes:
            for tensor in node.outputs:
                if tensor.name:
                    self.declare(tensor, own)
        known = {**outer, **own}
        nodes = [self.node(node, path, known) for node in graph.nodes]
        outputs = [self.use(tensor, known) for tensor in graph.outputs]
        if any(value is None for value in outputs):
            raise ModelError(f"gs.Graph {graph.name!r} has an output without a name")
        return ir.Graph(
            inputs,
            [value for value in outputs if value is not None],
            nodes=nodes,
            initializers=initializers,
            name=graph.name or None,
            doc_string=graph.doc_string or None,
        )

    def initializers(self, path: Path, own: dict[str, ir.Value]) -> list[ir.Value]:
        """The constants whose home is here."""
        found = []
        for constant in self.homes.get(path, []):
            tensor = constant_tensor(constant)
            if constant.name in own:
                if not same_tensor(own[constant.name].const_value, tensor):
                    raise ModelError(f"two constants of the gs.Graph are named {constant.name!r}")
                continue
            value = ir.Value(name=constant.name, type=ir.TensorType(tensor.dtype), const_value=tensor)
            value.shape = ir.Shape(tensor.shape.numpy())
            own[constant.name] = value
            found.append(value)
        return found

    def declare(self, tensor: gs.Tensor, own: dict[str, ir.Value]) -> ir.Value:
        """The value of a graph input or node output."""
        if tensor.name in own:
            return own[tensor.name]
        value = ir.Value(name=tensor.name)
        if isinstance(tensor, gs.Variable):
            describe(value, tensor)
        own[tensor.name] = value
        return value

    def use(self, tensor: gs.Tensor, known: dict[str, ir.Value]) -> ir.Value | None:
        """The value that a tensor's name means; None for an omitted input. An unknown one is left to the verifier."""
        if not tensor.name:
            return None
        return known[tensor.name] if tensor.name in known else known.setdefault(tensor.name, ir.Value(name=tensor.name))

    def node(self, node: gs.Node, path: Path, known: dict[str, ir.Value]) -> ir.Node:
        """One node with its attributes and subgraphs."""
        outputs = [known[tensor.name] if tensor.name else ir.Value(name="") for tensor in node.outputs]
        for value in outputs:
            if value.producer() is not None:
                raise ModelError(f"two nodes of the gs.Graph compute {value.name!r}")
        return ir.Node(
            node.domain or "",
            node.op,
            [self.use(tensor, known) for tensor in node.inputs],
            [self.attribute(node, name, value, path, known) for name, value in node.attrs.items()],
            outputs=outputs,
            name=node.name,
        )

    def attribute(self, node: gs.Node, name: str, value: Any, path: Path, known: dict[str, ir.Value]) -> ir.Attr:
        """One attribute; its type follows from the Python value, as in onnx.helper.make_attribute."""
        if isinstance(value, gs.Graph):
            number = self.children.get(path, 0)
            self.children[path] = number + 1
            return ir.AttrGraph(name, self.graph(value, (*path, number), known))
        if isinstance(value, gs.Constant):
            return ir.AttrTensor(name, constant_tensor(value))
        if isinstance(value, gs.Node.AttributeRef):
            return ir.RefAttr(name, value.name, ir.AttributeType(convert_to_onnx_attr_type(value.type)))
        plain = plain_attribute(value)
        if plain == []:
            kind = self._empty_type(node, name)
            if kind is not None:
                return ir.Attr(name, kind, ())
        elif plain is not None:
            return ir.Attr(name, *plain)
        raise ModelError(
            f"{node.op} {node.name!r} of the gs.Graph: attribute {name!r} ({type(value).__name__}) has no ONNX type"
        )

    def _empty_type(self, node: gs.Node, name: str) -> ir.AttributeType | None:
        """An empty list doesn't say what it is a list of: the model it came from does, or the operator's schema."""
        key = next((tensor.name for tensor in node.outputs if tensor.name), "")
        if self.carry is not None and (key, name) in self.carry.attribute_types:
            return self.carry.attribute_types[key, name]
        try:
            domain = node.domain or ""
            attributes = onnx.defs.get_schema(node.op, self.imports.get(domain, 1), domain).attributes
            return ir.AttributeType[str(attributes[name].type).rsplit(".", 1)[-1]]
        except (onnx.defs.SchemaError, KeyError):
            return None


def _homes(main: gs.Graph) -> dict[Path, list[gs.Constant]]:
    """For each graph the constants that belong to it: the innermost graph around all uses, or the main graph."""
    uses: dict[int, tuple[gs.Constant, Path]] = {}
    for constant, path in _constants(main, ()):
        before = uses.get(id(constant), (constant, path))[1]
        values = constant._values
        common = () if isinstance(values, SharedValues) and values.in_main_graph else _common(before, path)
        uses[id(constant)] = (constant, common)
    homes: dict[Path, list[gs.Constant]] = {}
    for constant, path in uses.values():
        homes.setdefault(path, []).append(constant)
    for constants in homes.values():
        constants.sort(key=_position)
    return homes


def _position(constant: gs.Constant) -> float:
    """Where it stood among the initializers of its graph; new and touched ones go last."""
    values = constant._values
    return values.position if isinstance(values, SharedValues) else float("inf")


def _constants(graph: gs.Graph, path: Path) -> Iterator[tuple[gs.Constant, Path]]:
    number = 0
    for tensor in (*graph.inputs, *graph.outputs):
        if isinstance(tensor, gs.Constant):
            yield tensor, path
    for node in graph.nodes:
        for tensor in node.inputs:
            if isinstance(tensor, gs.Constant) and tensor.name:
                yield tensor, path
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                yield from _constants(value, (*path, number))
                number += 1


def _common(a: Path, b: Path) -> Path:
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:length]


def _imports(graph: gs.Graph) -> dict[str, int]:
    """As graphsurgeon exports: its import list where there is one, its opset otherwise, 1 for custom domains."""
    domains = graph.import_domains
    imports = {"": graph.opset} if domains is None else {entry.domain: entry.version for entry in domains}
    for inner in (graph, *graph.subgraphs(recursive=True)):
        for node in inner.nodes:
            if node.domain and node.domain != "ai.onnx":
                imports.setdefault(node.domain, 1)
    return imports


def _ir_version(imports: dict[str, int]) -> int:
    entries = [onnx.helper.make_opsetid(domain, version) for domain, version in imports.items()]
    return max(_OLDEST_IR, onnx.helper.find_min_ir_version_for(entries, ignore_unknown=True))


def _function(function: Any) -> ir.Function:
    try:
        converted: ir.Function = ir.from_proto(OnnxExporter.export_function(function))
    except Exception as error:
        raise ModelError(f"function {function.name!r} of the gs.Graph can't be held by ONNX: {error}") from error
    return converted


def _sort(graph: ir.Graph) -> None:
    """Sort only what isn't sorted, so that a legal order is kept."""
    seen: set[ir.Node] = set()
    for node in graph:
        if any(_is_late(value, graph, seen) for value in node.inputs):
            try:
                graph.sort()
            except ValueError as error:
                raise ModelError(f"gs.Graph {graph.name!r} has a cycle") from error
            return
        seen.add(node)


def _is_late(value: ir.Value | None, graph: ir.Graph, seen: set[ir.Node]) -> bool:
    producer = None if value is None else value.producer()
    return producer is not None and producer.graph is graph and producer not in seen
