"""The rewrite: a plan carried out on the graph, its constants and its weights, and checked by a second analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis, analyze
from chanc.analysis.fold_shapes import fold_shapes
from chanc.analysis.layout import Layout
from chanc.errors import PlanError
from chanc.ir import like
from chanc.ir.collector import uncollected
from chanc.ir.names import Names, value_names
from chanc.ir.nodes import nodes_of
from chanc.rewriter.axis_maps import Resize
from chanc.rewriter.check import check_against
from chanc.rewriter.importance import Importance
from chanc.rewriter.parameters import resize_parameters
from chanc.rewriter.plan import Plan, Resizing, Sizing, resizings
from chanc.rewriter.rules import REGISTRY
from chanc.rewriter.site import Site
from chanc.rewriter.trace import Trace
from chanc.rewriter.transfer import TRANSFERS, Method
from chanc.rewriter.transfer.reflect import reflected


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A rewritten model, of the kind that came in, and the trace of what changed."""

    model: Any
    trace: Trace

    def __repr__(self) -> str:
        return f"<Rewrite of a {type(self.model).__name__}: {self.trace}>"

    @property
    def changed(self) -> bool:
        """Whether any width changed."""
        return any(old != new for old, new in self.trace.groups.values())


def rewrite(
    model: Any,
    plan: Plan | None = None,
    *,
    scale: float | None = None,
    importance: str | Importance = "l2",
    transfer: str = "select",
    round_to: int = 1,
    min_width: int = 1,
    seed: int = 0,
    fold: bool = True,
) -> Rewrite:
    """Give channel groups new widths, weights carried over; the caller's model stays as it is.

    `plan` maps group ids to a width in channels, `{"scale": S}` or `{"keep": [channels]}`; `scale` instead scales every
    group that may change. Widths follow each group's step; `round_to` and `min_width` (channels) bound scaled ones.
    `importance` says which channels stay (a name of `chanc.rewriter.IMPORTANCES`, or a function of that kind),
    `transfer` what their weights become (a name of `chanc.rewriter.TRANSFERS`). Weights that change and that the graph
    computes from initializers alone become constants, unless `fold` is False: for a model that goes on to train. An
    `Analysis` may stand for the model, which is then changed in place; it is spent afterwards.

    Raises ModelError for a model that can't be read, PlanError for a plan that can't be had or a spent analysis,
    VerifyError where the second analysis disagrees (a defect of an operator's rule), IllegalMove where the graph can't
    follow.
    """
    method = TRANSFERS[transfer]
    for what, value, least in (("rounding", round_to, 1), ("least width", min_width, 1), ("seed", seed, 0)):
        if value < least:
            raise PlanError(f"the {what} must be at least {least}, not {value}")
    analysis = model if isinstance(model, Analysis) else analyze(model, fold=fold)
    if analysis.spent:
        raise PlanError("this analysis is spent: its model was rewritten already; analyse again")
    order = "first" if method.ordered else importance
    rng = np.random.default_rng(seed)
    chosen = resizings(analysis, plan, scale, order, Sizing(round_to, min_width), rng)
    touched = {operand.initializer for r in chosen if r.changed for operand in r.group.operands}
    if not isinstance(model, Analysis) and not touched.issuperset(analysis.folded):
        # What doesn't change stays computed.
        analysis = analyze(model, fold=touched.intersection(analysis.folded))
        rng = np.random.default_rng(seed)
        chosen = resizings(analysis, plan, scale, order, Sizing(round_to, min_width), rng)
    chosen = [_reflected(r) if method.ordered and r.source.size > r.copies.size else r for r in chosen]
    # From here on the model may be half changed, whatever happens.
    analysis.spend()
    with uncollected():
        trace = _carry_out(analysis, [r for r in chosen if r.changed], method, rng)
    widths = {r.group.id: (r.group.size, r.size) for r in chosen}
    result = analysis.model if isinstance(model, Analysis) else like(analysis.model, model)
    return Rewrite(result, Trace(trace.exact, widths, trace.operands, (*trace.notes, *_notes(analysis))))


def _notes(analysis: Analysis) -> list[str]:
    """What a rewrite did besides changing widths, a line each."""
    fed = sorted(value.name or "" for value in analysis.findings.fed)
    said = {
        "weights that the graph computed from others are constants now": analysis.folded,
        "inputs with a value of their own, which a caller may feed, stay as they are": fed,
    }
    return [f"{what}: {_listed(names)}" for what, names in said.items() if names]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def _reflected(resizing: Resizing) -> Resizing:
    source = reflected(resizing.copies.size, resizing.source.size)
    return Resizing(resizing.group, resizing.copies, source)


def _carry_out(analysis: Analysis, chosen: list[Resizing], method: Method, rng: np.random.Generator) -> Trace:
    """Change the analysis' model in place."""
    findings, model = analysis.findings, analysis.model
    copies = np.ones(findings.label_count, dtype=np.int64)
    for resizing in chosen:
        copies[resizing.group.units] = resizing.copies
    units = analysis.units
    resize = Resize(units.unit, copies, units.channel, units.seams)
    if chosen:
        fold_shapes(model, findings)
    sizes = {value: resize.sizes(layout) for value, layout in findings.layouts.items() if _affected(resize, layout)}
    unordered: set[ir.Value] = set()
    names = Names(value_names(model.graph))
    for node in [n for n in nodes_of(model.graph) if any(value in sizes for value in (*n.inputs, *n.outputs))]:
        rule = REGISTRY.find(node.domain, node.op_type, findings.opset if not node.domain else 1 << 20)
        if rule is not None:
            rule(Site(node, findings, resize, names, unordered))
    operands, structure = resize_parameters(analysis, resize, chosen, method, rng, names)
    for value, new in sizes.items():
        _set_shape(value, new, findings.layouts[value])
    for value, row in findings.sequences.items():
        if any(_affected(resize, layout) for layout in row):
            value.shape = None
    if chosen:
        check_against(analysis, model, structure, resize, unordered)
    exact = all(r.group.exact and (r.group.scalable or r.source.size <= r.copies.size) for r in chosen)
    return Trace(exact, {}, operands)


def _affected(resize: Resize, layout: Layout) -> bool:
    return any(resize.changes(field.labels) for field in layout.fields)


def _set_shape(value: ir.Value, sizes: tuple[object, ...], layout: Layout) -> None:
    """The new sizes in the value's declared shape; names of dynamic axes stay."""
    if value.shape is None or value.const_value is not None or len(value.shape) != len(sizes):
        return
    old = layout.sizes
    value.shape = ir.Shape([
        new if new != old[k] and isinstance(new, int) else value.shape[k] for k, new in enumerate(sizes)
    ])  # fmt: skip
