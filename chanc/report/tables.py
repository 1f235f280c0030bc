"""Tables for the terminal: a model's channel groups, its layers, its summary, and what a rewrite saved."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from chanc.ir.nodes import called
from chanc.terminal import printable

if TYPE_CHECKING:
    from chanc.analysis import Analysis, Group, Operand
    from chanc.analysis.layers import Layer
    from chanc.backends.ort import Latency

REASONS = 5
SHOWN_MEMBERS = 8


def deps_table(analysis: Analysis) -> Table:
    """Return the table of `analyze --deps`: one row a channel group, with its convolutions' axes and what follows them.

    A member reads `name in` or `name out`: the in or the out axis of that convolution; # is their number. The step of a
    group that loses whole attention heads says so. Why a group can't change stands below the table, by number. Model
    text goes in as plain text, never as markup.
    """
    table = Table(
        pad_edge=False, padding=(0, 1, 0, 0), box=None, header_style="bold", caption_justify="left", caption_style=""
    )
    table.add_column("group", overflow="fold", max_width=60)
    for name in ("width", "step", "#"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("members", "others"):
        table.add_column(name, overflow="fold")
    table.add_column("change", no_wrap=True)
    reasons = list(dict.fromkeys(group.reason for group in analysis.groups if not group.resizable))
    for group in analysis.groups:
        table.add_row(
            Text(printable(group.id)),
            str(group.size),
            f"{group.step}{' (head)' if group.heads else ''}",
            str(len(group.members)),
            Text(_members(group)),
            _others(group),
            _change(group, reasons),
        )
    table.caption = _footnotes(analysis, reasons)
    return table


def layers_table(layers: Sequence[Layer]) -> Table:
    """Return the table of `analyze --layers`: one row a node that costs anything, with its share of params and MACs."""
    table = Table(pad_edge=False, padding=(0, 1, 0, 0), box=None, header_style="bold")
    for name in ("op", "name", "output"):
        table.add_column(name, overflow="fold")
    for name in ("params", "%", "MACs", "%"):
        table.add_column(name, justify="right", no_wrap=True)
    params, macs = (max(sum(getattr(layer, name) for layer in layers), 1) for name in ("params", "macs"))
    for layer in layers:
        shape = " ".join(str(size) for size in layer.shape) if layer.shape is not None else "?"
        counted = (f"{layer.macs:,}", f"{100 * layer.macs / macs:.1f}") if layer.counted else ("?", "")
        cells = (layer.op, layer.name, shape, f"{layer.params:,}", f"{100 * layer.params / params:.1f}", *counted)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


@dataclass(frozen=True)
class Figures:
    """What a model costs: params, MACs of one sample, bytes of its file, and its latency where that was measured."""

    params: int
    macs: int
    size: int
    latency: Latency | None = None


def costs_table(before: Figures, after: Figures) -> Table:
    """Return the table at the end of a rewrite: each cost before and after, and what is left of it."""
    table = Table(pad_edge=False, padding=(0, 2, 0, 0), box=None, header_style="bold")
    for name in ("", "before", "after", "left"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name, old, new in (("params", before.params, after.params), ("MACs", before.macs, after.macs)):
        table.add_row(name, f"{old:,}", f"{new:,}", f"{100 * new / max(old, 1):.1f} %")
    sizes = [f"{one.size / 1e6:,.3f} MB" for one in (before, after)]
    table.add_row("file", *sizes, f"{100 * after.size / max(before.size, 1):.1f} %")
    if before.latency is not None and after.latency is not None:
        share = f"{100 * after.latency.median_s / before.latency.median_s:.1f} %"
        table.add_row("latency", _spread(before.latency), _spread(after.latency), share)
    return table


def _spread(latency: Latency) -> str:
    """The median in milliseconds, and where eight runs of ten lie."""
    low, high = 1e3 * latency.p10_s, 1e3 * latency.p90_s
    return f"{1e3 * latency.median_s:.3f} ms ({low:.3f} to {high:.3f})"


def summary(analysis: Analysis) -> list[str]:
    """Return the lines that sum an analysis up: params, MACs, groups, what may change, and what pins the most."""
    free = sum(group.resizable for group in analysis.groups)
    held, pinned = _params(analysis)
    total = max(held + pinned.total(), 1)
    lines = [
        f"{analysis.params:,} params",
        f"{analysis.macs:,} MACs of convolutions and linear layers, {analysis.macs_all:,} with BatchNorm, activations "
        f"and pooling{_sample(analysis)}",
        *_uncounted(analysis),
        f"{len(analysis.groups)} channel groups, {free} of them may change",
        f"{100 * held / total:.1f} % of the params lie in groups that may change",
    ]
    worst = [(reason, count) for reason, count in pinned.most_common(REASONS) if reason]
    if worst:
        lines.append("what pins the most, by params:")
        lines += [f"  {count:>12,}  {printable(reason)}" for reason, count in worst]
    return lines


def _uncounted(analysis: Analysis) -> list[str]:
    """Say what the MACs leave out: operators without a formula, and nodes whose sizes are not known."""
    names = analysis.cost.uncounted
    if not names:
        return []
    return [f"not counted: {len(names)} nodes of unknown work or unknown sizes, the first is '{printable(names[0])}'"]


def _sample(analysis: Analysis) -> str:
    """Say which axes of the input were counted as 1, where more than the batch is dynamic."""
    open_axes = [
        f"{printable(value.name or '')}[{axis}]"
        for value in analysis.model.graph.inputs
        for axis, size in enumerate(value.shape or ())
        if axis and not (isinstance(size, int) and size > 0) and value.const_value is None
    ]
    return f" (dynamic axes counted as 1: {', '.join(open_axes)})" if open_axes else ""


def _change(group: Group, reasons: Sequence[str]) -> Text:
    if not group.resizable:
        return Text(f"no ({reasons.index(group.reason) + 1})", style="yellow")
    return Text("yes" if group.exact else "yes*", style="green")


def _footnotes(analysis: Analysis, reasons: Sequence[str]) -> Text | None:
    lines = [f"({number}) {printable(reason) or 'pinned'}" for number, reason in enumerate(reasons, 1)]
    if any(group.resizable and not group.exact for group in analysis.groups):
        lines.append("* not exact: a norm across the channels sees the change")
    return Text("\n".join(lines)) if lines else None


def _members(group: Group) -> str:
    axes: dict[str, list[str]] = {}
    for operand in group.members:
        axes.setdefault(_layer(operand), []).append("out" if operand.role == "producer" else "in")
    entries = [f"{name} {'+'.join(dict.fromkeys(roles))}" for name, roles in axes.items()]
    more = [f"… {len(entries) - SHOWN_MEMBERS} more"] if len(entries) > SHOWN_MEMBERS else []
    return "\n".join(entries[:SHOWN_MEMBERS] + more)


def _others(group: Group) -> str:
    members = {id(operand) for operand in group.members}
    # one node counts once, though its scale, bias, mean and variance are four operands
    nodes = {(operand.node, operand.op) for operand in group.operands if id(operand) not in members}
    nodes -= {(operand.node, operand.op) for operand in group.members}
    counts = Counter(op for _, op in nodes)
    return "\n".join(f"{count} {printable(op).replace('Normalization', 'Norm')}" for op, count in counts.most_common())


def _layer(operand: Operand) -> str:
    return printable((operand.initializer or operand.node).removesuffix(".weight"))


def _params(analysis: Analysis) -> tuple[int, Counter[str]]:
    """Return the params of initializers that a group may resize, and those of the others by the reason."""
    free: set[str] = set()
    reasons: dict[str, str] = {}
    for group in analysis.groups:
        for operand in group.operands:
            if group.resizable:
                free.add(operand.initializer)
            else:
                reasons.setdefault(operand.initializer, group.reason)
    by_node = {pin.node: pin.reason for pin in reversed(analysis.pinned) if pin.node}
    by_tensor = {pin.tensor: pin.reason for pin in reversed(analysis.pinned)}
    held, pinned = 0, Counter[str]()
    for name, size, node in _initializers(analysis):
        if name in free:
            held += size
        else:
            pinned[reasons.get(name) or by_tensor.get(name) or by_node.get(node) or "in no channel group"] += size
    return held, pinned


def _initializers(analysis: Analysis) -> list[tuple[str, int, str]]:
    """Return name, elements and first reader (its first output's name) of each floating-point initializer."""
    rows = []
    for name, value in analysis.model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or not tensor.dtype.is_floating_point():
            continue
        reader = next(iter(value.uses()), None)
        node = called(reader.node) if reader is not None else None
        rows.append((name, math.prod(tensor.shape.numpy()), node or ""))
    return rows
