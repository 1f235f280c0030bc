"""A folder of plain PyTorch: model.py, model.safetensors and check.py, none of which needs chanc."""

from __future__ import annotations

import os
from pathlib import Path

import onnx_ir as ir

from chanc import plugins
from chanc.backends.ort.ids import below
from chanc.backends.ort.open_sizes import template
from chanc.backends.ort.told_sizes import lengths
from chanc.backends.torch.build import Source, emit, state_dict
from chanc.backends.torch.check_text import CHECK
from chanc.backends.torch.tail import Tail
from chanc.files import atomic_write, atomic_write_text
from chanc.ir.nodes import nodes_of
from chanc.ir.sizes import Sizes
from chanc.ops.chance import draws

_LINE = 76
"""Characters of a table in one line, so that the remark behind it fits, too."""


def write_package(
    model: ir.Model,
    folder: str | os.PathLike[str],
    name: str,
    onnx_path: str | os.PathLike[str],
    sizes: Sizes | None = None,
    tail: Tail | None = None,
) -> Source:
    """Write the three files into `folder`, made where it is missing; check.py looks for the model at `onnx_path`.

    sizes: of open axes, at which check.py compares (`chanc.ir.sizes.sizes_of`). tail: what was cut off the model that
    lies there. Nothing is written where the model can't be emitted. Raises ModelError, OSError, MissingDependencyError.
    """
    plugins.expect("torch", "PyTorch source", "torch")
    plugins.expect("safetensors", "PyTorch source", "torch")
    from safetensors.torch import save

    source = emit(model, name, tail)
    state = {key: tensor.contiguous().clone() for key, tensor in state_dict(source, model).items()}
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    relative = os.path.relpath(os.path.realpath(onnx_path), os.path.realpath(target))
    atomic_write_text(target / "model.py", source.text)
    with atomic_write(target / "model.safetensors") as temporary:
        temporary.write_bytes(save(state))  # its save_file leaves files of other names where it is killed
    atomic_write_text(target / "check.py", _check(model, source, relative, sizes or {}))
    return source


def _check(model: ir.Model, source: Source, path: str, sizes: Sizes) -> str:
    """The text of check.py, with what the graph tells of its inputs."""
    inputs = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    shapes = {value.name or "": f"[{', '.join(map(_entry, template(value, sizes)))}]" for value in inputs}
    integers = [value for value in inputs if value.dtype is not None and value.dtype.is_integer()]
    bounds = {value.name or "": str(below(value)) for value in integers}
    ends = map(_quoted, source.tail.ends) if source.tail is not None else ()
    return CHECK.format(
        name=source.name,
        onnx=_quoted(path),
        inputs=_listed("INPUTS", "{}", [f"{_quoted(key)}: {text}" for key, text in shapes.items()]),
        below=_listed("BELOW", "{}", [f"{_quoted(key)}: {text}" for key, text in bounds.items()]),
        ends=_listed("ENDS", "[]", list(ends)),
        lengths=tuple(lengths(model.graph)),
        random=any(map(draws, nodes_of(model.graph))),
    )


def _listed(name: str, brackets: str, entries: list[str]) -> str:
    """A list or a dict as ruff formats it: in one line, or an entry a line."""
    line = f"{name} = {brackets[0]}{', '.join(entries)}{brackets[1]}"
    if len(line) <= _LINE:
        return line
    return f"{name} = {brackets[0]}\n" + "".join(f"    {entry},\n" for entry in entries) + brackets[1]


def _entry(size: int | str | None) -> str:
    return _quoted(size) if isinstance(size, str) else str(size)


def _quoted(text: str) -> str:
    """A string literal, in double quotes where the text has none."""
    literal = ascii(text)
    return f'"{literal[1:-1]}"' if literal[0] == "'" and '"' not in literal and "\\" not in literal else literal
