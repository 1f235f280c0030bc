"""Graphs that keep channels last (TensorFlow, Keras) computed channels first, without Transposes in between.

Exporters wrap each convolution in Transpose(0, 3, 1, 2) and Transpose(0, 2, 3, 1). Pushed through the operators between
two convolutions they meet and cancel; only those at inputs, outputs, and operators that mix axes are left.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.analysis.infer_shapes import infer_shapes
from chanc.boundary import boundary
from chanc.ir.nodes import nodes_of
from chanc.transforms._edit import Editor, content, is_alone, opset
from chanc.transforms._layout_plan import Plan, Seed, View, best, permuted, transposed
from chanc.transforms._layout_rules import Move, Perm, identity, inverse


@boundary("the change of layout")
def channels_first(model: ir.Model, *, reorder: bool = True) -> bool:
    """Move Transposes of activations, in place, to where they can't be avoided; says whether anything changed.

    The function and its interface stay. Values that are computed in another layout keep their names, graph outputs
    apart, and have the new shape declared. A constant gets its other layout under its own name where it has a single
    reader. Without `reorder` no weight gets its numbers in another order: a vector may become [C, 1, 1], a Transpose
    of a kernel stays.
    """
    editor = Editor(model)
    folded = [_fold(editor, node) for node in list(model.graph) if reorder]
    if not any(transposed(node) is not None for node in model.graph):
        return any(folded)
    declared = [(value.type, value.shape) for value in model.graph.outputs]
    before = [(value, value.type, value.shape) for node in nodes_of(model.graph) for value in node.outputs]
    infer_shapes(model)
    changed = _Mover(editor, best(model.graph, opset(model), reorder=reorder)).run()
    for value, (kind, shape) in zip(model.graph.outputs, declared, strict=True):
        value.type, value.shape = kind or value.type, shape or value.shape
    return changed or any(folded) or any((value.type, value.shape) != (kind, shape) for value, kind, shape in before)


def _fold(editor: Editor, node: ir.Node) -> bool:
    """The constant that a Transpose alone reads, transposed."""
    perm, value, output = transposed(node), node.inputs[0] if node.inputs else None, node.outputs[0]
    if perm is None or value is None or value.is_graph_input() or output.is_graph_output():
        return False
    array = content(value) if is_alone(value) else None
    if array is None:
        return False
    editor.replace(node, 0, np.ascontiguousarray(array.transpose(perm)))
    output.replace_all_uses_with(value)
    editor.graph.remove(node, safe=True)
    return True


class _Mover:
    """Carries a plan out."""

    def __init__(self, editor: Editor, plan: Plan) -> None:
        self.editor, self.graph, self.plan = editor, editor.graph, plan
        self.made: dict[tuple[ir.Value, Perm], ir.Value] = {}
        self.shared: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self.changed = bool(plan.moves or plan.seeds)

    def run(self) -> bool:
        """Edit the graph; says whether anything changed."""
        nodes = list(self.graph)
        for value, seed in self.plan.seeds.items():
            self._plant(value, seed)
        for node in nodes:
            move = self.plan.moves.get(node)
            if move is not None:
                self._move(node, move)
            elif transposed(node) is not None and node.outputs[0] in self.plan.views:
                self._transpose(node)
        self._take_names_back()
        for node in reversed(nodes):
            if transposed(node) is not None and not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
                self.graph.remove(node, safe=True)
                self.changed = True
        return self.changed

    def _take_names_back(self) -> None:
        """Give a constant the name of the one that nobody reads any more since it took its place."""
        for (name, _, _), value in self.shared.items():
            if self.editor.free(name) == name:
                value.name = name

    def _plant(self, value: ir.Value, seed: Seed) -> None:
        """Make the source of a seed."""
        source, perm = seed.view.source, inverse(seed.view.perm)
        source.name = self.editor.free(f"{value.name}.channels_first")
        if seed.free:
            sizes = [size if isinstance(size, int) else -1 for size in source.shape or ()]
            target = self.editor.initializer(f"{source.name}.shape", np.array(sizes), ir.DataType.INT64)
            node = ir.node("Reshape", [value, target], outputs=[source], name=source.name)
        else:
            node = ir.node("Transpose", [value], {"perm": list(perm)}, outputs=[source], name=source.name)
        self._after(value, node)
        self.made[source, seed.view.perm] = value

    def _after(self, value: ir.Value, node: ir.Node) -> None:
        maker = value.producer()
        if maker is not None:
            self.graph.insert_after(maker, node)
        else:
            self.graph.insert_before(self.graph[0], node)

    def _move(self, node: ir.Node, move: Move) -> None:
        """Let a node read sources, and change what the rule says."""
        outside = {output: self._others(output) for output in node.outputs}
        for index, value in enumerate(node.inputs):
            view = self.plan.views.get(value) if value is not None else None
            if view is not None:
                node.replace_input_with(index, view.source)
        for name, attribute in move.attributes.items():
            node.attributes[name] = ir.convenience.convert_attribute(name, attribute)
        for index, array in move.constants.items():
            self._constant(node, index, array)
        if move.perm == identity(len(move.perm)):
            return
        for output in node.outputs:
            shape = output.shape
            output.shape = permuted(shape, inverse(move.perm))
            if output in self.plan.needed:
                self._restore(output, move.perm, shape, outside[output])

    def _others(self, value: ir.Value) -> list[tuple[ir.Node, int]]:
        """The readers of a value that want it as it was."""
        return [
            (use.node, use.idx) for use in value.uses()
            if use.node not in self.plan.moves and transposed(use.node) is None
        ]  # fmt: skip

    def _restore(self, value: ir.Value, perm: Perm, shape: ir.Shape | None, readers: list[tuple[ir.Node, int]]) -> None:
        """A Transpose behind a moved value, for readers that want it as it was."""
        restored = ir.Value(type=value.type, shape=shape)
        if value.is_graph_output():
            restored.name = value.name
            value.name = self.editor.free(f"{value.name}.channels_first")
            for index, output in enumerate(self.graph.outputs):
                if output is value:
                    self.graph.outputs[index] = restored
        else:
            restored.name = self.editor.free(f"{value.name}.channels_last")
        node = ir.node("Transpose", [value], {"perm": list(perm)}, outputs=[restored],
                       name=self.editor.free(f"{restored.name}.transpose"))  # fmt: skip
        self._after(value, node)
        for reader, index in readers:
            reader.replace_input_with(index, restored)
        self.made[value, perm] = restored

    def _constant(self, node: ir.Node, index: int, array: np.ndarray) -> None:
        """Another constant as an input; nodes that shared the one before share the new one."""
        old = node.inputs[index] if index < len(node.inputs) else None
        if old is not None:
            key = old.name or "", array.shape, array.tobytes()
            if key in self.shared:
                self.editor.set_input(node, index, self.shared[key])
                return
            self.editor.replace(node, index, array)
            new = node.inputs[index]
            if new is not None and new is not old:
                self.shared[key] = new
            return
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        added = self.editor.initializer(f"{node.outputs[0].name}.axes", array, ir.DataType.INT64)
        node.replace_input_with(index, added)

    def _transpose(self, node: ir.Node) -> None:
        """A Transpose: of its view's source, the same as another one, or nothing at all."""
        output = node.outputs[0]
        view = self.plan.views[output]
        if output not in self.plan.needed:
            return
        if view.perm == identity(len(view.perm)):
            self._cancel(node, view)
            return
        earlier = self.made.get((view.source, view.perm))
        if earlier is not None and not output.is_graph_output():
            output.replace_all_uses_with(earlier)
            self.changed = True
            return
        if node.inputs[0] is not view.source or transposed(node) != view.perm:
            node.replace_input_with(0, view.source)
            node.attributes["perm"] = ir.AttrInt64s("perm", list(view.perm))
            self.changed = True
        self.made.setdefault((view.source, view.perm), output)

    def _cancel(self, node: ir.Node, view: View) -> None:
        """Readers of a Transpose that does nothing take its source; a graph output keeps its name."""
        output, source = node.outputs[0], view.source
        self.changed = True
        if not output.is_graph_output():
            output.replace_all_uses_with(source)
            return
        if source.producer() is None or source.is_graph_output():
            copied = ir.node("Identity", [source], outputs=[ir.Value(type=output.type, shape=output.shape)])
            self.graph.insert_after(node, copied)
            source = copied.outputs[0]
        name, kind, shape = output.name, output.type, output.shape
        output.name = self.editor.free(f"{name}.gone")
        output.replace_all_uses_with(source, replace_graph_outputs=True)
        source.name, source.type, source.shape = name, kind, shape
