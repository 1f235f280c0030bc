"""Local functions of a model: put in the place of their calls.

A function names the version of the operators that it is made of. It may differ from the model's: where every operator
in it means the same in both, that is no matter.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common

from chanc.errors import ModelError
from chanc.ir.nodes import nodes_of

ONNX = ("", "ai.onnx")


def inline_functions(model: ir.Model) -> bool:
    """Put every function in the place of its calls, in place. Says whether any was called.

    Raises ModelError, with the function's name, for one that calls itself, that takes graphs, or whose operators mean
    something else in the model's opset.
    """
    if not model.functions:
        return False
    if (cycle := recursion(model)) is not None:
        raise ModelError(cycle)
    for function in model.functions.values():
        _align(function, model.opset_imports)
    try:
        return common.InlinePass()(model).modified
    except ValueError as error:
        raise ModelError(f"a function of the model can't be inlined: {error}") from error


def recursion(model: ir.Model) -> str | None:
    """Which function calls itself, through others or at once, and how; None where none does."""
    done: set[ir.OperatorIdentifier] = set()

    def visit(key: ir.OperatorIdentifier, path: Sequence[ir.OperatorIdentifier]) -> str | None:
        if key in path:
            calls = " -> ".join(_named(step) for step in (*path[path.index(key) :], key))
            return f"function '{_named(key)}' calls itself ({calls}), which ONNX forbids"
        if key in done or key not in model.functions:
            return None
        done.add(key)
        found = (visit(node.op_identifier(), (*path, key)) for node in nodes_of(model.functions[key]))
        return next((reason for reason in found if reason is not None), None)

    return next((reason for key in model.functions if (reason := visit(key, ())) is not None), None)


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
