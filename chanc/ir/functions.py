"""Local functions of a model: put in the place of their calls.

A function names the version of the operators that it is made of. It may differ from the model's: where every operator
in it means the same in both, that is no matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common

from chanc.errors import ModelError
from chanc.ir.names import Names, value_names
from chanc.ir.nodes import nodes_of
from chanc.ir.signature import ONNX

MOST_STEPS = 9
"""Calls of a circle that a message tells."""

MOST_NODES = 200_000
"""What calls may be replaced by: functions that call one another twice stand for 2^n nodes."""


def inline_functions(model: ir.Model) -> bool:
    """Put every function in the place of its calls, in place. Says whether any was called.

    Raises ModelError, with the function's name, for one that calls itself, that takes graphs, or whose operators mean
    something else in the model's opset.
    """
    _drop_unused(model)
    if not model.functions:
        return False
    if (reason := endless(model)) is not None:
        raise ModelError(reason)
    for function in model.functions.values():
        _align(function, model.opset_imports)
    try:
        return _Inline()(model).modified
    except ValueError as error:
        raise ModelError(f"a function of the model can't be inlined: {error}") from error


def _drop_unused(model: ir.Model) -> None:
    """Take away the functions that nothing calls: what they stand for is of no matter."""
    called = set[ir.OperatorIdentifier]()
    owners: list[ir.Graph | ir.Function] = [model.graph]
    while owners:
        for node in nodes_of(owners.pop()):
            key = node.op_identifier()
            if key in model.functions and key not in called:
                called.add(key)
                owners.append(model.functions[key])
    for key in model.functions.keys() - called:
        del model.functions[key]


class _Inline(common.InlinePass):
    """onnx_ir's pass, which looks for the free name of the n-th `x` at `x_2`, `x_3`, ...: it is given a free one."""

    def _instantiate_call(self, node: ir.Node, call_site_id: str) -> Any:
        if node.op_identifier() not in self._named:
            inside = nodes_of(self._functions[node.op_identifier()])
            named = [(each, each.name or "node", [value.name for value in each.outputs]) for each in inside]
            self._named[node.op_identifier()] = named
        for each, name, outputs in self._named[node.op_identifier()]:
            each.name = self._node_names.fresh(name)
            for value, base in zip(each.outputs, outputs, strict=True):
                value.name = self._value_names.fresh(base) if base else base
        return super()._instantiate_call(node, call_site_id)

    def _reset(self, model: ir.Model) -> None:
        super()._reset(model)
        self._named: dict[ir.OperatorIdentifier, list[tuple[ir.Node, str, list[str | None]]]] = {}
        self._node_names = Names((node.name for node in nodes_of(model.graph) if node.name), "_", 2)
        self._value_names = Names(value_names(model.graph), "_", 2)


def endless(model: ir.Model) -> str | None:
    """Which function calls itself, through others or at once, and how, or what too many calls stand for; else None."""
    counts: dict[ir.OperatorIdentifier, int] = {}
    try:
        for key in _callees_first(model):
            counts[key] = _nodes(model.functions[key], counts)
    except CycleError as error:
        circle = error.args[1][:0:-1]  # each is called by the next; the first stands at the end again
        start = circle.index(next(key for key in model.functions if key in circle))
        steps = [*circle[start:], *circle[:start], circle[start]]
        few = [*map(_named, steps[:MOST_STEPS]), *(["..."] if len(steps) > MOST_STEPS else [])]
        calls = " -> ".join(few)
        return f"function '{_named(steps[0])}' calls itself ({calls}), which ONNX forbids"
    count = _nodes(model.graph, counts) if counts else 0
    if count <= MOST_NODES:
        return None
    return f"the calls of functions stand for {count} nodes, {MOST_NODES} are the most"


def _nodes(owner: ir.Graph | ir.Function, counts: Mapping[ir.OperatorIdentifier, int]) -> int:
    """How many nodes there are once every call is replaced, those of bodies too."""
    return sum(counts.get(node.op_identifier(), 1) for node in nodes_of(owner))


def _callees_first(model: ir.Model) -> list[ir.OperatorIdentifier]:
    """The functions, each behind those that it calls; raises CycleError."""
    calls = {
        key: {node.op_identifier() for node in nodes_of(function)} & model.functions.keys()
        for key, function in model.functions.items()
    }
    return list(TopologicalSorter(calls).static_order())


def _named(key: ir.OperatorIdentifier) -> str:
    domain, name, overload = key
    return f"{domain}::{name}" + (f":{overload}" if overload else "")


def _align(function: ir.Function, imports: dict[str, int]) -> None:
    """Give a function the operators' versions of the model, where they are the same to it."""
    for domain, version in function.opset_imports.items():
        wanted = _version(imports, domain)
        if wanted is None or wanted == version:
            continue
        changed = [node.op_type for node in nodes_of(function) if _differs(node, domain, version, wanted)]
        if changed:
            raise ModelError(
                f"function '{_named(function.identifier())}' is of opset {version}, the model of {wanted}, and "
                f"{changed[0]} isn't the same in both: convert them to one opset"
            )
        function.opset_imports[domain] = wanted


def _version(imports: dict[str, int], domain: str) -> int | None:
    return next((imports[name] for name in (ONNX if domain in ONNX else (domain,)) if name in imports), None)


def _differs(node: ir.Node, domain: str, one: int, two: int) -> bool:
    """Whether the operator of a node has other definitions in two versions of its domain, or none that is known."""
    own = "" if node.domain in ONNX else node.domain
    if own != ("" if domain in ONNX else domain):
        return False
    try:
        return _since(node.op_type, one, own) != _since(node.op_type, two, own)
    except onnx.defs.SchemaError:
        return True


def _since(op: str, version: int, domain: str) -> int:
    return int(onnx.defs.get_schema(op, version, domain).since_version)
