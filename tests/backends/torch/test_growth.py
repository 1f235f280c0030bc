"""The cost of writing source grows with the network, and no faster: what is looked at is counted, not timed."""

from __future__ import annotations

from collections import Counter

import pytest

from chanc.backends.torch import structure, widths
from chanc.backends.torch.build import Source, emit, fill, load, state_dict
from chanc.backends.torch.program import Program, Statement, Submodule
from chanc.errors import ModelError
from chanc.testing.graphs import Graph


def network(blocks: int) -> Source:
    """Blocks of two layers with a shortcut, each in a container of its own, written as source."""
    graph = Graph()
    x = graph.input("x", [1, 4, 2, 2])
    for index in range(blocks):
        first, second = (graph.weight(4, 4, 1, 1, name=f"layer{index}.conv{k}.weight") for k in (1, 2))
        x = x + x.conv(4, 1, weight=first).relu().conv(4, 1, weight=second)
    return emit(graph.ir(x.gap().flatten().gemm(2)))


def test_what_is_looked_at_grows_as_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: Counter[str] = Counter()

    def counted(kind: type, name: str) -> None:
        plain = getattr(kind, name).fget

        def look(self: object) -> object:
            looks[name] += 1
            return plain(self)

        monkeypatch.setattr(kind, name, property(look))

    counted(Statement, "reads")
    counted(Statement, "calls")
    number = widths._number
    monkeypatch.setattr(widths, "_number", lambda arg: looks.update(["number"]) or number(arg))
    found = []
    for blocks in (20, 80):
        looks.clear()
        text = network(blocks).text
        found.append(dict(looks))
        assert f"and {blocks - 1} like it" in text
    small, large = found
    assert set(small) == {"reads", "calls", "number"}
    for name, count in small.items():
        assert large[name] < 4.5 * count, name


def test_weights_that_do_not_fit_are_refused() -> None:
    graph = Graph()
    model = graph.ir(graph.input("x", [1, 4, 2, 2]).conv(4, 1, bias=False).gap().flatten())
    source = emit(model)
    state = state_dict(source, model)
    (name,) = state
    for wrong in ({}, {name: state[name][:2]}, {**state, "other": state[name]}):
        with pytest.raises(ModelError, match="the module and its weights don't fit"):
            fill(load(source), wrong)


def test_a_container_between_whose_calls_another_one_is_called_is_no_block() -> None:
    parts = {0: ("a", "one"), 1: ("b", "one"), 2: ("a", "two")}
    statements = [Statement([k + 1], f"\0m{k}\0(\0v{k}\0)") for k in range(3)]
    submodules = {k: Submodule(k, path, "nn.Conv2d", []) for k, path in parts.items()}
    program = Program("Network", statements, submodules, [(0, "x")], ["\0v3\0"], {}, {}, set(), {}, {})
    found = structure._Folder(program, statements)
    assert found._spans(found._containers(1)) == {("b",): (1, 1)}
