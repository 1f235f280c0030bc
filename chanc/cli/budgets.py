"""Options that say what a rewritten model may cost, and which groups go their own way; declared once for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from chanc.cli.options import Amount

Command = TypeVar("Command", bound=Callable[..., Any])
BUDGETS = ("max_params", "max_macs", "max_latency")
"""The budgets' arguments, as `chanc.rewrite` takes them."""


class Ratio(click.ParamType):  # type: ignore[type-arg]
    """PATTERN=SHARE."""

    name = "pattern=share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """Parse it, or fail with wrong usage."""
        if isinstance(value, tuple):
            return value
        pattern, _, share = str(value).rpartition("=")
        try:
            number = float(share[:-1]) / 100 if share.endswith("%") else float(share)
        except ValueError:
            number = 0.0
        if not pattern or not 0 < number < float("inf"):
            self.fail(f"{value!r} is not a pattern and a share above 0, as in 'layer4.*=0.5'", param, ctx)
        return pattern, number


def _by_pattern(ctx: click.Context, param: click.Parameter, given: tuple[tuple[str, float], ...]) -> dict[str, float]:
    return dict(given)


def budget_options(command: Command) -> Command:
    """Give a command `max_params`, `max_macs`, `max_latency`, `keep`, `ratios`, `heads`, `round_to` and `min_width`."""
    for option in (
        click.option(
            "--min-width", type=click.IntRange(min=1), default=1, metavar="N", help="No width under N channels."
        ),
        click.option(
            "--round-to", type=click.IntRange(min=1), metavar="N",
            help="Round widths to multiples of N. [1 for --scale; else 8, 4 in groups under 16, or the step if larger]",
        ),
        click.option(
            "--heads/--no-heads", default=True, help="Attention loses whole heads; --no-heads keeps them all. [heads]"
        ),
        click.option(
            "--ratio", "ratios", type=Ratio(), multiple=True, callback=_by_pattern, metavar="PATTERN=R",
            help="Groups that get a share of their width, whatever the others do ('layer4.*=0.5'); repeatable, the "
                 "last that names a group counts.",
        ),
        click.option(
            "--keep", multiple=True, metavar="PATTERN",
            help="Groups that stay as they are, by id, weight or node ('head.*', '*.conv1.weight'); repeatable.",
        ),
        click.option(
            "--max-latency", type=Amount("ms"),
            help="Milliseconds of one input that it may take in onnxruntime here, or a share.",
        ),
        click.option("--max-macs", type=Amount("count"), help="MACs of one sample that it may have: 50M, or 50%."),
        click.option("--max-params", type=Amount("count"), help="Parameters that the result may have: 500k, or 50%."),
    ):  # fmt: skip
        command = option(command)
    return command
