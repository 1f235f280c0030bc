"""`chanc codegen`: a model as readable, trainable PyTorch source."""

from __future__ import annotations

from pathlib import Path

import click

from chanc.errors import ModelError


@click.command("codegen")
@click.argument("model", metavar="MODEL")
@click.option(
    "-o", "--output", metavar="DIR", required=True, help="Folder for model.py, model.safetensors and check.py."
)
@click.option("--name", metavar="NAME", help="Name of the network's class. [the file's name]")
def command(model: str, output: str, name: str | None) -> None:
    """Write MODEL as readable, trainable PyTorch source that does not need chanc.

    DIR gets model.py (the network is its last class), model.safetensors (its weights) and check.py, which compares it
    with onnxruntime on random inputs.
    """
    from chanc.analysis.infer_shapes import infer_shapes
    from chanc.backends.torch.names import identifier
    from chanc.backends.torch.package import write_package
    from chanc.ir import check, load
    from chanc.ir.normalize import normalize
    from chanc.transforms import channels_first

    if name is not None and identifier(name) != name:
        raise click.BadParameter(f"{name!r} can't be the name of a class", param_hint="--name")
    if Path(output).exists() and not Path(output).is_dir():
        raise ModelError(f"{output} is a file; -o wants a folder")
    loaded = load(model)
    check(loaded)
    normalize(loaded)
    infer_shapes(loaded)
    # The numbers of weights keep their order, so that they can go back into MODEL.
    channels_first(loaded, reorder=False)
    source = write_package(loaded, output, name or class_name(model), model)
    lines = source.text.count("\n")
    click.echo(f"{Path(output) / 'model.py'}: class {source.name}, {lines} lines, {len(source.bindings)} tensors")


def class_name(path: str) -> str:
    """`models/resnet34-cifar.onnx` -> `Resnet34Cifar`."""
    from chanc.backends.torch.names import identifier

    words = "".join(
        char if char.isascii() and char.isalnum() else " " for char in Path(path).name.split(".")[0]
    ).split()
    return identifier("".join(word[:1].upper() + word[1:] for word in words), "Network")
