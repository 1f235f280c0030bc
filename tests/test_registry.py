"""A registry finds its homes and plug-ins by itself, refuses a second meaning of a name, and helps with a wrong one."""

from __future__ import annotations

import itertools
import sys
import types
from pathlib import Path

import pytest

from chanc import registry as module
from chanc.analysis.rules import REGISTRY as ANALYSIS
from chanc.backends.torch.emitter import REGISTRY as EMITTERS
from chanc.data import DATASETS
from chanc.errors import ChancError, PlanError, RunError
from chanc.frontends import FRONTENDS
from chanc.frontends.exporters import EXPORTERS
from chanc.metrics.registry import METRICS
from chanc.ops.table import SPECS
from chanc.registry import Operator, Operators, Registry
from chanc.report.sections import PLOTS
from chanc.rewriter import IMPORTANCES, TRANSFERS
from chanc.rewriter.rules import REGISTRY as REWRITE
from chanc.study.methods.registry import METHODS, register
from chanc.study.methods.sampler import Sampler
from chanc.study.presets import PRESETS
from chanc.tasks import TASKS

NAMED = {
    "transfers": (TRANSFERS, {"select", "svd", "reflect", "widen", "grow", "init"}),
    "importances": (IMPORTANCES, {"l2", "l1", "first", "random"}),
    "methods": (METHODS, {"greedy", "sa", "conet", "uniform", "random"}),
    "tasks": (TASKS, {"classification", "distillation"}),
    "presets": (PRESETS, {"conetv2-resnet34", "conetv2-darts7", "conet-darts7", "conet-resnet34"}),
    "metrics": (METRICS, {"quality"}),
    "plots": (PLOTS, {"accuracy", "widths", "metrics", "cumulative", "acceptance", "training"}),
    "data": (DATASETS, {"digits", "cifar10", "cifar100", "fashion-mnist", "synthetic"}),
    "frontends": (FRONTENDS, {"zoo", "torch", "hf", "jax", "keras", "paddle", "sklearn", "tflite"}),
    "exporters": (EXPORTERS, {"torchscript", "dynamo"}),
}

OPERATORS = (SPECS, ANALYSIS, REWRITE, EMITTERS)
NUMBERS = itertools.count()


def fresh(*homes: str, error: type[ChancError] = ChancError) -> Registry:
    return Registry("thing", f"chanc.nothing-{next(NUMBERS)}", *homes, error=error)


def cell(source: str) -> object:
    """What a notebook's cell defines under the name Mine: a class or function of the module __main__."""
    space = {"__name__": "__main__"}
    exec(source, space)
    return space["Mine"]


@pytest.mark.parametrize("group", NAMED)
def test_all_registries_list_what_they_have(group: str) -> None:
    """Sorted, under the entry points of their group, each with a line that describes it."""
    registry, names = NAMED[group]
    assert registry.group == f"chanc.{group}"
    assert set(registry) >= names
    assert list(registry) == sorted(registry) == list(registry.names())
    assert len(registry) == len(registry.names())
    for name in names:
        assert registry.help(name).endswith("."), name


@pytest.mark.parametrize("group", NAMED)
def test_an_unknown_name_is_one_line_with_the_nearest(group: str) -> None:
    registry, names = NAMED[group]
    name = sorted(names)[0]
    with pytest.raises(registry.error) as caught:
        registry[f"{name}x"]
    text = str(caught.value)
    assert text.startswith(f"there is no {registry.what} '{name}x' (did you mean '{name}'?); there are ")
    assert set(text.partition("; there are ")[2].split(", ")) == set(registry)
    with pytest.raises(registry.error) as caught:
        registry["@@"]
    assert "did you mean" not in str(caught.value)


def test_operators_share_a_group() -> None:
    assert {table.group for table in OPERATORS} == {"chanc.ops"}
    assert all(("", "Conv") in set(table.names()) for table in OPERATORS)


def test_a_name_has_one_meaning() -> None:
    registry = fresh(error=PlanError)
    registry.register("one")(len)
    with pytest.raises(PlanError, match=r"two things are the thing 'one': builtins\.len and builtins\.repr"):
        registry.register("one")(repr)
    assert registry["one"] is len


@pytest.mark.parametrize("source", ["class Mine: size = {}", "def Mine(): return {}"])
def test_a_cell_that_runs_again_replaces_what_it_registered(source: str) -> None:
    registry = fresh()
    first, second = cell(source.format(1)), cell(source.format(2))
    assert first is not second
    registry.register("mine")(first)
    registry.register("mine")(second)
    assert registry["mine"] is second
    other = types.new_class("Other")
    with pytest.raises(ChancError, match=r"the thing 'mine': __main__\.Mine and .*\.Other"):
        registry.register("mine")(other)


def test_what_has_no_name_of_its_own_is_never_replaced() -> None:
    """All lambdas of a module have one name, and so have the closures of one function."""

    def closure(number: int):
        return lambda: number

    registry = fresh()
    registry.register("mine")(closure(1))
    with pytest.raises(ChancError, match="two things are the thing 'mine'"):
        registry.register("mine")(closure(2))
    assert registry["mine"]() == 1


def test_equal_values_are_one_thing() -> None:
    registry = fresh()
    registry.add("pair", (1, 2), help="Two numbers.")
    registry.add("pair", (1, 2))
    with pytest.raises(ChancError):
        registry.add("pair", (1, 3))


def test_a_sampler_in_a_notebook() -> None:
    """A method's cell may run as often as it likes; the name of another one is refused, and neither changes."""
    code = "from chanc.study import {0}\nclass Mine({0}): pass"
    with METHODS.scratch():
        for _ in range(2):
            mine = register("mine")(cell(code.format("Greedy")))
            assert METHODS["mine"] is mine
            assert mine.name == "mine"
        with pytest.raises(RunError, match=r"search method 'greedy': .*Greedy and __main__\.Mine"):
            register("greedy")(mine)
        assert mine.name == "mine"
    assert "mine" not in METHODS
    assert issubclass(METHODS["greedy"], Sampler)


def test_homes_are_imported_when_something_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package's modules all register themselves; a stranger that comes first is refused, not the home's own."""
    (tmp_path / "home_of_things").mkdir()
    (tmp_path / "home_of_things" / "__init__.py").write_text("")
    (tmp_path / "home_of_things" / "one.py").write_text("import holder\nholder.things.register('one')(len)\n")
    (tmp_path / "home_of_things" / "room").mkdir()
    (tmp_path / "home_of_things" / "room" / "__init__.py").write_text("")
    (tmp_path / "home_of_things" / "room" / "three.py").write_text("import holder\nholder.things.register('3')(max)\n")
    (tmp_path / "lone_thing.py").write_text("import holder\nholder.things.register('two')(repr)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    holder = types.ModuleType("holder")
    monkeypatch.setitem(sys.modules, "holder", holder)
    holder.things = fresh("home_of_things", "lone_thing")
    assert "home_of_things.one" not in sys.modules
    with pytest.raises(ChancError, match=r"builtins\.len and __main__\.Mine"):
        holder.things.register("one")(cell("class Mine: pass"))
    assert list(holder.things) == ["3", "one", "two"]
    assert holder.things["two"] is repr


def test_a_home_that_fails_fails_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It isn't taken for loaded because it was tried."""
    (tmp_path / "broken_home.py").write_text("raise ImportError('no luck')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = fresh("broken_home")
    for _ in range(2):
        with pytest.raises(ImportError, match="no luck"):
            list(registry)


def test_scratch_and_remove() -> None:
    registry = fresh()
    registry.register("kept")(len)
    with registry.scratch():
        registry.remove("kept")
        registry.register("new")(repr)
        assert list(registry) == ["new"]
    assert list(registry) == ["kept"]
    with pytest.raises(ChancError, match="there is no thing 'new'"):
        registry.remove("new")


def operators() -> Operators:
    return Operators("rule", f"chanc.nothing-{next(NUMBERS)}")


def test_the_newest_rule_that_holds() -> None:
    table = operators()
    table.rule("NotAnOperator")(len)
    table.rule("NotAnOperator", since=13)(repr)
    assert table.find("", "NotAnOperator", 12) is len
    assert table.find("ai.onnx", "NotAnOperator", 13) is repr
    assert table.find("", "NotAnOperator", 1 << 20) is repr
    assert table.find("", "NotAnOperator", 0) is None
    assert table.find("my", "NotAnOperator", 13) is None
    assert table[Operator("", "NotAnOperator", 13)] is repr
    assert list(table.names()) == [("", "NotAnOperator")]
    table.remove(Operator("", "NotAnOperator", 13))
    assert table.find("", "NotAnOperator", 13) is len


def test_a_second_rule_for_the_same_version_is_refused() -> None:
    table = operators()
    table.rule("Relu", domain="ai.onnx")(len)
    table.rule("Relu", since=14)(repr)
    with pytest.raises(ChancError, match=r"the rule of ai\.onnx::Relu since version 14: .*repr and .*print"):
        table.rule("Relu", since=14)(print)
    with pytest.raises(ChancError, match=r"there is no rule of com\.example::Gate since version 1"):
        table[Operator("com.example", "Gate")]


def test_there_is_one_registry() -> None:
    """No room keeps a table of its own for what has a name: each is an instance of these classes."""
    tables = [*OPERATORS, *(registry for registry, _ in NAMED.values())]
    assert all(type(table) in (module.Registry, module.Operators) for table in tables)
