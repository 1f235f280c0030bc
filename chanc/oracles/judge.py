"""The judgement of a rewrite: what it must compute, as far as anyone can tell.

A rewrite of exact groups by a transfer that keeps the function computes what the original does, without what was
dropped. Of any other rewrite the groups are judged, each kind by its own twin: the exact ones, rewritten alone, must
compute that; where a normalisation across channels sees the change, they are doubled, which no norm sees. Exact ones
are doubled, too, where so much was dropped that the outputs hardly depend on the inputs, and would show nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis, Group, analyze
from chanc.backends import ort
from chanc.boundary import boundary
from chanc.errors import ModelError, VerifyError
from chanc.ir import load
from chanc.ir.sizes import Sizes
from chanc.oracles.compare import TOLERANCE, Array
from chanc.oracles.doubled import Twin, counted, doubled, judged, twin, untold
from chanc.oracles.outputs import Feeds
from chanc.oracles.pair import Pairing, pairing
from chanc.oracles.precision import HALVES
from chanc.oracles.spent import Spent
from chanc.oracles.verdict import Finding, Verdict
from chanc.oracles.zeroed import strays, zeroed
from chanc.rewriter.later import settle
from chanc.rewriter.plan import Plan
from chanc.rewriter.trace import Trace

KEEPERS = ("grow", "select", "widen")
"""Transfers that keep the function of exact groups."""

_HALF_TOLERANCE = {ir.DataType.FLOAT16: 1e-2, ir.DataType.BFLOAT16: 8e-2}
"""Weights that somebody shared out among copies may be rounded to 2^-11, or 2^-8, of them: some 20 times that in a deep
net. chanc's own copies add up to the weight."""

_LARGEST = 1 << 30
"""Bytes of weights of a model that is worth doubling: its twin has up to four times as many."""

Widths = Mapping[str, tuple[int, int]]


@boundary("the comparison")
def judge(
    original: Any,
    rewritten: Any,
    *,
    trace: Trace | Mapping[str, Any] | None = None,
    transfer: str = "grow",
    feeds: Feeds | None = None,
    sizes: Sizes | None = None,
    batch: int = 2,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> Verdict:
    """Judge a rewritten model by the original and the trace; without a trace both must compute the same.

    transfer: the rewrite's; one that keeps no function leaves only the groups to be judged. feeds: the inputs, or None
    for random ones (`batch` samples from `seed`). sizes: of open axes, by name, at which the rewrite was analysed.
    tolerance: of the largest entry of an output; more where weights in half precision were shared out among copies.

    Raises: ModelError where `feeds` were given and the original can't be run on them, or where nothing that is
    installed can run it, VerifyError for a trace that is not of `original`, MissingDependencyError without onnxruntime.
    """
    spent = Spent()
    if isinstance(rewritten, ir.Model):
        settle(rewritten)  # it is run here and saved later
    one, two = load(original), load(rewritten)
    widths = _widths(trace) if trace is not None else {}
    allowed = tolerance
    if trace is None or any(new > old for old, new in widths.values()):
        allowed = max(tolerance, _rounding(one))
    keeps = trace is None or (_exact(trace) and transfer in KEEPERS)
    bound = load(one, dims=sizes) if sizes else one
    pair = functools.partial(pairing, bound, feeds, batch=batch, seed=seed, tolerance=allowed, spent=spent)
    if trace is None or keeps:
        expected = one if trace is None else zeroed(one, trace)
        findings = _as_a_whole(pair(expected=expected), one, expected, two, widths, sizes)
    else:
        findings = _in_parts(pair, one, two, trace, widths, sizes)
    return Verdict(tuple(findings), spent.all("twins"))


def _widths(trace: Trace | Mapping[str, Any]) -> Widths:
    if isinstance(trace, Trace):
        return trace.groups
    return {name: (width["old"], width["new"]) for name, width in trace["groups"].items()}


def _exact(trace: Trace | Mapping[str, Any]) -> bool:
    return trace.exact if isinstance(trace, Trace) else bool(trace["exact"])


def _as_a_whole(
    pair: Pairing, original: ir.Model, expected: Any, rewritten: ir.Model, widths: Widths, sizes: Sizes | None
) -> list[Finding]:
    """The findings on a rewrite that computes what is expected."""
    shrunk = any(new < old for old, new in widths.values())
    what = "computes what the original does" + (" without the dropped channels" if shrunk else "")
    changed = tuple(name for name, (old, new) in widths.items() if old != new)
    finding = pair.compare(expected, rewritten, what, listen=shrunk)
    return [replace(finding, groups=changed), *(_alive(pair, original, changed, sizes) if finding.deaf else ())]


def _in_parts(
    pair: Callable[..., Pairing],
    original: ir.Model,
    rewritten: ir.Model,
    trace: Trace | Mapping[str, Any],
    widths: Widths,
    sizes: Sizes | None,
) -> list[Finding]:
    """The findings on the groups of a rewrite that keeps no function as a whole."""
    stray = strays(rewritten, trace)
    if stray:
        reason = f"the rewritten model is not what the trace tells of: {stray}"
        return [Finding("follows the trace", "none", (), False, reason=reason)]
    parts = _Parts.of(original, widths, sizes)
    twin = parts.at_once() if parts.exact and parts.others else None
    paired = pair(expected=twin.expected if isinstance(twin, Twin) else original)
    if paired.trouble and not paired.tries:
        changed = tuple(name for name, (old, new) in widths.items() if old != new)
        return [Finding("runs in onnxruntime", "none", (), None, reason=paired.trouble, groups=changed)]
    return [*_runs(paired, original, rewritten), *parts.findings(paired, twin)]


def _rounding(model: ir.Model) -> float:
    kinds = {value.dtype for value in model.graph.initializers.values() if value.dtype is not None}
    return max((_HALF_TOLERANCE[kind] for kind in kinds & HALVES), default=0.0)


def _runs(pair: Pairing, original: ir.Model, rewritten: ir.Model) -> list[Finding]:
    """Whether the rewritten model runs, and is finite where the original is; nothing where that can't be run."""
    subject, reason = "runs in onnxruntime", ""
    if pair.trouble:
        return []
    try:
        have = _as_deployed(pair, rewritten)
        want = have if all(map(_finite, have)) else _as_deployed(pair, original)
    except ModelError as error:
        return [] if _unloadable(original) else [Finding(subject, "float32", (), False, reason=str(error))]
    for value, before, after in zip(rewritten.graph.outputs, want, have, strict=True):
        if _finite(before) and not _finite(after):
            reason = f"output '{value.name}' of the rewritten model is not finite"
    return [Finding(subject, "float32", (), not reason, reason=reason)]


def _as_deployed(pair: Pairing, model: ir.Model) -> list[Array]:
    """What a model computes of the first inputs in onnxruntime with all that it does for speed. Raises: ModelError."""
    with pair.spent.on("sessions"):
        opened = ort.session(model)
    with pair.spent.on("runs"):
        return ort.run(opened, pair.tries[0])


def _finite(array: Any) -> bool:
    return not np.issubdtype(array.dtype, np.floating) or bool(np.isfinite(array).all())


def _unloadable(model: ir.Model) -> bool:
    try:
        ort.session(model)
    except ort.LoadError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class _Parts:
    """The groups that changed: exact ones with their new widths, others with why not, and findings on the rest."""

    original: ir.Model
    analysis: Analysis
    exact: Plan
    others: Mapping[str, str]
    told: Sequence[Finding]
    sizes: Sizes | None

    @classmethod
    def of(cls, original: ir.Model, widths: Widths, sizes: Sizes | None) -> _Parts:
        """The groups of a trace in the original. Raises: VerifyError for one that the model lacks."""
        analysis = analyze(original, dims=sizes)
        found = {group.id: group for group in analysis.groups}
        changed = {name: new for name, (old, new) in widths.items() if old != new}
        if changed.keys() - found.keys():
            lacking = min(changed.keys() - found.keys())
            raise VerifyError(f"the trace names the group '{lacking}', which the model lacks")
        exact: Plan = {name: new for name, new in changed.items() if _keeps(found[name], new)}
        others, told = _doubling(original, [found[name] for name in changed if name not in exact])
        return cls(original, analysis, exact, others, told, sizes)

    def at_once(self) -> Twin | Finding:
        """One twin for all: the exact groups at their new widths, the others doubled. The analysis is spent then."""
        plan = {**self.exact, **{name: {"scale": 2} for name in self.others}}
        subject = f"{counted(self.exact, 'exact')} verified, {counted(self.others)} verified by doubling"
        return twin(self.original, plan, subject, self.analysis)

    def findings(self, pair: Pairing, at_once: Twin | Finding | None) -> list[Finding]:
        """The findings: on all at once, where that agrees, else on each kind of groups alone."""
        both = judged(at_once, pair) if at_once is not None else None
        if both is not None and both.agrees:
            first, others = [both], []
        else:
            first = _alone(pair, self.original, self.exact, self.sizes)
            others = doubled(pair, self.original, self.others, self.sizes)
        deaf = [finding.groups for finding in first if finding.deaf]
        alive = [found for groups in deaf for found in _alive(pair, self.original, groups, self.sizes)]
        return [*first, *others, *self.told, *alive]


def _alive(pair: Pairing, original: ir.Model, groups: Sequence[str], sizes: Sizes | None) -> list[Finding]:
    """The findings on groups without which too little comes through to tell: doubled, they keep the function."""
    known = {group.id: group for group in analyze(original, dims=sizes).groups}
    others, told = _doubling(original, [known[name] for name in groups if name in known])
    parted = untold([name for name in groups if name not in known], "edges have parted them from other groups")
    return [*doubled(pair, original, others, sizes), *told, *parted]


def _doubling(original: ir.Model, groups: Sequence[Group]) -> tuple[dict[str, str], list[Finding]]:
    """The groups that can be doubled, and why a change of theirs isn't exact; the findings on the others."""
    told = untold([g.id for g in groups if not g.scalable], "their weights can't be shared out among copies")
    causes = {group.id: group.inexact for group in groups if group.scalable}
    if causes and _bytes(original) > _LARGEST:
        return {}, [*told, *untold([*causes], "the model is too big to double")]
    return causes, told


def _keeps(group: Group, width: int) -> bool:
    return group.exact and (group.scalable or width < group.size)


def _alone(pair: Pairing, original: ir.Model, exact: Plan, sizes: Sizes | None) -> list[Finding]:
    """The finding on exact groups, rewritten without the others."""
    made = twin(original, exact, f"{counted(exact, 'exact')} verified", sizes=sizes) if exact else None
    return [judged(made, pair)] if made is not None else []


def _bytes(model: ir.Model) -> int:
    tensors = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)
