"""From an `onnx_ir.Model` to a `Program`: walks the nodes in order and asks the registry's rule for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set

import onnx_ir as ir

from chanc.backends.torch import fusions, names, symbols
from chanc.backends.torch.folding import fold
from chanc.backends.torch.node import Node
from chanc.backends.torch.paths import PathBook
from chanc.backends.torch.program import Program, Statement, module_token, tokens
from chanc.backends.torch.structure import Block
from chanc.backends.torch.writer import Writer
from chanc.boundary import stumbled
from chanc.data.contract import recorded
from chanc.errors import ChancError, ModelError
from chanc.ir.nodes import captured_by
from chanc.ops import Trait, has
from chanc.registry import Operators


class Emitter(Writer):
    """One emission: rules get it with each node, read the node's inputs through it and write statements."""

    def run(self) -> Program:
        """Emit the whole graph."""
        graph = self.model.graph
        inputs = self._inputs()
        self.nodes(graph)
        outputs = [self(value) for value in graph.outputs]
        shapes = {vid: self._shape_comment(value) for vid, value in enumerate(self._values) if value is not None}
        self._escaped.update(self._tensors[v] for v in [*graph.inputs, *graph.outputs] if v in self._tensors)
        channels = {vid: self._find(vid) for vid in range(len(self._values))}
        flattened = self._flattened_groups()
        pixels = recorded(self.model.metadata_props, "NCHW")
        return Program(
            self.name, self.statements, self.submodules, inputs, outputs, shapes, self._hints, self.helpers,
            self.constants, channels, {self._find(vid) for vid in self._escaped}, flattened, str(pixels or ""),
        )  # fmt: skip

    def refused(self) -> dict[ir.Node, ModelError]:
        """The nodes of the graph that have no PyTorch form, and why; those that need their results aren't looked at."""
        self._inputs()
        graph, found = self.model.graph, dict[ir.Node, ModelError]()
        unknown: set[ir.Value] = set()
        fused = fusions.find(graph)
        for node in graph:
            try:
                if unknown.isdisjoint((*node.inputs, *captured_by(node))):
                    self._one(node, *fused)
                    continue
            except ModelError as error:
                found[node] = error
            unknown.update(node.outputs)
        return found

    def nodes(self, graph: ir.Graph) -> None:
        """Emit the nodes of a graph or of an inlined subgraph."""
        fused = fusions.find(graph)
        for node in graph:
            self._one(node, *fused)

    def block(self, node: Node, body: ir.Graph) -> tuple[str, list[int]]:
        """A submodule that is called for each turn of a body, and the outer values that it takes after its own."""
        path, first = self.paths.for_module(node, {}, node.op.lower(), shared=False), len(self.submodules)
        outer = self.statements, self.paths, self._leaves, self._shared, self._sizes, self.joined
        made: list[Statement] = []
        self.statements, self.paths = made, PathBook(path)
        self._leaves, self._shared, self._sizes, self.joined = {}, {}, {}, {}
        try:
            inputs = [self.new_value(value) for value in body.inputs]
            self.nodes(body)
            texts = [self(value) for value in body.outputs]
            results = [text if text.startswith("\0v") else self.local(text, "result", inline=False) for text in texts]
        finally:
            self.statements, self.paths, self._leaves, self._shared, self._sizes, self.joined = outer
        outputs = [vid for text in results for vid in tokens(text, "v")]
        self.forget([*body.inputs, *(out for inner in body for out in inner.outputs)])
        own = {*inputs, *(vid for statement in made for vid in statement.targets)}
        taken = list(dict.fromkeys(vid for statement in made for vid in statement.reads if vid not in own))
        self._escaped.update(taken)
        called = {mid for statement in made for mid in statement.calls}
        inside = [self.submodules[mid] for mid in range(first, len(self.submodules)) if mid in called]
        mid = len(self.submodules)
        self.submodules[mid] = Block(
            mid, path, "", [], body=made, inside=inside, inputs=[*inputs, *taken], outputs=outputs
        )  # fmt: skip
        return module_token(mid), taken

    def _inputs(self) -> list[tuple[int, str]]:
        """Number and name of each input that is no initializer."""
        real = [value for value in self.model.graph.inputs if value.name not in self.model.graph.initializers]
        taken: set[str] = set()
        return [
            (self.new_value(value), names.unique(names.identifier(value.name or "", "x"), taken) if real[1:] else "x")
            for value in real
        ]

    def _one(self, node: ir.Node, fused: Mapping[ir.Node, tuple[str, ir.Value]], inner: Set[ir.Node]) -> None:
        """Emit one node, where it isn't part of another one's text; what its rule stumbles over names it."""
        try:
            self._emit(node, fused, inner)
        except ChancError:
            raise
        except Exception as error:
            raise Node(node, self.opsets.get(node.domain, 1)).refuse(stumbled(error)) from error

    def _emit(self, node: ir.Node, fused: Mapping[ir.Node, tuple[str, ir.Value]], inner: Set[ir.Node]) -> None:
        if node in fused:
            name, x = fused[node]
            if x not in self._consts:
                self._fused(Node(node, self.opsets.get("", 1)), name, x)
                return
        if node not in self.skip and node not in inner:
            self._node(Node(node, self.opsets.get(node.domain, 1)))

    def _fused(self, node: Node, function: str, x: ir.Value) -> None:
        """Write a chain of nodes as one function of x."""
        self.write(node, f"{function}({self(x)})")
        shape = self.shape(x)
        if shape is not None:
            self._dims.setdefault(node.outputs[0], shape)
        self.same_channels(x, node.outputs[0])

    def _node(self, node: Node) -> None:
        domain = node.raw.domain
        known = domain in self.opsets or domain
        rule = REGISTRY.find(domain, node.op, node.version if known else self.opsets.get("", 1))
        if fold(self, node):
            return
        if rule is None:
            raise node.refuse("this operator has no PyTorch form")
        if not self._sizes_only(node):
            rule(self, node)
        self._unite(node)
        self._note_rank(node)

    def _note_rank(self, node: Node) -> None:
        """The rank of a result where shape inference gave up: that of the operand with the most axes."""
        out = node.outputs[0]
        if not has(node.raw, Trait.RANK) or out not in self._tensors or self.shape(out) is not None:
            return
        ranks = [self.rank(value) for value in node.inputs if value is not None]
        if ranks and None not in ranks:
            self._dims[out] = (None,) * max(rank or 0 for rank in ranks)

    def _sizes_only(self, node: Node) -> bool:
        if node.op not in symbols.ELEMENTWISE or not any(self.symbolic(value) for value in node.inputs):
            return False
        arrays = [self.host(value) for value in node.inputs]
        if any(array is None for array in arrays):
            return False
        self.set_host(node.outputs[0], symbols.elementwise(node.op, *[array for array in arrays if array is not None]))
        return True

    def _unite(self, node: Node) -> None:
        """Note which values have the same channels, and which groups of them an entry of the table can't describe."""
        out, shape = node.outputs[0], self.shape(node.outputs[0])
        operands = [value for value in node.inputs if value is not None]
        tensors = [value for value in operands if value in self._tensors]
        if out not in self._tensors or (node.raw in self._sized and has(node.raw, Trait.CONVOLUTION, Trait.LINEAR)):
            return
        kept = has(node.raw, Trait.CHANNELWISE, Trait.RESHAPE, Trait.REDUCTION)
        keeps = kept and shape is not None and len(shape) > 1 and shape[1] is not None
        if node.op in ("Reshape", "Flatten"):
            keeps = keeps and self._is_flattened(node)
        if has(node.raw, Trait.BROADCAST) and any(
            value not in self._tensors and len(self.shape(value) or ()) > 0 for value in operands
        ):
            keeps = keeps and all((self.const(value) is None or self.const(value).size == 1) for value in operands)  # type: ignore[union-attr]
        width = shape[1] if shape is not None and len(shape) > 1 else None
        same = [v for v in tensors if len(other := self.shape(v) or ()) > 1 and other[1] == width]
        if keeps and len(same) == len(tensors):
            for value in same:
                self.same_channels(value, out)
        elif times := self._columns(node):
            self._flattened[self._tensors[out]] = (self._tensors[tensors[0]], times)
        else:
            self._escaped.update(self._tensors[value] for value in [*tensors, *node.outputs] if value in self._tensors)

    def _is_flattened(self, node: Node) -> bool:
        """Whether the node was written as x.flatten(1)."""
        return bool(self.statements) and self.statements[-1].text == f"{self(node.inputs[0])}.flatten(1)"

    def _columns(self, node: Node) -> int:
        """How many columns each channel becomes where the node was written as x.flatten(1), else 0."""
        if node.op not in ("Reshape", "Flatten") or not self._is_flattened(node):
            return 0
        before = self.shape(node.inputs[0])
        known = [size for size in before[2:] if size is not None] if before is not None else []
        return math.prod(known) if before is not None and len(known) == len(before) - 2 > 0 else 0

    def _flattened_groups(self) -> dict[int, tuple[int, int]]:
        """The groups behind a Flatten; one that two of them meet in escapes, whatever they say."""
        found: dict[int, tuple[int, int]] = {}
        for out, (source, times) in self._flattened.items():
            group = self._find(out)
            if group in found:
                self._escaped.update((group, source, found[group][0]))
            found[group] = (self._find(source), times)
        return found


Handler = Callable[[Emitter, Node], None]
"""Writes the statements of one node through the `Emitter` that it is given."""

REGISTRY: Operators[Handler] = Operators("emitter", "chanc.ops", "chanc.backends.torch.ops")
"""The table operator -> text: how each operator is written, from an opset version on."""

emits = REGISTRY.rule
