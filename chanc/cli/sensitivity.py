"""`chanc analyze --sensitivity`: the loss of a model where one channel group after another keeps fewer channels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chanc.cli.options import Named, TaskName
from chanc.cli.outputs import refuse_early, say, show_table
from chanc.cli.share_done import share_done
from chanc.errors import PlanError
from chanc.files import atomic_write_json

if TYPE_CHECKING:
    from chanc.measuring.sensitivity import Sensitivity

Command = TypeVar("Command", bound=Callable[..., Any])
PICTURES = (".svg", ".png")


class Ratios(click.ParamType):  # type: ignore[type-arg]
    """Numbers between commas."""

    name = "ratios"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Parse them, or fail with wrong usage."""
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} are no shares between commas, as in .25,.5,.75", param, ctx)


OPTIONS = (
    click.option("--sensitivity", is_flag=True,
                 help="Measure the loss on --data where one group after another keeps fewer channels."),
    click.option("--data", metavar="NAME|PATH", help="Data set by name, a folder, an .npz; without labels the loss is "
                 "how far the model is from what it said before."),
    click.option("--data-root", type=click.Path(), help="Folder where named data sets lie."),
    click.option("--task", type=TaskName(), help="Whose loss it is. [classification]"),
    click.option("--normalise", metavar="HOW", help="Of the pixels of --data: dataset, none, MEAN/STD; bgr:HOW."),
    click.option("--scale-pixels", metavar="FACTOR", help="Of the pixels of --data before that, as 1/255."),
    click.option("--batches", type=click.IntRange(1), metavar="N", help="Batches of 64 training samples. [4]"),
    click.option("--importance", type=Named("chanc.rewriter:IMPORTANCES"), help="Which channels stay. [taylor]"),
    click.option("--ratios", type=Ratios(), metavar="R,R,...", help="Shares of channels that stay. [.25,.5,.75]"),
    click.option("--max-rise", type=click.FloatRange(0), metavar="LOSS",
                 help="What the loss may rise by for one group of the plan. [0.05]"),
    click.option("--plan", "plan_file", metavar="OUT.json", help="Write that plan, for `chanc rewrite --plan`: of each "
                 "group the least channels that the loss allows."),
    click.option("--picture", metavar="FILE.svg", help="Draw the losses, as .svg or .png."),
)  # fmt: skip


def sensitivity_options(command: Command) -> Command:
    """Give a command the options of `measured`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def measured(model: str, given: Mapping[str, Any], **sizes: Any) -> Sensitivity | None:
    """What `--sensitivity` asks for, if it was asked for; plan and picture are written."""
    options = {name: value for name, value in given.items() if value is not None and name != "sensitivity"}
    if not given["sensitivity"]:
        for name in options:
            raise click.UsageError(f"--{name.removesuffix('_file').replace('_', '-')} is for --sensitivity")
        return None
    if "data" not in options:
        raise click.UsageError("--sensitivity needs --data")
    plan_file, picture = options.pop("plan_file", None), options.pop("picture", None)
    refuse_early(plan_file, model, options["data"], force=None)
    refuse_early(picture, model, options["data"], beside=plan_file, force=None)
    if picture is not None:
        _require_drawing(picture)
    from chanc.api import sensitivity

    with share_done("measuring") as tell:
        found = sensitivity(model, on_point=tell, **options, **sizes)
    if plan_file is not None:
        _write_plan(found, plan_file)
    if picture is not None:
        from chanc.report.sensitivity import draw

        draw(found, Path(picture))
    return found


def _require_drawing(picture: str) -> None:
    """Before anything is measured."""
    if Path(picture).suffix.lower() not in PICTURES:
        raise click.UsageError(f"--picture {picture}: a picture is {' or '.join(PICTURES)}")
    import chanc.report.static  # noqa: F401  (says what is missing)


def _write_plan(found: Sensitivity, path: str) -> None:
    if not found.planned.keep:
        show(found)  # what took minutes isn't lost
        raise PlanError(f"no group can keep less: the loss rises by more than {found.planned.max_rise:g} each time; "
                        "allow more (--max-rise) or try larger --ratios")  # fmt: skip
    atomic_write_json(path, found.planned.plan())


def show(found: Sensitivity) -> None:
    """Print the table and what stands around it."""
    from chanc.report.sensitivity import heads, rows

    say(found.told)
    say(f"loss {found.loss:.4g}, {found.score_name} {found.score:.4g} on {found.samples} training samples; one group "
        f"at a time keeps the channels of the highest {found.importance}")  # fmt: skip
    show_table(heads(found), rows(found))
    for curve in found.curves:
        if not curve.points:
            say(f"not measured: {curve.group}: {curve.reason}")
    planned = found.planned
    costs = (f"{what} {old:,} -> {new:,}" for what, (old, new) in (("params", planned.params), ("MACs", planned.macs)))
    say(f"plan: {len(planned.keep)} of {len(found.curves)} groups shrink, each of which alone costs a loss of at most "
        f"{planned.max_rise:g}; all together: loss {planned.loss:.4g}, {found.score_name} {planned.score:.4g}, "
        f"{', '.join(costs)}")  # fmt: skip


def to_json(found: Sensitivity) -> dict[str, Any]:
    """What `--json` has of it; losses that aren't finite are null."""
    content: dict[str, Any] = _plain(dataclasses.asdict(found))
    return content


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
