"""Options that may have several values: the axes of a sweep, made of the options of `chanc search`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from chanc.errors import ChancError

Axes = dict[str, tuple[Any, ...]]
"""Values by the name of an option."""


class Values(click.ParamType):  # type: ignore[type-arg]
    """Values with commas between them, or semicolons where one has a comma itself: 0,0.5,0.8."""

    name = "values"

    def __init__(self, each: click.ParamType | type) -> None:  # type: ignore[type-arg]
        self.each = each if isinstance(each, click.ParamType) else click.types.convert_type(each)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """One value, and that there may be more."""
        return f"{self.each.get_metavar(param, ctx) or self.each.name.upper()},..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Parse each one, or fail with wrong usage."""
        if isinstance(value, tuple):
            return value
        return tuple(self.each.convert(part, param, ctx) for part in parts(str(value)))


def parts(text: str) -> list[str]:
    """The values of an axis, as words."""
    return [word for part in text.split(";" if ";" in text else ",") if (word := part.strip())]


def several(option: click.Option) -> click.Option:
    """The option with several values; a flag is on where it has none, and takes on,off."""
    changes: dict[str, Any] = {"is_flag": False, "flag_value": "on"} if option.is_flag else {}
    kind = click.BOOL if option.is_flag else option.type
    shown = option.show_default if isinstance(option.show_default, str) else option.default
    told = f"{option.help} [{shown}]" if option.show_default else option.help
    return click.Option([*option.opts, option.name or ""], type=Values(kind), default=None, help=told, **changes)


def axis_option(found: Callable[[], Mapping[str, click.Option]]) -> Callable[..., Any]:
    """--axis NAME=VALUES for options that are found when they are needed, by their names there."""

    def read(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> Axes:
        known = {word.removeprefix("--"): option for option in found().values() for word in option.opts}
        axes: Axes = {}
        for text in given:
            word, equals, values = text.partition("=")
            name = word.strip().removeprefix("--").replace("_", "-")
            if not equals or not parts(values):
                raise click.BadParameter(f"{text!r}: write NAME=VALUES, as in --axis lr=0.03,0.1", ctx, param)
            if name not in known:
                raise click.BadParameter(_unknown(name, list(known)), ctx, param)
            option = known[name]
            if option.name in axes:
                raise click.BadParameter(f"there are two axes {name}", ctx, param)
            axes[option.name or ""] = tuple(_read(option, ctx, part) for part in parts(values))
        return axes

    return click.option("--axis", "axes", multiple=True, metavar="NAME=VALUES", callback=read,
                        help="An axis of the sweep: an option of `chanc search` and its values, with commas between "
                             "them, or semicolons; may be given several times.")  # fmt: skip


def _read(option: click.Option, ctx: click.Context, text: str) -> Any:
    """One value, as the option reads it on a command line of its own."""
    if option.is_flag:
        return click.BOOL.convert(text, option, ctx)
    return option.process_value(ctx, (text,) if option.multiple else text)


def _unknown(name: str, known: Sequence[str]) -> str:
    from chanc.study.places import unknown

    return unknown(name, known)


def split(
    given: Mapping[str, Any], axes: Axes, *, always: Sequence[str], never: Sequence[str]
) -> tuple[Axes, dict[str, Any]]:
    """The axes, and the values that all cells have: options in `always` are axes with one value too, in `never` none.

    Raises ChancError where an option is given both by its own name and as an axis.
    """
    grid, fixed = dict(axes), dict[str, Any]()
    for name, values in given.items():
        if not values:
            continue
        if name in axes:
            raise ChancError(f"--{name.replace('_', '-')} is given twice: by itself, and as an axis")
        if name in never:
            fixed[name] = values
        elif len(values) > 1 or name in always:
            grid[name] = values
        else:
            fixed[name] = values[0]
    return grid, fixed
