"""What ONNX's operators take and make (operator specification): how many tensors, and the types of their attributes.

Every rule and formula reads nodes by it, so a node that differs is refused before one does; onnxruntime refuses it,
too. Operators that ONNX doesn't define, attributes that an operator doesn't have, and those that a function hands in
are nobody's matter here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import onnx
import onnx_ir as ir

ONNX = ("", "ai.onnx")
KINDS = {getattr(onnx.defs.OpSchema.AttrType, kind.name, None): kind for kind in ir.AttributeType}
SINGLE = onnx.defs.OpSchema.FormalParameterOption.Single


def wrong_count(node: ir.Node, version: int) -> str | None:
    """Why a node has too few or too many inputs or outputs for a version of ONNX's operators; None where it hasn't."""
    schema = _schema(node.op_type, version) if node.domain in ONNX else None
    if schema is None:
        return None
    for what, given, (least, most) in (
        ("inputs", _given(node.inputs), schema.inputs),
        ("outputs", _given(node.outputs), schema.outputs),
    ):
        if not least <= given <= most:
            return f"has {given} {what}, {node.op_type} takes {_range(least, most)}"
    for index, name in schema.needed:
        if node.inputs[index] is None:
            return f"lacks its input {name!r}"
    return None


def wrong_type(node: ir.Node) -> str | None:
    """The first attribute that has another type than any version of its operator gives it, and which it should have."""
    if node.domain not in ONNX or not node.attributes:
        return None
    known = _types(node.op_type)
    for name, attribute in node.attributes.data.items():
        types = known.get(name)
        if types is not None and attribute.type not in types and not attribute.is_ref():
            told = " or ".join(sorted(kind.name for kind in types))
            return f"attribute {name!r} is {attribute.type.name}, {node.op_type} takes {told}"
    return None


def _given(values: Sequence[ir.Value | None]) -> int:
    """How many are given, without those left out at the end."""
    if values and values[-1] is not None and values[-1].name != "":
        return len(values)
    return max((k for k, value in enumerate(values, 1) if value is not None and value.name != ""), default=0)


def _range(least: int, most: int) -> str:
    if least == most:
        return f"{least}"
    return f"{least} to {most}" if most < 1 << 16 else f"at least {least}"


class _Schema:
    """Of an operator in a version: the least and most of its inputs and outputs, and the inputs that it must have."""

    def __init__(self, schema: onnx.defs.OpSchema) -> None:
        self.inputs = schema.min_input, schema.max_input
        self.outputs = schema.min_output, schema.max_output
        first = list(schema.inputs)[: schema.min_input]
        self.needed = tuple((index, given.name) for index, given in enumerate(first) if given.option == SINGLE)


@cache
def _schema(op: str, version: int) -> _Schema | None:
    try:
        return _Schema(onnx.defs.get_schema(op, version, ""))
    except onnx.defs.SchemaError:
        return None


@cache
def _types(op: str) -> dict[str, set[ir.AttributeType]]:
    """Types by the attribute's name, of all versions of an operator."""
    found: dict[str, set[ir.AttributeType]] = {}
    version = onnx.defs.onnx_opset_version()
    while version > 0:
        try:
            schema = onnx.defs.get_schema(op, version, "")
        except onnx.defs.SchemaError:
            break
        for name, attribute in schema.attributes.items():
            found.setdefault(name, set()).add(KINDS[attribute.type])
        version = schema.since_version - 1
    return found
