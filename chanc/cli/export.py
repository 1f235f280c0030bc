"""`chanc export`: an ONNX model from the zoo or from another framework."""

from __future__ import annotations

from typing import Any

import click

from chanc.cli.options import Named
from chanc.cli.outputs import refuse_early, say
from chanc.frontends.foreign import Foreign
from chanc.frontends.spec import Frontend

Axis = int | tuple[str, int]


def _shapes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[Axis, ...], ...]:
    """Read shapes given as 1,3,32,32 or 1,3,H=32,W=32."""
    shapes = []
    for value in values:
        axes: list[Axis] = []
        for part in value.split(","):
            name, named, size = part.strip().rpartition("=")
            if not size.isdecimal() or not int(size) or (named and not name.isidentifier()):
                wanted = "give positive integers as in 1,3,32,32, or as in 1,3,H=32,W=32 for axes that stay open"
                raise click.BadParameter(f"{value!r} is not a shape; {wanted}", ctx, param)
            axes.append((name, int(size)) if named else int(size))
        shapes.append(tuple(axes))
    return tuple(shapes)


@click.command("export")
@click.argument("spec", required=False)
@click.option("-o", "--output", metavar="FILE", help="Where to write the ONNX model.")
@click.option("--list", "listing", is_flag=True, help="Print the zoo: every network and its published parameters.")
@click.option("--width", type=click.IntRange(min=1), metavar="N", help="Set every independent width to N channels.")
@click.option("--scale", type=click.FloatRange(0, min_open=True), metavar="S",
              help="Zoo: every published width times S, even, and 256 at most (CONet's compound scaling).")  # fmt: skip
@click.option("--classes", type=click.IntRange(min=1), metavar="N", help="Classes of the output. [zoo: 10]")
@click.option("--channels", type=click.IntRange(min=1), metavar="N", help="Channels of the images. [zoo: 3]")
@click.option("--size", type=click.IntRange(min=1), metavar="N", help="Height and width of the images. [zoo: 32]")
@click.option("--aux", is_flag=True, help="With the auxiliary head (DARTS), as a second output.")
@click.option("--input", "shapes", multiple=True, metavar="SHAPE", callback=_shapes,
              help="Shape of a factory's input, batch first; H=32 is an axis H that stays open.")  # fmt: skip
@click.option("--weights", metavar="FILE", help="Trained weights, a state_dict: .safetensors or .pt.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the initial weights.")
@click.option(
    "--exporter",
    type=Named("chanc.frontends.exporters:EXPORTERS", "auto"),
    default="auto",
    show_default=True,
    help="Which of torch's exporters; auto: TorchScript, and dynamo where that fails.",
)
@click.option("--opset", type=int, help="ONNX opset. [17 for TorchScript, 18 for dynamo, else the framework's]")
@click.option("--python", metavar="FILE", help="Other frameworks: the interpreter that has them. [the one of chanc]")
def command(
    spec: str | None,
    output: str | None,
    listing: bool,
    width: int | None,
    scale: float | None,
    classes: int | None,
    channels: int | None,
    size: int | None,
    aux: bool,
    shapes: tuple[tuple[Axis, ...], ...],
    weights: str | None,
    seed: int,
    exporter: str,
    opset: int | None,
    python: str | None,
) -> None:
    """Make an ONNX model of SPEC: zoo:NAME, torch:PACKAGE.MODULE:FACTORY, or another framework's.

    BatchNorm is kept (of PyTorch the names of the state_dict, too), the batch is dynamic, and the file is checked by a
    run in onnxruntime. A factory is called with --classes, --channels, --width, --scale and --aux where they are given.

    \b
    chanc export zoo:resnet34 --width 16 --classes 10 --size 32 -o r34.onnx
    chanc export zoo:darts7 --scale 2.83 --classes 100 -o darts7.onnx
    chanc export torch:mynet.models:small --input 1,3,32,32 -o small.onnx
    """
    if listing:
        _print_zoo()
        return
    if spec is None or output is None:
        raise click.UsageError("give SPEC and -o FILE, or --list")
    from chanc.api import export as write
    from chanc.frontends.exported import TOLERANCE
    from chanc.frontends.spec import frontend_of

    road = frontend_of(spec)[0]
    _check_usage(spec, road, shapes, size, {"--weights": weights, "--exporter": exporter != "auto", "--python": python})
    refuse_early(output, weights, force=None)
    images = not isinstance(road, Foreign) and road.images
    options = {"width": width, "scale": scale, "classes": classes, "channels": channels, "aux": aux or None}
    done = write(
        spec,
        output,
        shapes=((1, channels or 3, size or 32, size or 32),) if images else shapes,
        weights=weights,
        seed=seed,
        exporter=exporter,
        opset=opset,
        python=python,
        **{name: value for name, value in options.items() if value is not None},
    )
    if done.note:
        say(f"chanc: {' '.join(done.note.split())}", err=True)
    say(
        f"wrote {output}: {spec}, {done.params} params, {_signature(done.inputs)} -> {_signature(done.outputs)}, "
        f"opset {done.opset} ({done.exporter})"
    )
    if isinstance(road, Foreign):
        kind = spec.partition(":")[0]
        say(f"checked: onnxruntime is within {done.difference:.1e} of {kind}'s largest output ({TOLERANCE:g} may be)")


def _check_usage(
    spec: str, road: Frontend | Foreign, shapes: tuple[tuple[Axis, ...], ...], size: int | None, given: dict[str, Any]
) -> None:
    """Refuse options that mean nothing for a frontend."""
    kind, foreign = spec.partition(":")[0], isinstance(road, Foreign)
    images = not isinstance(road, Foreign) and road.images
    for option in ("--weights", "--exporter") if foreign else ("--python",):
        if given[option]:
            raise click.UsageError(f"{option} is {'only' if foreign else 'not'} for PyTorch")
    if foreign and any(isinstance(axis, tuple) for shape in shapes for axis in shape):
        raise click.UsageError("open axes, as H=32, are for PyTorch")
    if images and shapes:
        raise click.UsageError(f"--input is for other frontends; a {kind} network takes --size and --channels")
    if not images and (size is not None or (not foreign and not shapes)):
        raise click.UsageError(f"{kind}: takes --input, the shape of its input, as in --input 1,3,32,32")


def _signature(values: dict[str, tuple[int | str, ...]]) -> str:
    return ", ".join(f"{name} [{', '.join(map(str, shape))}]" for name, shape in values.items())


def _print_zoo() -> None:
    from rich.console import Console
    from rich.table import Table

    from chanc.frontends import zoo

    table = Table("network", "params", "widths", box=None)
    table.columns[1].justify = table.columns[2].justify = "right"
    for name in zoo.names():
        table.add_row(name, f"{zoo.params(name):,}", str(len(zoo.table(name))))
    Console().print(table)
