"""What a command is told to write, checked before minutes are spent on its content."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

from chanc.errors import ChancError
from chanc.terminal import printable


def say(text: str, *, err: bool = False) -> None:
    """Print one line; what comes of a model's names can't steer the terminal."""
    click.echo(printable(text), err=err)


def show_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table without lines: the first column is a name, the others stand to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(pad_edge=False, padding=(0, 2, 0, 0), box=None, header_style="bold")
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left", overflow="fold", no_wrap=bool(place))
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)


def short_names(paths: Sequence[str]) -> list[str]:
    """The names of files without their folders, where they differ."""
    names = [Path(path).name for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


json_option = click.option("--json", "json_file", metavar="FILE", help="Write it as JSON; - is standard output.")


def write_json(content: Mapping[str, object], path: str) -> bool:
    """Write what `json_option` asks for; whether it went to standard output, which then takes nothing else."""
    from chanc.files import atomic_write_json

    if path == "-":
        click.echo(json.dumps(content))
        return True
    atomic_write_json(path, content)
    return False


force_option = click.option("--force", is_flag=True, help="Let OUT overwrite MODEL itself.")


def refuse_early(
    output: str | os.PathLike[str] | None, *inputs: str | None, beside: str | None = None, force: bool | None = False
) -> None:
    """Raise OSError where `output` can't be written, ChancError where it is one of the `inputs`, by a link too.

    beside: what the command writes as well, which it must not be either. force: whether it may be an input; None where
    the command has no --force. No output is always right.
    """
    if output is None:
        return
    path = Path(output)
    if path.is_dir():
        raise _os_error(errno.EISDIR, path)
    if not path.parent.is_dir():
        raise _os_error(errno.ENOENT, path.parent)
    if not os.access(path.parent, os.W_OK):
        raise _os_error(errno.EACCES, path.parent)
    for name in inputs:
        if name is not None and not force and _same(name, path):
            advice = "choose another name" if force is None else "add --force, or choose another name"
            raise ChancError(f"writing {output} would overwrite the input {name}: {advice}")
    if beside is not None and _same(beside, path):
        raise ChancError(f"{output} can't be written twice, the command writes {beside} too: choose another name")


def _same(one: str, other: Path) -> bool:
    """Whether two paths are one file: also where it isn't there yet, and where links lead to it."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def _os_error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))
