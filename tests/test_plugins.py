"""What other distributions bring is found by whoever asks first, loaded once, and named where it is broken."""

from __future__ import annotations

import pytest

from chanc import plugins
from chanc.errors import DataError, MissingDependencyError, RunError

OPERATOR = """
print("loaded")
from chanc.analysis.rules import rule as analysis
from chanc.backends.torch import emits
from chanc.ops import operator
from chanc.rewriter.rules import rule as rewriting

operator("Gate", domain="strange", since=2, traits=(), weights=(), divisors=(), work=None)

@analysis("Gate", domain="strange", since=2)
def analyze(sweep): ...

@rewriting("Gate", domain="strange", since=2)
def resize(site): ...

@emits("Gate", domain="strange", since=2)
def write(emitter, node): ...
"""

TABLES = {
    "spec": "from chanc.ops.table import SPECS as REGISTRY",
    "analysis": "from chanc.analysis.rules import REGISTRY",
    "rewrite": "from chanc.rewriter.rules import REGISTRY",
    "emitter": "from chanc.backends.torch.emitter import REGISTRY",
}

NAMED = {
    "chanc.transfers": """
from chanc.rewriter.transfer import register
@register("mine", ordered=True)
def mine(tensor, edits, use, rng): ...
""",
    "chanc.importances": """
from chanc.rewriter.importance import register
@register("mine")
def mine(group, evidence): ...
""",
    "chanc.methods": """
from chanc.study import Greedy, register
@register("mine")
class Mine(Greedy): ...
""",
    "chanc.metrics": """
from chanc.metrics.registry import register
@register("mine")
def mine(weights): ...
""",
    "chanc.plots": """
from chanc.report.sections import register
@register("mine")
def mine(record): ...
""",
    "chanc.presets": """
from chanc.study.presets import PRESETS, Preset
PRESETS.add("mine", Preset("greedy", "resnet18", {}, {}, {}))
""",
    "chanc.data": """
from chanc.data.named import register
@register("mine")
def mine(root): ...
""",
    "chanc.tasks": """
from chanc.tasks import TASKS, Classification
@TASKS.register("mine")
class Mine(Classification): ...
""",
    "chanc.frontends": """
from chanc.frontends import FRONTENDS, Frontend
FRONTENDS.add("mine", Frontend(lambda name, options: None, "mine:NAME"))
""",
    "chanc.exporters": """
from chanc.frontends.exporters import EXPORTERS
@EXPORTERS.register("mine")
def mine(request): ...
""",
}

REGISTRIES = {
    "chanc.transfers": "from chanc.rewriter import TRANSFERS as REGISTRY",
    "chanc.importances": "from chanc.rewriter import IMPORTANCES as REGISTRY",
    "chanc.methods": "from chanc.study import METHODS as REGISTRY",
    "chanc.metrics": "from chanc.metrics.registry import METRICS as REGISTRY",
    "chanc.plots": "from chanc.report.sections import PLOTS as REGISTRY",
    "chanc.presets": "from chanc.study.presets import PRESETS as REGISTRY",
    "chanc.data": "from chanc.data import DATASETS as REGISTRY",
    "chanc.tasks": "from chanc.tasks import TASKS as REGISTRY",
    "chanc.frontends": "from chanc.frontends import FRONTENDS as REGISTRY",
    "chanc.exporters": "from chanc.frontends.exporters import EXPORTERS as REGISTRY",
}


@pytest.mark.parametrize("first", TABLES)
@pytest.mark.nightly
def test_an_operator_is_found_by_whichever_table_is_asked_first(fresh, stranger, first: str) -> None:
    """All three find it, though no other was asked before; the module is loaded once."""
    code = "\n".join(
        f"{TABLES[name]}\nassert REGISTRY.find('strange', 'Gate', 2) is not None\n"
        f"assert REGISTRY.find('strange', 'Gate', 1) is None\nassert REGISTRY.find('', 'Conv', 17) is not None"
        for name in (first, *TABLES)
    )
    done = fresh(code, stranger(OPERATOR, "chanc.ops"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "loaded\n"


@pytest.mark.parametrize("group", NAMED)
def test_each_group_brings_things_into_its_registry(fresh, stranger, group: str) -> None:
    done = fresh(f"{REGISTRIES[group]}\nprint(len(REGISTRY), 'mine' in REGISTRY)", stranger(NAMED[group], group))
    assert done.returncode == 0, done.stderr
    here: dict[str, object] = {}
    exec(REGISTRIES[group], here)
    assert done.stdout == f"{len(here['REGISTRY']) + 1} True\n"


def test_an_entry_point_may_be_a_function(fresh, stranger) -> None:
    source = """
def setup():
    print("called")
    from chanc.backends.torch import emits
    emits("G", domain="s")(setup)
"""
    code = f"{TABLES['emitter']}\nprint(REGISTRY.find('s', 'G', 1) is not None)"
    done = fresh(code, stranger(source, "chanc.ops", target="strange:setup"))
    assert done.stdout == "called\nTrue\n", done.stderr


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        (
            "from chanc.backends.torch import emits\n@emits('Relu')\ndef mine(emitter, node): ...",
            "ChancError: two things are the emitter of ai.onnx::Relu since version 1: ",
        ),
    ],
    ids=["raises", "lacks", "taken"],
)
def test_a_broken_plug_in_is_one_line_with_its_name(fresh, stranger, source: str, told: str) -> None:
    """Whoever asks is told, again and again, and chanc's own rule stays."""
    code = f"""
from chanc.errors import ChancError
{TABLES["emitter"]}
for _ in range(2):
    try:
        REGISTRY.find("", "Relu", 17)
    except ChancError as error:
        print(error)
"""
    done = fresh(code, stranger(source, "chanc.ops"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    start = "the plug-in 'mine' of strange-ideas 1.2 (chanc.ops: strange) failed to load: "
    assert all(line.startswith(start + told) for line in lines), lines


@pytest.mark.nightly
def test_the_command_line_names_a_broken_plug_in(fresh, stranger) -> None:
    environment = stranger("raise RuntimeError('no luck')", "chanc.methods", "chanc.transfers")
    for command, code in (("search", 1), ("sweep", 1), ("rewrite", 1), ("analyze", 0)):
        done = fresh(f"from chanc.cli import main\nmain(['{command}', '--help'])", environment)
        assert done.returncode == code, done.stderr
        assert done.stderr.count("\n") == code
        assert ("strange-ideas 1.2" in done.stderr) == bool(code)


def test_what_a_strangers_code_raises_is_one_line() -> None:
    with pytest.raises(RunError) as caught, plugins.guarded("the moon", RunError):
        raise ValueError("no\nluck")
    assert str(caught.value) == "the moon failed: ValueError: no luck"
    for own in (DataError("mine"), FileNotFoundError("gone"), KeyboardInterrupt()):
        with pytest.raises(type(own)) as kept, plugins.guarded("the moon", RunError):
            raise own
        assert kept.value is own


def test_what_is_missing_is_said_with_what_brings_it() -> None:
    for ask in (plugins.expect, plugins.require):
        with pytest.raises(MissingDependencyError) as caught:
            ask("nothing_of_this_name", "flying", "wings")
        assert str(caught.value) == "flying needs nothing_of_this_name: pip install 'chanc[wings]'"
    assert plugins.require("json", "reading", "none").loads("1") == 1
