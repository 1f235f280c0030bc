"""`chanc rewrite`: widths made smaller or larger, the trained weights carried over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from chanc.cli.options import Named
from chanc.cli.outputs import force_option, refuse_early
from chanc.errors import MissingDependencyError, PlanError, VerifyError

if TYPE_CHECKING:
    from chanc.rewriter import Rewrite

MOST_LEFT = 10
"""Groups that were left alone are named one in a line, no more than these."""


@click.command("rewrite")
@click.argument("model")
@click.option("-o", "--output", required=True, metavar="OUT", help="Where to write the rewritten model.")
@click.option("--scale", type=float, metavar="S", help="Scale every group that may change, e.g. 0.5 or 1.5.")
@click.option(
    "--plan",
    "plan_file",
    metavar="PLAN.json",
    help='Widths by group: {"<group id>": 48 | {"scale": 0.5} | {"keep": [0, 3]}}.',
)
@click.option(
    "--importance",
    "--select",
    type=Named("chanc.rewriter:IMPORTANCES"),
    default="l2",
    show_default=True,
    help="Which channels stay; --select is the same.",
)
@click.option(
    "--transfer",
    type=Named("chanc.rewriter:TRANSFERS"),
    default="select",
    show_default=True,
    help="What their weights become; widen keeps the function when growing.",
)
@click.option(
    "--round-to", type=click.IntRange(min=1), default=1, metavar="N", help="Round scaled widths to multiples of N."
)
@click.option(
    "--min-width", type=click.IntRange(min=1), default=1, metavar="N", help="No scaled width under N channels."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of random selection and initialisation.")
@click.option("--exact", is_flag=True, help="Change only groups that keep the function of the rest.")
@click.option("--trace", "trace_file", metavar="FILE", help="Write what happened to every operand, for `chanc verify`.")
@click.option("--verify/--no-verify", default=True, help="Check the result with onnx and in onnxruntime. [on]")
@force_option
def command(
    model: str,
    output: str,
    scale: float | None,
    plan_file: str | None,
    importance: str,
    transfer: str,
    round_to: int,
    min_width: int,
    seed: int,
    exact: bool,
    trace_file: str | None,
    verify: bool,
    force: bool,
) -> None:
    """Give the channel groups of MODEL new widths and write OUT; MODEL stays as it is.

    \b
    chanc rewrite model.onnx -o half.onnx --scale 0.5                      keep the strongest half
    chanc rewrite model.onnx -o wide.onnx --scale 1.5 --transfer widen     grow, same function
    chanc rewrite model.onnx -o small.onnx --plan plan.json --trace t.json
    """
    from chanc.ir import atomic_write_json, check, load, save
    from chanc.rewriter import rewrite
    from chanc.rewriter.plan import load_plan

    if (scale is None) == (plan_file is None):
        raise click.UsageError("give either --scale or --plan")
    refuse_early(output, model, force=force)
    refuse_early(trace_file, model, output, plan_file, force=None)
    loaded = load(model)
    check(loaded)
    plan = load_plan(plan_file) if plan_file is not None else None
    result = rewrite(
        loaded,
        plan,
        scale=scale,
        importance=importance,
        transfer=transfer,
        round_to=round_to,
        min_width=min_width,
        seed=seed,
        exact=exact,
    )
    if not result.changed:
        raise PlanError(f"nothing changes: {_why_nothing(loaded, result)}")
    note = _verified(loaded, result, transfer) if verify else ""
    save(result.model, output)
    if trace_file is not None:
        atomic_write_json(trace_file, result.trace.to_json())
    _say(result, output, note)


def _why_nothing(model: Any, result: Rewrite) -> str:
    from chanc.analysis import analyze

    if result.trace.left:
        return f"all groups were left alone, {_most(result.trace.left)}"
    groups = analyze(model).groups
    if not groups:
        return "the model has no channel groups"
    if not any(group.resizable for group in groups):
        return f"all {len(groups)} channel groups are pinned, {_most({group.id: group.reason for group in groups})}"
    return "every group has the width that is asked for already"


def _most(reasons: Mapping[str, str]) -> str:
    """The reason that most groups have, and how many."""
    reason, count = Counter(reasons.values()).most_common(1)[0]
    return f"{count} of them because {reason}"


def _verified(original: Any, result: Rewrite, transfer: str) -> str:
    """Check the rewritten model; what was checked, in words. VerifyError where it fails."""
    from chanc.api import verify
    from chanc.ir import check
    from chanc.oracles import TOLERANCE, runs

    check(result.model)
    grown = any(new > old for old, new in result.trace.groups.values())
    shrunk = any(new < old for old, new in result.trace.groups.values())
    try:
        if not result.trace.exact or transfer not in ("select", "widen") or (grown and shrunk):
            runs(result.model)
            return "runs in onnxruntime"
        found = verify(original, result.model, trace=result.trace)
    except MissingDependencyError as error:
        raise MissingDependencyError(f"{error}; or rewrite without that check: --no-verify") from None
    worst = max((difference.error for difference in found), default=0.0)
    if not worst <= TOLERANCE:
        raise VerifyError(f"the rewritten model differs from the original by {worst:.1e} of its largest output")
    what = "" if grown else " without the dropped channels"
    return f"computes what the original does{what} (largest difference {worst:.1e})"


def _say(result: Rewrite, output: str, note: str) -> None:
    trace = result.trace
    changed = [(old, new) for old, new in trace.groups.values() if old != new]
    old, new = sum(a for a, _ in changed), sum(b for _, b in changed)
    exact = "" if trace.exact else f"; {len(trace.inexact)} of them not exactly: {_causes(trace.inexact)}"
    click.echo(f"wrote {output}: {len(changed)} of {len(trace.groups)} groups changed, {old} -> {new} channels{exact}")
    for name, reason in list(trace.left.items())[:MOST_LEFT]:
        click.echo(f"left alone: {name}: {reason}")
    if len(trace.left) > MOST_LEFT:
        click.echo(f"left alone: {len(trace.left) - MOST_LEFT} more groups; --trace has them all")
    if note:
        click.echo(f"verified: {note}")


def _causes(reasons: Mapping[str, str]) -> str:
    """The causes, each once, the commonest first."""
    return ", ".join(cause for cause, _ in Counter(reasons.values()).most_common(3))
