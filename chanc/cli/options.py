"""Options that follow from what there is: choices from registries, options from the fields of dataclasses.

Neither is looked at before a command's help or its arguments need it, so that `chanc --help` imports nothing.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from chanc import fields
from chanc.errors import ChancError
from chanc.fields import Option
from chanc.registry import Registry

inputs_option = click.option(
    "--inputs",
    metavar="FEEDS.npz",
    help="Inputs to run on, an array for each by its name; without them they are random.",
)

Headings = Sequence[tuple[str, Sequence[str]]]


class Named(click.ParamType):  # type: ignore[type-arg]  # generic in new versions of click only
    """A name of a registry, which is given as "module:ATTRIBUTE"; `more` are words besides the names."""

    name = "name"

    def __init__(self, home: str, *more: str) -> None:
        self.home, self.more = home, more

    @property
    def registry(self) -> Registry[Any]:
        """The registry, imported."""
        module, _, attribute = self.home.partition(":")
        registry: Registry[Any] = getattr(importlib.import_module(module), attribute)
        return registry

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """All names, as in [select|svd]."""
        return f"[{'|'.join((*self.more, *self.registry))}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name itself; one that isn't there is wrong usage, with the nearest that is. The default is there."""
        if param is not None and value == param.default:
            return str(value)
        names = (*self.more, *self.registry)
        if value not in names:
            try:
                self.registry[str(value)]
            except ChancError as error:
                self.fail(str(error), param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin so."""
        return [CompletionItem(name) for name in (*self.more, *self.registry) if name.startswith(incomplete)]


class TaskName(Named):
    """A name of a task, or `module:Class` for a task of the user's own."""

    def __init__(self) -> None:
        super().__init__("chanc.tasks:TASKS")

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """All names, as in [classification|distillation|MODULE:CLASS]."""
        return f"[{'|'.join((*self.registry, 'MODULE:CLASS'))}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name itself; whether a user's own is there is found when it is imported."""
        return str(value) if ":" in str(value) else super().convert(value, param, ctx)


class Count(click.ParamType):  # type: ignore[type-arg]
    """A whole number that may end in k, M or G: 500k, 1.5M. A comma is refused: it may mean two things."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse it, or fail with wrong usage."""
        if isinstance(value, int):
            return value
        if "," in str(value):
            self.fail(f"{value!r} has a comma, which may mark thousands or a fraction: write 1500k or 1.5M", param, ctx)
        sizes = {"k": 10**3, "m": 10**6, "g": 10**9}
        text = str(value).replace("_", "")
        unit = sizes.get(text[-1:].lower(), 1)
        try:
            count = round(float(text[:-1] if unit > 1 else text) * unit)
        except (ValueError, OverflowError):
            count = 0
        if count < 1:
            self.fail(f"{value!r} is not a count above 0 (500000, 500k, 1.5M)", param, ctx)
        return count


class Amount(Count):
    """A whole number as `Count` reads it, or milliseconds (`unit` "ms"), or a share of what the model has: 25%."""

    name = "amount"

    def __init__(self, unit: str) -> None:
        self.unit = unit

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """What may be written."""
        return "MS|%" if self.unit == "ms" else "N|%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse it, or fail with wrong usage."""
        share = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)%", str(value).strip())
        if share and float(share[1]) > 0:
            return share[0]
        if self.unit == "count":
            return super().convert(value, param, ctx)
        if "," in str(value):
            self.fail(f"{value!r} has a comma, which may mark thousands or a fraction: write 1500 or 1.5", param, ctx)
        return click.FloatRange(0, min_open=True).convert(value, param, ctx)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time with its unit, in seconds: 90s, 30m, 1h30m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse it, or fail with wrong usage."""
        if isinstance(value, float):
            return value
        parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", str(value).strip().lower())
        hours, minutes, seconds = (int(part or 0) for part in parts.groups()) if parts else (0, 0, 0)
        total = 3600 * hours + 60 * minutes + seconds
        if not total:
            self.fail(f"{value!r} is no time with its unit (90s, 30m, 1h30m)", param, ctx)
        return float(total)


class GroupedCommand(click.Command):
    """A command whose options are listed under headings, and may be followed by some that are found when needed."""

    headings: Headings = ()

    def found(self) -> Iterable[click.Option]:
        """Options that follow from registries and dataclasses."""
        return ()

    def grouped(self) -> Headings:
        """The headings, each with the names of its options."""
        return self.headings

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """What was declared, and what is found."""
        return [*super().get_params(ctx), *self.found()]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options heading by heading; what stands under none comes last."""
        records = {
            param.name: param.get_help_record(ctx) for param in self.get_params(ctx) if isinstance(param, click.Option)
        }
        for heading, names in (*self.grouped(), ("Other", tuple(records))):
            rows = [row for name in names if (row := records.pop(name, None)) is not None]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def type_of(option: Option) -> click.ParamType:  # type: ignore[type-arg]
    """How a word on the command line is read: whole numbers by their range, other numbers are checked by the field."""
    if option.choices:
        return click.Choice(option.choices)
    if option.count:
        return Count()
    if option.amount:
        return Amount(option.amount)
    if option.kind is int and option.range != fields.UNBOUNDED:
        low, high = (None if math.isinf(bound) else int(bound) for bound in option.range)
        return click.IntRange(low, high)
    return click.types.convert_type(option.kind)


def field_option(option: Option, **changes: Any) -> click.Option:
    """The command line's option for a field; None where it isn't given. `changes` are attributes of `click.Option`."""
    words = (option.flag or option.name).replace("_", "-")
    shown = _default(option)
    attributes: dict[str, Any] = {"help": f"{option.help} [{shown}]" if shown else option.help, "default": None}
    if option.kind is bool:
        attributes["is_flag"] = True
        words = f"{words}/--no-{words}" if option.default and changes.get("is_flag", True) else words
    else:
        attributes["type"] = type_of(option)
    return click.Option([f"--{words}", option.name], **{**attributes, **changes})


def settable(cls: type, *, but: Iterable[str] = ()) -> dict[str, Option]:
    """The fields of a dataclass that the command line can set, without those named."""
    left_out = set(but)
    return {name: one for name, one in fields.options(cls).items() if one.kind is not None and name not in left_out}


def task_options() -> dict[str, Option]:
    """The options of all tasks, each once: a task refuses those that it has not."""
    from chanc.tasks import TASKS

    return {name: option for task in TASKS.values() for name, option in settable(task).items()}


def own_options(task: str, given: Sequence[str]) -> dict[str, Any]:
    """The fields of a user's own task that `--task-option NAME=VALUE` sets; wrong usage for one that it hasn't."""
    from chanc.tasks import task_class

    if not given:
        return {}
    kind = task_class(task)
    known: dict[str, Option] = settable(kind) if isinstance(kind, type) and dataclasses.is_dataclass(kind) else {}
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        key = name.replace("-", "_")
        if not equals or key not in known:
            has = ", ".join(known) or "none"
            raise click.UsageError(f"--task-option {text}: give NAME=VALUE, an option of {task}; it has {has}")
        kind_of = click.BOOL if known[key].kind is bool else type_of(known[key])
        found[key] = kind_of.convert(value, None, None)
    return found


class Methods:
    """The options of all search methods: each once, whatever methods have it."""

    SHARED = ("seed", "trials", "epochs")
    """Fields of methods that are set by options of the search itself."""

    def __init__(self) -> None:
        from chanc.study.methods.registry import METHODS, trains_itself

        self.names = METHODS.names()
        self.trial = {name for name in self.names if not trains_itself(name)}
        self.options: dict[str, dict[str, Option]] = {}
        for algo in self.names:
            for name, option in settable(METHODS[algo], but=self.SHARED).items():
                self.options.setdefault(name, {})[algo] = option

    def click_options(
        self,
        taken: Iterable[str] = (),
        wrap: Callable[[click.ParamType], Any] | None = None,  # type: ignore[type-arg]
    ) -> list[click.Option]:
        """An option each. `taken`: names of the command's own, ChancError for a method that has one of them.

        `wrap` makes another type of an option's type.
        """
        for name in set(taken) & set(self.options):
            algo = next(iter(self.options[name]))
            raise ChancError(f"the {algo} search's option {name} is one of the command itself: rename the field")
        return [self._option(by_method, wrap) for by_method in self.options.values()]

    def headings(self, everybodys: str) -> list[tuple[str, list[str]]]:
        """Options by the methods that have them; those of all trial methods come first, under `everybodys`."""
        found: dict[str, list[str]] = {everybodys: []}
        for name, by_method in sorted(self.options.items(), key=lambda entry: (-len(entry[1]), list(entry[1]))):
            heading = everybodys if self.trial <= by_method.keys() else _listed(list(by_method))
            found.setdefault(heading, []).append(name)
        return list(found.items())

    def chosen(self, algo: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """The values given for a method's options; wrong usage where it has no such option."""
        values = {name: value for name, value in given.items() if name in self.options and value is not None}
        for name in values:
            if algo not in self.options[name]:
                raise click.UsageError(f"--{name.replace('_', '-')} is no option of the {algo} search")
            if self.options[name][algo].kind is not bool:
                values[name] = type_of(self.options[name][algo]).convert(values[name], None, None)
        return values

    def _option(self, by_method: Mapping[str, Option], wrap: Callable[[click.ParamType], Any] | None) -> click.Option:  # type: ignore[type-arg]
        first = next(iter(by_method.values()))
        alike = len({(one.kind, one.choices, one.count, one.amount, one.range) for one in by_method.values()}) == 1
        changes: dict[str, Any] = {"help": _helps(by_method)}
        if wrap is not None:
            changes |= {"type": wrap(type_of(first) if alike else click.STRING), "is_flag": False}
        elif not alike:
            changes |= {"type": click.STRING, "is_flag": False}  # read by the type of the method that is chosen
        return field_option(first, **changes)


def _helps(by_method: Mapping[str, Option]) -> str:
    """The help of an option that may mean other things, or have another default, in other methods."""
    helps: dict[str, list[str]] = {}
    defaults: dict[str, list[str]] = {}
    for algo, option in by_method.items():
        helps.setdefault(option.help, []).append(algo)
        defaults.setdefault(_default(option), []).append(algo)
    text = next(iter(helps))
    if len(helps) > 1:
        text = " ".join(f"{_listed(algos)}: {help}" for help, algos in helps.items())
    shown = next(iter(defaults))
    if len(defaults) > 1:
        none = "off" if next(iter(by_method.values())).kind is bool else "none"
        shown = "; ".join(f"{_listed(algos)} {default or none}" for default, algos in defaults.items())
    return f"{text} [{shown}]" if shown else text


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _default(option: Option) -> str:
    """The default in words; empty for what is off."""
    default = option.default
    return option.shown or ("on" if default is True else "" if default in (None, False) else f"{default}")
