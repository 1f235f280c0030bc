"""chanc's own Cut: where a rewrite may take channels from one reader of a tensor, and leave them to the others.

It stands in no finished model: `chanc.rewriter.edges` puts it in, and makes a Slice or a Gather of it.
"""

from __future__ import annotations

from chanc.analysis.context import Context
from chanc.analysis.layout import Field, Layout, Opaque, merge
from chanc.analysis.rules import rule


@rule("Cut", domain="chanc")
def cut(context: Context) -> None:
    """Y = X of which `kept` positions of an axis are left, all where there is none: channels of their own behind it."""
    axis = context.integer("axis", 1)
    layout = merge(context.input(0), axis)
    size, kept = layout.size(axis), context.integer_list("kept")
    if not isinstance(size, int) or any(len(part.slots) > 1 for part in layout.on(axis)):
        raise Opaque("channels are mixed with another axis")
    labels = context.fresh(size if kept is None else len(kept))
    axes = (*layout.axes[:axis], (labels.size,), *layout.axes[axis + 1 :])
    others = [part for part in layout.fields if not part.on(axis)]
    context.output(Layout(axes, (*others, Field(((axis, 0),), labels)), layout.why))
