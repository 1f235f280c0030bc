"""`chanc codegen`: a model as readable, trainable PyTorch source."""

from __future__ import annotations

from pathlib import Path

import click

from chanc.cli.outputs import say
from chanc.cli.sizes import size_options


@click.command("codegen")
@click.argument("model", metavar="MODEL")
@click.option(
    "-o", "--output", metavar="DIR", required=True, help="Folder for model.py, model.safetensors and check.py."
)
@click.option("--name", metavar="NAME", help="Name of the network's class. [the file's name]")
@size_options
def command(
    model: str, output: str, name: str | None, dims: dict[str, int], shapes: dict[str, list[int]]
) -> None:
    """Write MODEL as readable, trainable PyTorch source that does not need chanc.

    DIR gets model.py (the network is its last class), model.safetensors (its weights) and check.py, which compares it
    with onnxruntime on random inputs. An end of the graph that PyTorch can't express stays in ONNX.
    """
    from chanc.api import codegen
    from chanc.backends.torch.names import identifier

    if name is not None and identifier(name) != name:
        raise click.BadParameter(f"{name!r} can't be the name of a class", param_hint="--name")
    source = codegen(model, output, name=name, dims=dims, shapes=shapes)
    if source.tail is not None:
        say(f"note: {source.tail}")
    lines = source.text.count("\n")
    say(f"{Path(output) / 'model.py'}: class {source.name}, {lines} lines, {len(source.bindings)} tensors")
