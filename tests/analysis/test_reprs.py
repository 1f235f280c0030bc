"""What is printed by accident stays short, however large the network: nothing writes out its arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence, Set

import numpy as np
import onnx
import pytest

from chanc.analysis import analyze
from chanc.analysis.context import Context
from chanc.analysis.strided import View
from chanc.ir.names import Names
from chanc.rewriter import rewrite
from chanc.rewriter.axis_maps import Resize
from chanc.rewriter.edits import AxisEdit, Part
from chanc.rewriter.plan import Sizing, resizings
from chanc.rewriter.site import Site
from chanc.testing.builders import build

LONGEST = 300
WIDTH, DEPTH = 256, 30
LAYER = "c{0} = Conv (r{1}, w{0})\nn{0} = BatchNormalization (c{0}, g{0}, b{0}, m{0}, v{0})\nr{0} = Relu (n{0})\n"


@pytest.fixture
def network() -> onnx.ModelProto:
    """A deep chain of wide layers, then channels along two axes."""
    body = "r0 = Conv (x, w0)\n" + "".join(LAYER.format(k, k - 1) for k in range(1, DEPTH))
    body += f"f = Flatten (r{DEPTH - 1})\ny = Gemm (f, w)"
    shapes = {f"w{k}": (WIDTH, WIDTH if k else 3, 1, 1) for k in range(DEPTH)}
    shapes |= {f"{name}{k}": (WIDTH,) for k in range(1, DEPTH) for name in "gbmv"}
    return build("float[N,3,2,2] x", "float y", body, shapes | {"w": (4 * WIDTH, 5)})


def reached(thing: object, seen: set[int]) -> Iterator[object]:
    """The objects of chanc that can be reached from one, each once."""
    if id(thing) in seen or isinstance(thing, str | bytes | np.ndarray):
        return
    seen.add(id(thing))
    kind = type(thing)
    inside: list[object] = []
    if kind.__module__.startswith("chanc."):
        yield thing
        names = [field.name for field in dataclasses.fields(thing)] if dataclasses.is_dataclass(thing) else []
        slots = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
        inside += [getattr(thing, name) for name in {*names, *slots} if hasattr(thing, name)]
    if isinstance(thing, Mapping):
        inside += [*thing.keys(), *thing.values()]
    elif isinstance(thing, Sequence | Set):
        inside += list(thing)
    for part in inside:
        yield from reached(part, seen)


def kinds_of(things: list[object]) -> set[str]:
    """The kinds of all objects that can be reached; no text of one is long."""
    found = list(reached(things, set()))
    for thing in found:
        assert len(repr(thing)) <= LONGEST, f"{type(thing).__name__}: {repr(thing)[:LONGEST]}"
    return {type(thing).__name__ for thing in found}


def test_no_text_of_an_analysis_is_long(network: onnx.ModelProto) -> None:
    kinds = kinds_of([analyze(network)])
    assert kinds >= {
        "Analysis", "Findings", "Group", "Operands", "Operand", "Pinned", "Pin", "Layout", "Field", "Units",
        "Initializers", "ParameterAxis", "Constant", "Roles", "DisjointSet",
    }  # fmt: skip


def test_no_text_of_a_rewrite_is_long(network: onnx.ModelProto) -> None:
    analysis = analyze(network)
    chosen = resizings(analysis, None, 0.5, "l2", Sizing(), np.random.default_rng(0))
    units = analysis.units
    resize = Resize(units.unit, np.ones(units.unit.size, dtype=np.int64), units.channel, units.seams)
    node = next(iter(analysis.model.graph))
    line = np.arange(4 * WIDTH)
    part = Part(line.reshape(WIDTH, 4), line.reshape(WIDTH, 4), line)
    things: list[object] = [
        Site(node, analysis.findings, resize, Names(())),
        Context(analysis.findings, node, visit_body=lambda graph: None),
        AxisEdit(0, "producer", line, (part,)),
        View((line.size,), ({0: line},), {}),
        *chosen,
    ]
    kinds = kinds_of([*things, rewrite(network, scale=0.5)])
    assert kinds >= {"Rewrite", "Trace", "TraceOperand", "Resizing", "Resize", "Site", "AxisEdit", "Part"}


def test_the_text_of_an_analysis_tells_its_groups(network: onnx.ModelProto) -> None:
    analysis = analyze(network)
    # One group a layer, and those of the input and the output, which are pinned.
    assert repr(analysis) == f"<Analysis of 'g': {DEPTH + 2} groups, 2 pinned>"
    assert repr(analysis.group("w0")) == f"<Group 'w0': width {WIDTH}, step 1, may change>"
    assert repr(analysis.group("w0").primary) == (
        f"<Operand 'w0', axis 0 (producer), input 1 of Conv 'r0': width {WIDTH}>"
    )


def test_a_notebook_shows_a_table_of_the_groups() -> None:
    body, shapes = "a = Conv (x, w1)\ny = Conv (a, w2)", {"w1": (4, 3, 1, 1), "w2": (2, 4, 1, 1)}
    found = analyze(build("float[N,3,4,4] x", "float y", body, shapes))
    groups = [dataclasses.replace(group, id=f"<{group.id}> & co") for group in found.groups]
    table = dataclasses.replace(found, groups=tuple(groups))._repr_html_()
    assert "<td>&lt;w1&gt; &amp; co</td><td>4</td><td>1</td><td>may change</td>" in table
    assert "<td>it is a graph output</td>" in table
    assert table.count("<tr>") == 1 + len(groups)
