"""Options made of fields and registries: types, helps, and what the methods share."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Literal

import click
import pytest
from click.testing import CliRunner

from chanc.cli import COMMANDS
from chanc.cli.options import Count, Methods, Named, field_option, settable
from chanc.cli.search import command as search_command
from chanc.cli.search import training_options
from chanc.cli.sweep import command as sweep_command
from chanc.cli.train import command as train_command
from chanc.study.methods.registry import METHODS
from chanc.training.options import TrainOptions


@dataclass(frozen=True)
class Settings:
    count: int = field(default=3, metadata={"help": "How many.", "range": (1, 9)})
    budget: int | None = field(default=None, metadata={"help": "Of params.", "count": True})
    rate: float = field(default=0.5, metadata={"help": "How fast.", "range": (0, 1)})
    way: Literal["up", "down"] = field(default="up", metadata={"help": "Where to."})
    on: bool = field(default=True, metadata={"help": "Whether.", "flag": "enabled"})
    off: bool = field(default=False, metadata={"help": "Whether not."})
    table: dict[str, int] = field(default_factory=dict)


def parsed(*args: str) -> dict[str, object] | str:
    """What the options of Settings make of some words; the message where they refuse them."""
    found: dict[str, object] = {}
    options = [field_option(option) for option in settable(Settings).values()]
    command = click.Command("test", params=options, callback=lambda **given: found.update(given))
    done = CliRunner().invoke(command, args)
    return found if done.exit_code == 0 else done.output.splitlines()[-1]


def test_what_is_not_given_is_none() -> None:
    assert parsed() == dict.fromkeys(("count", "budget", "rate", "way", "on", "off"))


def test_each_kind_is_read() -> None:
    text = "--count 4 --budget 1.5M --rate 2 --way down --no-enabled --off"
    assert parsed(*text.split()) == {
        "count": 4, "budget": 1_500_000, "rate": 2.0, "way": "down", "on": False, "off": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--count", "10"), "10 is not in the range 1<=x<=9"),
        (("--budget", "1,5M"), "'1,5M' has a comma, which may mark thousands or a fraction: write 1500k or 1.5M"),
        (("--budget", "no"), "'no' is not a count above 0"),
        (("--rate", "0,5"), "'0,5' is not a valid float"),
        (("--count", "1,5"), "'1,5' is not a valid integer"),
        (("--way", "left"), "'left' is not one of 'up', 'down'"),
        (("--table", "1"), "No such option"),
    ],
)
def test_each_kind_refuses(args: tuple[str, ...], told: str) -> None:
    assert told in parsed(*args)


@pytest.mark.parametrize("text", ["1,5M", "1,000", "1,000,000", ",5", "5,"])
def test_no_count_has_a_comma_anywhere(text: str) -> None:
    """Every option of every command that is a number of params or MACs."""
    commands = (search_command, sweep_command, train_command)
    seen = 0
    for command in commands:
        for param in command.get_params(click.Context(command)):
            if isinstance(param.type, Count):
                seen += 1
                with pytest.raises(click.BadParameter, match="has a comma"):
                    param.type.convert(text, param, None)
    assert seen >= 4


def test_names_come_from_the_registry() -> None:
    kind = Named("chanc.rewriter:TRANSFERS", "auto")
    param = click.Option(["--transfer"])
    assert kind.get_metavar(param) == "[auto|grow|init|reflect|select|svd|widen]"
    assert [kind.convert(name, None, None) for name in ("auto", "svd")] == ["auto", "svd"]
    with pytest.raises(click.BadParameter, match=r"no transfer 'sdv' \(did you mean 'svd'\?\)"):
        kind.convert("sdv", None, None)
    assert [item.value for item in kind.shell_complete(click.Context(click.Command("x")), param, "s")] == [
        "select", "svd",
    ]  # fmt: skip


def test_every_field_of_every_method_is_an_option() -> None:
    """Of the search and of the sweep, so that adding a field adds both."""
    names = {name for cls in METHODS.values() for name in settable(cls)} - {"seed"}
    for command in (search_command, sweep_command):
        assert names <= {param.name for param in command.get_params(click.Context(command))}


def test_every_field_of_train_options_is_an_option() -> None:
    fields = {entry.name for entry in dataclasses.fields(TrainOptions)}
    for command in (train_command, search_command):
        assert fields <= {param.name for param in command.get_params(click.Context(command))}
    assert set(training_options()[0]) == fields - {"epochs", "seed", "final_lr"}


def test_no_option_is_declared_twice() -> None:
    """By hand and by a field, or by two fields."""
    for command in (search_command, sweep_command, train_command):
        params = command.get_params(click.Context(command))
        for words in ([param.name for param in params], [word for param in params for word in param.opts]):
            assert len(words) == len(set(words)), command.name


def test_a_new_field_is_a_new_option(monkeypatch: pytest.MonkeyPatch) -> None:
    import chanc.training.options

    @dataclass(frozen=True)
    class More(TrainOptions):
        patience: int = field(default=7, metadata={"help": "Epochs to wait.", "range": (1, 99)})

    monkeypatch.setattr(chanc.training.options, "TrainOptions", More)
    for command in (train_command, search_command):
        shown = command.get_help(click.Context(command, info_name="chanc"))
        assert "--patience INTEGER RANGE" in shown
        assert "Epochs to wait." in shown


def test_helps_of_what_methods_share() -> None:
    shown = {option.name: option.help for option in Methods().click_options()}
    assert shown["round_to"] == "Widths are multiples of this (and of a group's step). [2; 8 on a GPU]"
    others = "evolve, flat, optuna, random, shape and uniform"
    masked = "dmask and flexcharts 8"
    assert shown["min_width"].endswith(f"in channels. [conet, greedy and sa 16; {masked}; {others} 2; taylor 4]")
    off = "evolve, greedy, optuna, sa, shape and taylor"
    assert shown["fresh"].endswith(f"[conet, flat, random and uniform on; {off} off]")
    assert shown["gamma"].startswith("cnas: Share of the inputs that are left which a step takes. conet: Smallest phi ")
    headings = dict(Methods().headings("Widths"))
    targets = ["target_params", "target_macs", "target_latency"]
    assert headings["Widths"] == ["min_width", "max_width", "round_to", *targets, "fresh"]
    assert headings["greedy and sa"] == ["first_step", "best_by", "best_from"]


def test_help_of_the_group_imports_nothing_heavy() -> None:
    """`chanc --help` answers at once: it imports click, of chanc what writes to a terminal, errors, the version."""
    code = "import sys, chanc.cli\ntry: chanc.cli.main(['--help'])\nfinally: print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Commands:" in out.stdout
    modules = out.stdout.splitlines()[-1].split()
    assert not {"numpy", "onnx", "onnx_ir", "torch", "onnxruntime", "rich"} & set(modules)
    assert {name for name in modules if name.startswith("chanc.")} == {
            "chanc.cli", "chanc.cli.outputs", "chanc.cli.sympy_later", "chanc.errors", "chanc.terminal",
            "chanc.version",
        }  # fmt: skip


HELPS = """
import sys, chanc.cli
for command in chanc.cli.COMMANDS:
    chanc.cli.main([command, "--help"])
    print("heavy:", command, {"torch", "onnxruntime", "matplotlib"} & set(sys.modules))
"""


def test_no_help_imports_torch(fresh) -> None:
    done = fresh(HELPS)
    assert done.stdout.count(" [OPTIONS]") == len(COMMANDS), done.stderr
    heavy = [line for line in done.stdout.splitlines() if line.startswith("heavy: ")]
    assert heavy == [f"heavy: {command} set()" for command in COMMANDS]


def test_select_is_the_old_name_of_importance() -> None:
    from chanc.cli.rewrite import command

    for word in ("--importance", "--select"):
        context = command.make_context("rewrite", ["m.onnx", "-o", "o.onnx", word, "l1"])
        assert context.params["importance"] == "l1"
