"""The types that ONNX's operators give their attributes (operator specification, in every version)."""

from __future__ import annotations

from functools import cache

import onnx
import onnx_ir as ir

ONNX = ("", "ai.onnx")
NEWEST = onnx.defs.onnx_opset_version()


def wrong_type(node: ir.Node) -> str | None:
    """The first attribute that has another type than any version of its operator gives it, and which it should have.

    Every rule and formula reads attributes by these types. Operators that ONNX doesn't define, attributes that an
    operator doesn't have, and those that a function hands in are nobody's matter here.
    """
    if node.domain not in ONNX or not node.attributes:
        return None
    known = _types(node.op_type)
    for name, attribute in node.attributes.data.items():
        types = known.get(name)
        if types is not None and attribute.type.value not in types and not attribute.is_ref():
            told = " or ".join(ir.AttributeType(kind).name for kind in sorted(types))
            return f"attribute {name!r} is {attribute.type.name}, the operator takes {told}"
    return None


@cache
def _types(op: str) -> dict[str, set[int]]:
    """Types by the attribute's name, of an operator's versions."""
    found: dict[str, set[int]] = {}
    version = NEWEST
    while version > 0:
        try:
            schema = onnx.defs.get_schema(op, version, "")
        except onnx.defs.SchemaError:
            break
        for name, attribute in schema.attributes.items():
            found.setdefault(name, set()).add(attribute.type.value)
        version = schema.since_version - 1
    return found
