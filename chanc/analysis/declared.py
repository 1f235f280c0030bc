"""Layouts without labels, from the shapes that a model declares."""

from __future__ import annotations

import onnx_ir as ir

from chanc.analysis.dims import Dim, Size, unknown
from chanc.analysis.layout import Layout, Opaque, plain


def declared(value: ir.Value) -> Layout:
    """The layout that a model declares for a value; Opaque where it declares no shape."""
    if value.shape is None:
        raise Opaque(f"the shape of '{value.name}' is not known")
    return plain(_sizes(value))


def graph_input(value: ir.Value) -> Layout:
    """The layout of an input of the graph that has a shape: each nameless axis is an unknown of its own."""
    sizes = _sizes(value)
    named = [
        unknown(f"{value.name}.{k}") if isinstance(n, Dim) and n.atoms[0] in ("?", "-1") else n
        for k, n in enumerate(sizes)
    ]
    what = ", which may be fed" if value.const_value is not None else ""
    return plain(named, f"graph input '{value.name}'{what}")


def _sizes(value: ir.Value) -> list[Size]:
    sizes: list[Size] = []
    for axis, size in enumerate(value.shape or ()):
        known = size.value if isinstance(size, ir.SymbolicDim) else size
        # Paddle writes -1 and 0 for axes of any size.
        sizes.append(known if isinstance(known, int) and known > 0 else unknown(str(known or f"{value.name}.{axis}")))
    return sizes
