"""`chanc rewrite`: widths made smaller or larger, the trained weights carried over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from chanc.cli.budgets import BUDGETS, budget_options
from chanc.cli.costs import costs, show
from chanc.cli.options import GroupedCommand, Headings, Named, TaskName, inputs_option
from chanc.cli.outputs import force_option, refuse_early, say
from chanc.cli.sizes import size_options
from chanc.errors import MissingDependencyError, ModelError, PlanError, VerifyError

if TYPE_CHECKING:
    from chanc.ir.sizes import Sizes
    from chanc.oracles import Verdict
    from chanc.rewriter import Rewrite
    from chanc.rewriter.budget import Clock
    from chanc.rewriter.trace import TraceEdge

MOST_LEFT = 10
"""Groups that were left alone are named one in a line, no more than these."""

LONG_CHECK = 1.0
"""Seconds of a check from which on a line says what they went to."""


class RewriteCommand(GroupedCommand):
    """`chanc rewrite`: its options by what they are about."""

    headings: Headings = (
        ("Widths", ("output", "scale", "plan_file", *BUDGETS)),
        ("Groups", ("keep", "ratios", "heads", "round_to", "min_width", "exact")),
        ("Which channels stay", ("importance", "data", "data_root", "task", "normalise", "scale_pixels", "seed")),
        ("Weights", ("transfer",)),
        ("Open axes", ("dims", "shapes")),
        ("Checks", ("verify", "inputs", "trace_file", "force")),
    )


@click.command(cls=RewriteCommand, name="rewrite")
@click.argument("model")
@click.option("-o", "--output", required=True, metavar="OUT", help="Where to write the rewritten model.")
@click.option("--scale", type=float, metavar="S", help="Scale every group that may change, e.g. 0.5 or 1.5.")
@click.option(
    "--plan",
    "plan_file",
    metavar="PLAN.json",
    help='Widths by group id or pattern: {"layer1.*": 48 | {"scale": 0.5} | {"keep": [0, 3]}}, the last that names a '
    'group counts; with what single consumers read: {"format": 2, "groups": {...}, "edges": '
    '{"<node\'s first output>:<input>": [units]}}.',
)
@budget_options
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
@click.option("--task", type=TaskName(), default="classification", show_default=True,
              help="Whose loss on --data counts.")  # fmt: skip
@click.option("--normalise", metavar="HOW", help="Of the pixels of --data: dataset, none, MEAN/STD; bgr:HOW.")
@click.option("--scale-pixels", metavar="FACTOR", help="Of the pixels of --data before that, as 1/255.")
@click.option(
    "--transfer",
    type=Named("chanc.rewriter:TRANSFERS"),
    default="grow",
    show_default=True,
    help="What their weights become; grow and widen keep the function.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of random selection and initialisation.")
@click.option("--exact", is_flag=True, help="Change only groups that keep the function of the rest.")
@click.option("--reconstruct", "samples", metavar="FEEDS.npz",
              help="Then refit the layers to MODEL on samples of its inputs: [samples, ...] by input.")  # fmt: skip
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
    max_params: int | str | None,
    max_macs: int | str | None,
    max_latency: float | str | None,
    importance: str,
    data: str | None,
    data_root: str | None,
    task: str,
    normalise: str | None,
    scale_pixels: str | None,
    transfer: str,
    round_to: int | None,
    min_width: int,
    keep: tuple[str, ...],
    ratios: dict[str, float],
    heads: bool,
    seed: int,
    exact: bool,
    samples: str | None,
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
    chanc rewrite model.onnx -o small.onnx --max-macs 50%                  half the MACs, where they are worth least
    chanc rewrite model.onnx -o small.onnx --max-params 1.5M --keep 'stem.*' --ratio 'layer4.*=0.5'
    chanc rewrite model.onnx -o fast.onnx --max-latency 5                  milliseconds in onnxruntime, on this machine
    chanc rewrite model.onnx -o small.onnx --plan plan.json --trace t.json
    chanc rewrite model.onnx -o half.onnx --scale 0.5 --dim T=24           analysed at 24, written with T open
    chanc rewrite model.onnx -o half.onnx --scale 0.5 --importance taylor --data cifar10
    chanc rewrite model.onnx -o half.onnx --scale 0.5 --reconstruct images.npz   recover without training

    Give a scale, a plan, budgets, or ratios alone. Within budgets those channels go whose importance is least for what
    they cost; without --data the weights judge, which know how large a channel is and not what it is good for. No group
    goes under a tenth of its channels, nor under --min-width. A budget that can't be met so is refused in one line that
    says what can be had. Patterns are shell-style, over group ids, names of weights and of nodes (`chanc analyze
    --deps` lists them).
    """
    from chanc.ir import atomic_write_json, check, load, save
    from chanc.ir.sizes import sizes_of
    from chanc.rewriter import rewrite
    from chanc.rewriter.plan import load_plan
    from chanc.rewriter.provenance import begin_digest, sign_source

    asked = [scale is not None, plan_file is not None, (max_params, max_macs, max_latency) != (None, None, None)]
    if sum(asked) > 1 or not any((*asked, ratios)):
        raise click.UsageError("give a --scale, a --plan, budgets (--max-macs 50%), or a --ratio")
    refuse_early(output, model, force=force)
    refuse_early(trace_file, model, plan_file, beside=output, force=None)
    digest = begin_digest(model)
    loaded = load(model)
    check(loaded)
    batches = _batches(loaded, samples) if samples is not None else None
    plan = load_plan(plan_file) if plan_file is not None else None
    if (max_macs is not None or max_latency is not None) and not dims and not shapes:
        dims = _likely(loaded)
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
        max_params=max_params,
        max_macs=max_macs,
        max_latency=max_latency,
        keep=keep,
        ratios=ratios,
        heads=heads,
        importance=importance,
        transfer=transfer,
        round_to=round_to,
        min_width=min_width,
        seed=seed,
        dims=dims,
        shapes=shapes,
        exact=exact,
        evidence=evidence,
        clock=_clock() if max_latency is not None else None,
    )
    given = sizes_of(loaded, dims, shapes)
    if not result.changed:
        raise PlanError(f"nothing changes: {_why_nothing(loaded, result, given)}")
    note = _verified(loaded, result, transfer, inputs, given) if verify else ""
    if batches is not None:
        result, told = _reconstructed(loaded, result, batches, seed)
        note = f"{note}\n{told}" if note else told
    sign_source(result.model, digest)
    save(result.model, output)
    if trace_file is not None:
        atomic_write_json(trace_file, result.trace.to_json())
    _say(result, output, note)
    if round_to is None and (scale is not None or ratios):
        _say_uneven(result)
    show(costs((loaded, model), (result.model, output), given, timed=max_latency is not None))


def _clock() -> Clock:
    """onnxruntime, on this machine."""
    from chanc.backends.ort import seconds

    return seconds


def _likely(model: Any) -> dict[str, int]:
    """Sizes for open axes, on which MACs and latency hang; a line says which."""
    from chanc.backends.ort import likely_sizes

    found = likely_sizes(model)
    if found is None:
        say("note: open axes count as 1; --dim or --shape says what they are")
    elif found:
        named = " ".join(f"--dim {name}={size}" for name, size in found.items())
        say(f"note: open axes are counted at {named}; yours say otherwise")
    return dict(found or {})


def _batches(model: Any, samples: str) -> list[dict[str, Any]]:
    """The samples of a file, batch by batch."""
    from chanc.backends.ort import calibration_batches, read_feeds

    return calibration_batches(model, read_feeds(samples, model))


def _reconstructed(original: Any, result: Rewrite, batches: list[dict[str, Any]], seed: int) -> tuple[Rewrite, str]:
    """The rewrite with its layers refitted on samples; what that did, in a line."""
    from chanc.api import reconstruct

    done = reconstruct(original, result, batches, seed=seed)
    return replace(result, model=done.model), str(done)


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
    return "every group has the width that is asked for already, or the model is within its budget"


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
    from chanc.oracles.spent import told

    check(result.model)
    feeds = read_feeds(inputs, original) if inputs is not None else None
    verdict = _judged(original, result, transfer, feeds, given)
    note = f"{'verified' if verdict.agrees else 'not verified'}: {verdict}"
    took = f"\nthat took {told(verdict.seconds)}" if sum(verdict.seconds.values()) >= LONG_CHECK else ""
    if not given or feeds is not None:
        return note + took
    ran = [sizes for sizes in others(given) if _agrees_at(original, result, transfer, sizes)]
    named = [" ".join(f"{name}={size}" for name, size in sizes.items()) for sizes in ran]
    elsewhere = f"also at {' and '.join(named)}" if ran else "nothing could be told at other sizes"
    return f"{note}; {elsewhere}{took}"


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
    for line in note.splitlines():
        say(line)


def _say_uneven(result: Rewrite) -> None:
    """One line where a scale made widths that kernels are slow with."""
    from chanc.rewriter.plan import DEVICE_GRAIN

    new = [width for old, width in result.trace.groups.values() if width != old]
    uneven = sum(width % DEVICE_GRAIN > 0 for width in new)
    if uneven:
        say(f"note: {uneven} of {len(new)} new widths are no multiples of {DEVICE_GRAIN}, with which most machines are "
            f"slower: --round-to {DEVICE_GRAIN} makes them so")  # fmt: skip


def _ways(edges: Collection[TraceEdge]) -> str:
    """How many consumers keep a part, and how they come to it."""
    ways = ", ".join(f"{count} {way}" for way, count in Counter(edge.how for edge in edges).most_common())
    odd = any(edge.kept.size % 8 for edge in edges if edge.how not in ("dense", "gone"))
    hint = "; onnxruntime is faster at multiples of 8: --round-to 8" if odd else ""
    return f"{len(edges)} consumers keep a part of what they take: {ways}{hint}"


def _causes(reasons: Mapping[str, str]) -> str:
    """The causes, each once, the commonest first."""
    return ", ".join(cause for cause, _ in Counter(reasons.values()).most_common(3))
