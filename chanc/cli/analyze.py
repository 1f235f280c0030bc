"""`chanc analyze`: channel groups, what is pinned and why, cost."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chanc.cli.options import Named
from chanc.cli.outputs import refuse_early
from chanc.cli.sensitivity import measured, sensitivity_options, show
from chanc.cli.sensitivity import to_json as sensitivity_json
from chanc.cli.sizes import size_options
from chanc.terminal import printable

if TYPE_CHECKING:
    from chanc.analysis import Analysis, Group


PICTURES = (".svg", ".pdf", ".png")


@click.command("analyze")
@click.argument("model")
@click.option("--deps", is_flag=True, help="Print every channel group: its members, step, and whether it may change.")
@click.option("--layers", is_flag=True, help="Print every layer: operator, name, output shape, params, MACs, shares.")
@click.option("--metrics", is_flag=True, help="Print rank, condition and QC of every convolution's weight.")
@click.option("--metric", "more", multiple=True, type=Named("chanc.metrics.registry:METRICS"),
              help="Print what this metric finds; may be given several times.")  # fmt: skip
@click.option("--json", "json_file", metavar="FILE", help="Write the groups as JSON; - is standard output.")
@click.option("--html", "html_file", metavar="FILE", help="Write the channel visualizer, a page that needs no network.")
@click.option("--draw", "drawing", metavar="FILE.svg", help="Draw the same as a picture, .svg, .pdf or .png.")
@click.option("--circles", is_flag=True, help="In --html and --draw: layers as circles, as large as they are wide.")
@click.option("--before", metavar="MODEL", help="In --html and --draw: the model that it came from, its widths dashed.")
@sensitivity_options
@size_options
def command(
    model: str,
    deps: bool,
    layers: bool,
    metrics: bool,
    more: tuple[str, ...],
    json_file: str | None,
    html_file: str | None,
    drawing: str | None,
    circles: bool,
    before: str | None,
    dims: dict[str, int],
    shapes: dict[str, list[int]],
    **sensitivity: Any,
) -> None:
    """Find the channel groups of MODEL: which widths must change together.

    \b
    chanc analyze model.onnx                  params, MACs, groups, what pins the most
    chanc analyze model.onnx --deps           every group with its members
    chanc analyze model.onnx --layers         every layer with its cost: where params and MACs are
    chanc analyze model.onnx --html net.html  the network as a graph, a colour a group
    chanc analyze half.onnx --draw net.svg --circles --before model.onnx
    chanc analyze model.onnx --json - | jq .groups
    chanc analyze model.onnx --dim T=24       at 24 positions, where the axis called T is open
    chanc analyze model.onnx --sensitivity --data cifar10 --picture losses.svg --plan plan.json
    """
    from chanc.analysis import analyze
    from chanc.ir import atomic_write_text, check, load

    written = json_file if json_file != "-" else None
    refuse_early(written, model, force=None)
    refuse_early(html_file, model, before, beside=written, force=None)
    refuse_early(drawing, model, before, beside=written, force=None)
    _refuse_looks(html_file, drawing, circles, before)
    loaded = load(model)
    check(loaded)
    analysis = analyze(loaded, dims=dims, shapes=shapes)
    found = measured(model, sensitivity, dims=dims, shapes=shapes)
    if json_file is not None:
        measurement = {} if found is None else {"sensitivity": sensitivity_json(found)}
        text = json.dumps({**to_json(analysis, model, layers=layers), **measurement})
        if json_file == "-":
            click.echo(text)
            return
        atomic_write_text(json_file, text)
    earlier = analyze(before, dims=dims, shapes=shapes) if before is not None else None
    if html_file is not None:
        from chanc.report.visualizer import write_html

        write_html(analysis, html_file, title=model, circles=circles, before=earlier)
    if drawing is not None:
        from chanc.report.static import draw_network
        from chanc.report.visualizer import model_graph

        draw_network(model_graph(analysis, circles=circles, before=earlier), Path(drawing))
    _print(analysis, deps, layers, list(dict.fromkeys((*(["quality"] if metrics else []), *more))))
    if found is not None:
        show(found)


def _refuse_looks(html_file: str | None, drawing: str | None, circles: bool, before: str | None) -> None:
    """Wrong usage for a picture of another kind, and for looks without a picture."""
    if html_file is None and drawing is None and (circles or before is not None):
        raise click.UsageError(f"{'--circles' if circles else '--before'} is for --html and --draw")
    if drawing is not None:
        if Path(drawing).suffix.lower() not in PICTURES:
            raise click.UsageError(f"--draw {drawing}: a picture is .svg, .pdf or .png")
        import chanc.report.static  # noqa: F401  (says what is missing, before anything is done)


def _print(analysis: Analysis, deps: bool, layers: bool, metrics: Sequence[str]) -> None:
    from rich.console import Console

    from chanc.analysis.layers import layers as layers_of
    from chanc.report.tables import deps_table, layers_table, summary

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    if deps:
        console.print(deps_table(analysis))
        console.print()
    if layers:
        console.print(layers_table(layers_of(analysis)))
        console.print()
    if metrics:
        from chanc.report.metrics import metrics_table

        console.print(metrics_table(analysis, metrics))
        console.print()
    for line in summary(analysis):
        console.print(printable(line), markup=False, soft_wrap=True)


def to_json(analysis: Analysis, path: str, *, layers: bool = False) -> dict[str, Any]:
    """The content of `--json` (format 1), with the layers where they are asked for."""
    from chanc.analysis.layers import layers as layers_of

    model = analysis.model
    asked = {"layers": [dataclasses.asdict(layer) for layer in layers_of(analysis)]} if layers else {}
    return {
        "format": 1,
        "model": {
            "path": path,
            "opset": model.graph.opset_imports.get("", 0),
            "nodes": model.graph.num_nodes(),
            "params": analysis.params,
            "macs": analysis.macs,
            "macs_all": analysis.macs_all,
            "uncounted": list(analysis.cost.uncounted),
        },
        "groups": [_group(group) for group in analysis.groups],
        "pinned": [
            {"tensor": pin.tensor, "node": pin.node, "op": pin.op, "reason": pin.reason} for pin in analysis.pinned
        ],
        **asked,
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "id": group.id,
        "size": group.size,
        "step": group.step,
        "resizable": group.resizable,
        "reason": group.reason,
        "exact": group.exact,
        "heads": group.heads,
        "operands": [
            {
                "node": operand.node,
                "op": operand.op,
                "input": operand.input,
                "initializer": operand.initializer,
                "axis": operand.axis,
                "role": operand.role,
                "indices": operand.indices.tolist(),
            }
            for operand in group.operands
        ],
    }
