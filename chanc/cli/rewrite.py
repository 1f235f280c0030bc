"""`chanc rewrite`: widths made smaller or larger, the trained weights carried over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import click

from chanc.cli.options import Named, inputs_option
from chanc.cli.outputs import force_option, refuse_early, say
from chanc.cli.sizes import size_options
from chanc.errors import MissingDependencyError, ModelError, PlanError, VerifyError

if TYPE_CHECKING:
    from chanc.ir.sizes import Sizes
    from chanc.oracles import Verdict
    from chanc.rewriter import Rewrite
    from chanc.rewriter.trace import TraceEdge

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
    help='Widths by group: {"<group id>": 48 | {"scale": 0.5} | {"keep": [0, 3]}}; with what single consumers read: '
    '{"format": 2, "groups": {...}, "edges": {"<node\'s first output>:<input>": [units]}}.',
)
@click.option(
    "--importance",
    "--select",
    type=Named("chanc.rewriter:IMPORTANCES"),
    default="l2",
    show_default=True,
    help="Which channels stay; --select is the same. Some judge by --data.",
)
@click.option("--data", metavar="NAME|PATH", help="Data set by which channels are judged: a name, a folder or an .npz.")
@click.option("--data-root", type=click.Path(), help="Folder where named data sets lie.")
@click.option("--task", type=Named("chanc.tasks:TASKS"), default="classification", show_default=True,
              help="Whose loss on --data counts.")  # fmt: skip
@click.option("--normalise", metavar="HOW", help="Of the pixels of --data: dataset, none, or MEAN/STD.")
@click.option("--scale-pixels", metavar="FACTOR", help="Of the pixels of --data before that, as 1/255.")
@click.option(
    "--transfer",
    type=Named("chanc.rewriter:TRANSFERS"),
    default="grow",
    show_default=True,
    help="What their weights become; grow and widen keep the function.",
)
@click.option(
    "--round-to",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Round scaled widths, and those that edges make, to multiples of N.",
)
@click.option(
    "--min-width", type=click.IntRange(min=1), default=1, metavar="N", help="No scaled width under N channels."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of random selection and initialisation.")
@click.option("--exact", is_flag=True, help="Change only groups that keep the function of the rest.")
@click.option("--trace", "trace_file", metavar="FILE", help="Write what happened to every operand, for `chanc verify`.")
@click.option("--verify/--no-verify", default=True, help="Check the result with onnx and in onnxruntime. [on]")
@size_options
@inputs_option
@force_option
def command(
    model: str,
    output: str,
    scale: float | None,
    plan_file: str | None,
    importance: str,
    data: str | None,
    data_root: str | None,
    task: str,
    normalise: str | None,
    scale_pixels: str | None,
    transfer: str,
    round_to: int,
    min_width: int,
    seed: int,
    exact: bool,
    trace_file: str | None,
    verify: bool,
    inputs: str | None,
    force: bool,
    dims: dict[str, int],
    shapes: dict[str, list[int]],
) -> None:
    """Give the channel groups of MODEL new widths and write OUT; MODEL stays as it is.

    \b
    chanc rewrite model.onnx -o half.onnx --scale 0.5                      keep the strongest half
    chanc rewrite model.onnx -o wide.onnx --scale 1.5                      grow, same function
    chanc rewrite model.onnx -o small.onnx --plan plan.json --trace t.json
    chanc rewrite model.onnx -o half.onnx --scale 0.5 --dim T=24           analysed at 24, written with T open
    chanc rewrite model.onnx -o half.onnx --scale 0.5 --importance taylor --data cifar10
    """
    from chanc.ir import atomic_write_json, check, load, save
    from chanc.ir.sizes import sizes_of
    from chanc.rewriter import rewrite
    from chanc.rewriter.plan import load_plan

    if (scale is None) == (plan_file is None):
        raise click.UsageError("give either --scale or --plan")
    refuse_early(output, model, force=force)
    refuse_early(trace_file, model, plan_file, beside=output, force=None)
    loaded = load(model)
    check(loaded)
    plan = load_plan(plan_file) if plan_file is not None else None
    evidence = None
    if data is not None:
        from chanc.api import gather

        evidence = gather(
            loaded, data, task=task, data_root=data_root, normalise=normalise, scale_pixels=scale_pixels, seed=seed,
            dims=dims, shapes=shapes, say=say,
        )  # fmt: skip
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
        exact=exact,
        evidence=evidence,
    )
    given = sizes_of(loaded, dims, shapes)
    if not result.changed:
        raise PlanError(f"nothing changes: {_why_nothing(loaded, result, given)}")
    note = _verified(loaded, result, transfer, inputs, given) if verify else ""
    save(result.model, output)
    if trace_file is not None:
        atomic_write_json(trace_file, result.trace.to_json())
    _say(result, output, note)


def _why_nothing(model: Any, result: Rewrite, given: Sizes) -> str:
    from chanc.analysis import analyze

    if result.trace.left:
        return f"all groups were left alone, {_most(result.trace.left)}"
    found = analyze(model, dims=given)
    groups, reasons = found.groups, {pin.tensor: pin.reason for pin in found.pinned}
    if not groups:
        return f"the model has no channel groups{f': {next(iter(reasons.values()))}' if reasons else ''}"
    if not any(group.resizable for group in groups):
        return f"all {len(groups)} channel groups are pinned, {_most({group.id: group.reason for group in groups})}"
    return "every group has the width that is asked for already"


def _most(reasons: Mapping[str, str]) -> str:
    """The reason that most groups have, and how many."""
    reason, count = Counter(reasons.values()).most_common(1)[0]
    return f"{count} of them because {reason}"


def _verified(original: Any, result: Rewrite, transfer: str, inputs: str | None, given: Sizes) -> str:
    """Check the rewritten model on the inputs, or at the sizes given and two others; what was found, in a line.

    VerifyError where it is wrong.
    """
    from chanc.backends.ort import read_feeds
    from chanc.ir import check
    from chanc.ir.sizes import others

    check(result.model)
    feeds = read_feeds(inputs, original) if inputs is not None else None
    verdict = _judged(original, result, transfer, feeds, given)
    note = f"{'verified' if verdict.agrees else 'not verified'}: {verdict}"
    if not given or feeds is not None:
        return note
    ran = [sizes for sizes in others(given) if _agrees_at(original, result, transfer, sizes)]
    told = [" ".join(f"{name}={size}" for name, size in sizes.items()) for sizes in ran]
    return f"{note}; also at {' and '.join(told)}" if ran else f"{note}; nothing could be told at other sizes"


def _agrees_at(original: Any, result: Rewrite, transfer: str, sizes: Sizes) -> bool:
    """Whether it was seen to agree at other sizes, at which a table may be too short, or a Reshape tied to one."""
    try:
        return bool(_judged(original, result, transfer, None, sizes).agrees)
    except ModelError:
        return False


def _judged(original: Any, result: Rewrite, transfer: str, feeds: Any, sizes: Sizes) -> Verdict:
    """The verdict at these sizes of open axes, which isn't that the model is wrong: that is a VerifyError."""
    from chanc.oracles import judge

    try:
        verdict = judge(original, result.model, trace=result.trace, transfer=transfer, feeds=feeds, sizes=sizes)
    except (MissingDependencyError, ModelError) as error:
        raise type(error)(f"{error}; or rewrite without that check: --no-verify") from None
    if verdict.wrong is not None:
        at = f" at {' '.join(f'{name}={size}' for name, size in sizes.items())}" if sizes else ""
        raise VerifyError(f"the rewritten model is wrong{at}: {verdict.wrong}")
    return verdict


def _say(result: Rewrite, output: str, note: str) -> None:
    trace = result.trace
    changed = [(old, new) for old, new in trace.groups.values() if old != new]
    old, new = sum(a for a, _ in changed), sum(b for _, b in changed)
    exact = "" if trace.exact else f"; {len(trace.inexact)} of them not exactly: {_causes(trace.inexact)}"
    say(f"wrote {output}: {len(changed)} of {len(trace.groups)} groups changed, {old} -> {new} channels{exact}")
    if trace.edges:
        say(_ways(trace.edges.values()))
    for line in trace.notes:
        say(f"note: {line}")
    for name, reason in list(trace.left.items())[:MOST_LEFT]:
        say(f"left alone: {name}: {reason}")
    if len(trace.left) > MOST_LEFT:
        say(f"left alone: {len(trace.left) - MOST_LEFT} more groups; --trace has them all")
    if note:
        say(note)


def _ways(edges: Collection[TraceEdge]) -> str:
    """How many consumers keep a part, and how they come to it."""
    ways = ", ".join(f"{count} {way}" for way, count in Counter(edge.how for edge in edges).most_common())
    odd = any(edge.kept.size % 8 for edge in edges if edge.how not in ("dense", "gone"))
    hint = "; onnxruntime is faster at multiples of 8: --round-to 8" if odd else ""
    return f"{len(edges)} consumers keep a part of what they take: {ways}{hint}"


def _causes(reasons: Mapping[str, str]) -> str:
    """The causes, each once, the commonest first."""
    return ", ".join(cause for cause, _ in Counter(reasons.values()).most_common(3))
