"""`chanc rewrite`: widths made smaller or larger, the trained weights carried over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chanc.cli.options import Named
from chanc.cli.outputs import force_option, refuse_early, say
from chanc.cli.sizes import size_options
from chanc.errors import MissingDependencyError, PlanError, VerifyError

if TYPE_CHECKING:
    from chanc.ir.sizes import Sizes
    from chanc.rewriter import Rewrite


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
@click.option("--trace", "trace_file", metavar="FILE", help="Write what happened to every operand, for `chanc verify`.")
@click.option("--verify/--no-verify", default=True, help="Check the result with onnx and in onnxruntime. [on]")
@size_options
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
    trace_file: str | None,
    verify: bool,
    force: bool,
    dims: dict[str, int],
    shapes: dict[str, list[int]],
) -> None:
    """Give the channel groups of MODEL new widths and write OUT; MODEL stays as it is.

    \b
    chanc rewrite model.onnx -o half.onnx --scale 0.5                      keep the strongest half
    chanc rewrite model.onnx -o wide.onnx --scale 1.5 --transfer widen     grow, same function
    chanc rewrite model.onnx -o small.onnx --plan plan.json --trace t.json
    chanc rewrite model.onnx -o half.onnx --scale 0.5 --dim T=24           analysed at 24, written with T open
    """
    from chanc.ir import atomic_write_json, check, load, save
    from chanc.ir.sizes import sizes_of
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
        dims=dims,
        shapes=shapes,
    )
    given = sizes_of(loaded, dims, shapes)
    if not result.changed:
        raise PlanError(f"nothing changes: {_why_nothing(loaded, given)}")
    note = _verified(loaded, result, transfer, given) if verify else ""
    save(result.model, output)
    if trace_file is not None:
        atomic_write_json(trace_file, result.trace.to_json())
    _say(result, output, note)


def _why_nothing(model: Any, given: Sizes) -> str:
    from collections import Counter

    from chanc.analysis import analyze

    groups = analyze(model, dims=given).groups
    if not groups:
        return "the model has no channel groups"
    if not any(group.resizable for group in groups):
        reason, count = Counter(group.reason for group in groups).most_common(1)[0]
        return f"all {len(groups)} channel groups are pinned, {count} of them because {reason}"
    return "every group has the width that is asked for already"


def _verified(original: Any, result: Rewrite, transfer: str, given: Sizes) -> str:
    """Check the rewritten model at the sizes given, and two others; what was checked, in words.

    VerifyError where it fails, ModelError where the original doesn't run at the sizes given.
    """
    from chanc.ir import check
    from chanc.ir.sizes import others

    check(result.model)
    note = _verified_at(original, result, transfer, given)
    if not given:
        return note
    ran = [sizes for sizes in others(given) if _runs_at(original, sizes)]
    for sizes in ran:
        _verified_at(original, result, transfer, sizes)
    told = [" ".join(f"{name}={size}" for name, size in sizes.items()) for sizes in ran]
    return f"{note}; also at {' and '.join(told)}" if ran else f"{note}; the original runs at no other sizes tried"


def _runs_at(model: Any, sizes: Sizes) -> bool:
    """Whether a model can be run at other sizes: a table may be too short, a Reshape tied to one."""
    from chanc.errors import ModelError
    from chanc.ir import load
    from chanc.oracles import runs

    try:
        runs(load(model, dims=sizes))
    except (ModelError, VerifyError):
        return False
    return True


def _verified_at(original: Any, result: Rewrite, transfer: str, given: Sizes) -> str:
    """Check the rewritten model at these sizes of open axes; what was checked, in words."""
    from chanc.api import verify
    from chanc.ir import load
    from chanc.oracles import TOLERANCE, runs

    grown = any(new > old for old, new in result.trace.groups.values())
    shrunk = any(new < old for old, new in result.trace.groups.values())
    try:
        if not result.trace.exact or transfer not in ("select", "widen") or (grown and shrunk):
            runs(load(result.model, dims=given))
            return "runs in onnxruntime"
        found = verify(original, result.model, trace=result.trace, dims=given)
    except MissingDependencyError as error:
        raise MissingDependencyError(f"{error}; or rewrite without that check: --no-verify") from None
    worst = max((difference.error for difference in found), default=0.0)
    if not worst <= TOLERANCE:
        raise VerifyError(f"the rewritten model differs from the original by {worst:.1e} of its largest output")
    what = "" if grown else " without the dropped channels"
    return f"computes what the original does{what} (largest difference {worst:.1e})"


def _say(result: Rewrite, output: str, note: str) -> None:
    changed = [(old, new) for old, new in result.trace.groups.values() if old != new]
    old, new = sum(a for a, _ in changed), sum(b for _, b in changed)
    exact = "" if result.trace.exact else "; not exact: a normalisation across channels sees the change"
    say(
        f"wrote {output}: {len(changed)} of {len(result.trace.groups)} groups changed, {old} -> {new} channels{exact}"
    )
    for line in result.trace.notes:
        say(f"note: {line}")
    if note:
        say(f"verified: {note}")
