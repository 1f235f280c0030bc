"""`--dim` and `--shape`: sizes for open axes, declared once for all commands that have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class Dim(click.ParamType):  # type: ignore[type-arg]
    """NAME=SIZE."""

    name = "name=size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Parse it, or fail with wrong usage."""
        if isinstance(value, tuple):
            return value
        name, sign, size = str(value).rpartition("=")
        if not sign or not name or not size.isdecimal() or int(size) < 1:
            self.fail(f"{value!r} is not a name and a size of at least 1, as in T=24", param, ctx)
        return name, int(size)


class Shape(click.ParamType):  # type: ignore[type-arg]
    """INPUT=SIZE,SIZE,..."""

    name = "input=sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, list[int]]:
        """Parse it, or fail with wrong usage."""
        if isinstance(value, tuple):
            return value
        name, _, sizes = str(value).rpartition("=")
        parts = sizes.split(",")
        if not name or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not an input and its shape, as in x=2,24,16", param, ctx)
        return name, [int(part) for part in parts]


def _once(ctx: click.Context, param: click.Parameter, given: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    names = [name for name, _ in given]
    for name in names:
        if names.count(name) > 1:
            raise click.BadParameter(f"{name!r} is given twice", ctx, param)
    return dict(given)


def size_options(command: Command) -> Command:
    """Give a command `dims` and `shapes`, by name, as `chanc.analyze` takes them."""
    for option in (
        click.option(
            "--shape", "shapes", type=Shape(), multiple=True, callback=_once, metavar="INPUT=SIZES",
            help="The shape of an input with open axes, e.g. x=2,24,16; more than once for several.",
        ),
        click.option(
            "--dim", "dims", type=Dim(), multiple=True, callback=_once, metavar="NAME=SIZE",
            help="The size of an open axis, e.g. T=24, wherever its name stands; more than once for several.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command
