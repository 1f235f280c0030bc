"""The rewrite: a plan carried out on the graph, its constants and its weights, and checked by a second analysis."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis, analyze
from chanc.analysis.dims import Size
from chanc.analysis.layout import Layout
from chanc.boundary import stumbled
from chanc.errors import ChancError, IllegalMove, NotUnderstood, PlanError, VerifyError
from chanc.ir import like
from chanc.ir.collector import uncollected
from chanc.ir.names import Names, value_names
from chanc.ir.nodes import called, nodes_of
from chanc.ir.sizes import Sizes, release
from chanc.rewriter.axis_maps import Resize
from chanc.rewriter.budget import Amount, Budget, Clock
from chanc.rewriter.check import Misfit, around, check_against
from chanc.rewriter.edges import Lowering
from chanc.rewriter.importance import Gathered, Importance
from chanc.rewriter.parameters import resize_parameters
from chanc.rewriter.plan import Apart, Plan, Resizing, Sizing, parted
from chanc.rewriter.provenance import begin_digest, sign, sign_source
from chanc.rewriter.rest import Fault, Left, do_the_rest
from chanc.rewriter.rules import REGISTRY, RewriteRule
from chanc.rewriter.site import Site, Stuck
from chanc.rewriter.trace import Trace, TraceOperand, Verdict
from chanc.rewriter.transfer import TRANSFERS, Method
from chanc.rewriter.wanted import Wanted

NOT_ASKED = "no other width is asked for"
UNREAD = "nothing reads the channels that went"
Fold = bool | Collection[str]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A rewritten model, of the kind that came in, and the trace of what changed."""

    model: Any
    trace: Trace

    def __repr__(self) -> str:
        return f"<Rewrite of a {type(self.model).__name__}: {self.trace}>"

    @property
    def changed(self) -> bool:
        """Whether any width changed, or what a consumer reads."""
        return bool(self.trace.edges) or any(old != new for old, new in self.trace.groups.values())


def rewrite(
    model: Any,
    plan: Plan | None = None,
    *,
    scale: float | None = None,
    max_params: Amount | None = None,
    max_macs: Amount | None = None,
    max_latency: Amount | None = None,
    keep: Sequence[str] = (),
    ratios: Mapping[str, float] | None = None,
    heads: bool = True,
    importance: str | Importance = "l2",
    transfer: str | Method = "grow",
    round_to: int | None = None,
    min_width: int = 1,
    seed: int = 0,
    dims: Sizes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    fold: bool = True,
    exact: bool = False,
    leave: Left | None = None,
    evidence: Gathered | None = None,
    clock: Clock | None = None,
) -> Rewrite:
    """Give channel groups new widths, weights carried over; the caller's model stays as it is.

    `plan` maps group ids to a width in channels, `{"scale": S}`, `{"keep": [channels]}`, or `{"first": width}`, which
    takes and adds channels at the end only; `scale` instead scales every group that may change. A plan of format 2,
    `{"format": 2, "groups": {...}, "edges": {"<node's first output>:<input>": [units]}}`, also says which units of a
    group each of its consumers keeps (`chanc.rewriter.edges`). Or budgets say what the result may have: `max_params`,
    `max_macs` (of one sample), `max_latency` (milliseconds of one input, as `clock` measures them: `chanc.rewrite` in
    onnxruntime), each a number or a share such as "50%"; then those units go that are worth least for what they cost
    (`chanc.rewriter.allocate`).
    Groups are named by id, or by patterns over ids, weights and nodes (`chanc.analysis.patterns`); of several that name
    a group the last one counts. `keep` are patterns of groups that stay, `ratios` of such that get a share of their
    width, whatever the others do; without `heads` attention keeps all its heads (else whole ones go).
    Widths follow each group's step; `round_to` and `min_width` (channels) bound those that aren't given as numbers,
    `round_to` also those that edges make. Without `round_to` a scale rounds to whole channels, a budget to what devices
    are fast with: multiples of 8, in groups under 16 of 4, or of the step where that is larger.
    `importance` says which channels stay (a name of `chanc.rewriter.IMPORTANCES`, or a function of that kind), some by
    the `evidence` of data (`chanc.gather`), and `transfer` what their weights become (a name of
    `chanc.rewriter.TRANSFERS`, or a method of that kind). `exact` changes only groups that keep the function of the
    rest; `leave` names groups (id -> reason) to leave alone as well. Weights that change and that the graph computes
    from initializers alone become constants, unless `fold` is False: for a model that goes on to train. `dims` and
    `shapes` give open axes the sizes at which the model is analysed (`chanc.analyze`); in the result they are open
    again. An `Analysis` may stand for the model, which is then changed in place; it is spent afterwards.

    A group that can't follow is left alone, and the others go on: `trace.left` says which, and why. With an `Analysis`
    nothing can be tried twice: then the first failure is raised. A model that changed says in its metadata what made it
    (`chanc.rewriter.provenance`).

    Raises ModelError for a model that can't be read, PlanError for a plan that can't be had or a spent analysis; where
    no group is left to change, VerifyError if the second analysis disagrees (a defect of an operator's rule),
    IllegalMove if the graph can't follow.
    """
    digest = begin_digest(model)
    method = TRANSFERS[transfer] if isinstance(transfer, str) else transfer
    for what, value, least in (("rounding", round_to, 1), ("least width", min_width, 1), ("seed", seed, 0)):
        if value is not None and value < least:
            raise PlanError(f"the {what} must be at least {least}, not {value}")
    budget = Budget(max_params, max_macs, max_latency, clock)
    if budget and (plan is not None or scale is not None):
        raise PlanError("give a plan, a scale or budgets: one of the three")
    sizing = Sizing(round_to or (None if budget else 1), min_width)
    apart = Apart(keep, ratios or {}, heads)
    groups, edges = parted(plan)
    wanted = Wanted(groups, scale, importance, method, sizing, seed, exact, evidence, apart, edges)

    def analysed(fold: Fold) -> Analysis:
        return analyze(model, dims=dims, shapes=shapes, fold=fold)

    def carry_out(wanted: Wanted, leave: Left) -> Rewrite:
        def attempt(left: Left) -> Rewrite:
            leaves = {**leave, **left}
            with uncollected():
                analysis = model if isinstance(model, Analysis) else _folded(analysed, wanted, leaves, fold)
                return Rewrite(analysis.model, _attempt(analysis, wanted, leaves))

        try:
            return attempt({})
        except Fault as fault:
            if isinstance(model, Analysis):
                raise fault.error from fault
            return _rest(attempt, fault, bool(wanted.edges))

    if budget:
        whole = model if isinstance(model, Analysis) else analysed(fold)
        done = _within(whole, wanted, budget, carry_out, dict(leave or {}))
    else:
        done = carry_out(wanted, leave or {})
    if done.changed:
        with uncollected():
            sign(done.model, _new_widths(done.trace), edges, done.trace)
        sign_source(done.model, digest)
    return done if isinstance(model, Analysis) else Rewrite(like(done.model, model), done.trace)


def _new_widths(trace: Trace) -> dict[str, int]:
    """The widths of the groups that changed, but for those of which edges alone took channels."""
    return {name: new for name, (old, new) in trace.groups.items() if old != new and name not in trace.unread}


def _rest(attempt: Callable[[Left], Rewrite], fault: Fault, edges: bool) -> Rewrite:
    """The rewrite without the groups at fault. Edges whose channels can't go read zeros, which never fails."""
    try:
        return do_the_rest(attempt, fault)
    except (VerifyError, IllegalMove):
        if not edges:
            raise
        return attempt(dict.fromkeys(fault.tried, str(fault.error)))


def _within(
    analysis: Analysis, wanted: Wanted, budget: Budget, carry_out: Callable[[Wanted, Left], Rewrite],
    left: dict[str, str],
) -> Rewrite:  # fmt: skip
    """The rewrite within budgets: what groups that can't follow don't give, the others do."""
    tried: dict[str, int] = {}
    while True:
        widths = wanted.widths(budget, analysis, left, _resized)
        done = carry_out(replace(wanted, plan={**tried, **widths}, apart=Apart()), left)
        failed = {name: reason for name, reason in done.trace.left.items() if name not in left}
        if not failed:
            return done
        left |= failed
        tried |= {name: widths[name] for name in failed}


def _resized(model: ir.Model, widths: Mapping[str, int]) -> ir.Model:
    """A model of these widths, whatever its weights are."""
    resized: ir.Model = rewrite(model, widths, importance="first", transfer="select").model
    return resized


def _folded(analysed: Callable[[Fold], Analysis], wanted: Wanted, leave: Left, fold: bool) -> Analysis:
    """The analysis for which the graph computes what doesn't change, and nothing else, if weights may be folded."""
    analysis = analysed(fold)
    if not analysis.folded or wanted.edges:
        return analysis
    asked, left = wanted.choice(analysis, leave, np.random.default_rng(wanted.seed))
    changed = [r for r in asked if r.changed and r.group.id not in left]
    touched = {operand.initializer for r in changed for operand in r.group.operands}
    return analysis if touched.issuperset(analysis.folded) else analysed(touched.intersection(analysis.folded))


def _attempt(analysis: Analysis, wanted: Wanted, leave: Left) -> Trace:
    """Carry out what is wanted but for some groups, in place; raises Fault."""
    if analysis.spent:
        raise PlanError("this analysis is spent: its model was rewritten already; analyse again")
    rng = np.random.default_rng(wanted.seed)
    lowering = _lowering(analysis, wanted, leave) if wanted.edges else None
    analysis = lowering.analysis if lowering else analysis
    asked, left = wanted.choice(analysis, leave, rng)
    planned = [r for r in asked if r.changed and r.group.id not in left]
    fixed = [r for r in asked if r.group.id not in left]
    unread, cut = lowering.narrowed(fixed, left) if lowering else ([], [])
    chosen = [r for r in (*planned, *unread, *cut) if r.changed]
    # From here on the model may be half changed, whatever happens.
    analysis.spend()
    try:
        operands = _carry_out(analysis, chosen, wanted.method, rng)
    except Exception as error:
        if isinstance(error, ChancError) and not isinstance(error, (VerifyError, IllegalMove, NotUnderstood)):
            raise
        raise _fault(analysis, chosen, error) from error
    edges = lowering.finish(chosen) if lowering else {}
    if lowering:
        there = {called(node) for node in nodes_of(analysis.model.graph)}
        operands = tuple(operand for operand in operands if operand.node in there)
    release(analysis.model, analysis.opened)
    widths = {r.group.id: (r.group.size, r.size if r.group.id not in left else r.group.size) for r in (*asked, *unread)}
    verdicts = _verdicts(analysis, asked, left)
    if lowering:
        verdicts = {name: verdict for name, verdict in verdicts.items() if name not in lowering.hidden}
    verdicts.update((r.group.id, Verdict(True, UNREAD, asked=False)) for r in unread if r.changed)
    lost = tuple(r.group.id for r in unread if r.changed)
    exact = all(not r.inexact for r in chosen)
    return Trace(exact, widths, operands, _notes(analysis), verdicts, edges, lost)


def _lowering(analysis: Analysis, wanted: Wanted, leave: Left) -> Lowering:
    """The edges that are wanted; where weights are drawn anew none can be zeros."""
    return Lowering.of(analysis, wanted.edges, leave, wanted.sizing.round_to or 1, wanted.method.fresh)


def _notes(analysis: Analysis) -> tuple[str, ...]:
    """What a rewrite did besides changing widths, a line each."""
    fed = sorted(value.name or "" for value in analysis.findings.fed)
    said = {
        "weights that the graph computed from others are constants now": analysis.folded,
        "inputs with a value of their own, which a caller may feed, stay as they are": fed,
    }
    return tuple(f"{what}: {_listed(names)}" for what, names in said.items() if names)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def _fault(analysis: Analysis, chosen: list[Resizing], error: Exception) -> Fault:
    """A failure, and the groups that it speaks of."""
    labels = error.labels if isinstance(error, (Misfit, Stuck)) else np.empty(0, dtype=np.int64)
    units = np.unique(analysis.units.unit[labels])
    at = [r.group.id for r in chosen if np.isin(units, r.group.units).any()]
    if not isinstance(error, (VerifyError, IllegalMove)):
        error = VerifyError(f"the rewritten model can't be analysed: {stumbled(error)}")
    return Fault(error, at, [r.group.id for r in chosen])


def _verdicts(analysis: Analysis, asked: list[Resizing], left: Left) -> dict[str, Verdict]:
    """What became of every group of the model."""
    found = {group.id: Verdict(False, group.reason or NOT_ASKED, group.exact, asked=False) for group in analysis.groups}
    for resizing in asked:
        name = resizing.group.id
        if not resizing.changed:
            found[name] = Verdict(False, "it has that width already", resizing.group.exact, asked=False)
        elif name in left:
            found[name] = Verdict(False, left[name], resizing.group.exact)
        else:
            found[name] = Verdict(True, resizing.inexact, not resizing.inexact)
    return found


def _carry_out(
    analysis: Analysis, chosen: list[Resizing], method: Method, rng: np.random.Generator
) -> tuple[TraceOperand, ...]:
    """Change the analysis' model in place."""
    findings, model = analysis.findings, analysis.model
    copies = np.ones(findings.label_count, dtype=np.int64)
    for resizing in chosen:
        copies[resizing.group.units] = resizing.copies
    units = analysis.units
    resize = Resize(units.unit, copies, units.channel, units.seams)
    sizes = {value: _sizes(resize, layout) for value, layout in findings.layouts.items() if _affected(resize, layout)}
    unordered: set[ir.Value] = set()
    names = Names(value_names(model.graph))
    for node in [n for n in nodes_of(model.graph) if any(value in sizes for value in (*n.inputs, *n.outputs))]:
        rule = REGISTRY.find(node.domain, node.op_type, findings.opset if not node.domain else 1 << 20)
        if rule is not None:
            _follow(rule, Site(node, findings, resize, names, unordered))
    operands, structure = resize_parameters(analysis, resize, chosen, method, rng, names)
    for value, new in sizes.items():
        _set_shape(value, new, findings.layouts[value])
    _drop_stale(model, {value: layout for value, layout in findings.layouts.items() if value not in sizes})
    for value, row in findings.sequences.items():
        if any(_affected(resize, layout) for layout in row):
            value.shape = None
    if chosen:
        check_against(analysis, model, structure, resize, unordered)
    return operands


def _follow(rule: RewriteRule, site: Site) -> None:
    """Let a node follow the resize; Stuck, with its labels, where it can't."""
    try:
        rule(site)
    except IllegalMove as error:
        raise Stuck(str(error), around(site.findings, site.node)) from error
    except Exception as error:
        why = f"{site.node.op_type} '{called(site.node)}' can't follow: {stumbled(error)}"
        raise Stuck(why, around(site.findings, site.node)) from error


def _sizes(resize: Resize, layout: Layout) -> tuple[Size, ...]:
    try:
        return resize.sizes(layout)
    except IllegalMove as error:
        raise Stuck(str(error), np.concatenate([field.labels.ravel() for field in layout.fields])) from error


def _affected(resize: Resize, layout: Layout) -> bool:
    return any(resize.changes(field.labels) for field in layout.fields)


def _drop_stale(model: ir.Model, layouts: Mapping[ir.Value, Layout]) -> None:
    """Take away declared shapes that were wrong before: what they contradict may have another size now."""
    ends = {*model.graph.inputs, *model.graph.outputs}
    for value, layout in layouts.items():
        if value.shape is not None and value.const_value is None and value not in ends and _stale(value.shape, layout):
            value.shape = None


def _stale(declared: ir.Shape, layout: Layout) -> bool:
    """Whether a declared shape contradicts what is known of the value."""
    known = layout.sizes
    return len(declared) != len(known) or any(
        isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(declared, known, strict=True)
    )


def _set_shape(value: ir.Value, sizes: tuple[object, ...], layout: Layout) -> None:
    """The new sizes in the value's declared shape; names of dynamic axes stay. One that was wrong before goes."""
    if value.shape is None or value.const_value is not None:
        return
    if _stale(value.shape, layout):
        value.shape = None
        return
    old = layout.sizes
    value.shape = ir.Shape([
        new if new != old[k] and isinstance(new, int) else value.shape[k] for k, new in enumerate(sizes)
    ])  # fmt: skip
