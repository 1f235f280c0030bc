"""What a judgement spends, and that it loads and runs no model twice."""

from __future__ import annotations

import time

import pytest

import chanc
from chanc.backends import ort
from chanc.oracles import judge
from chanc.oracles.spent import Spent, told
from chanc.testing.graphs import Graph


def test_shares_of_the_whole() -> None:
    assert told({"sessions": 1.0, "runs": 2.0, "twins": 1.0}) == "4.0 s (runs 50 %, sessions 25 %, twins 25 %)"


def test_what_no_block_had_is_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 1.0, 3.0, 4.0, 8.0, 10.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(ticks))
    spent = Spent()
    with spent.on("runs"):
        pass
    with pytest.raises(ValueError, match="x"), spent.on("runs"):
        raise ValueError("x")
    assert spent.all("twins") == {"runs": 6.0, "twins": 4.0}


def network(*, norm: bool) -> object:
    """Two layers, with a norm across channels between them if asked."""
    graph = Graph(opset=17, seed=0)
    x = graph.input("x", [2, 4, 8]).linear(16).relu()
    if norm:
        x = x.op("LayerNormalization", graph.vector(16), graph.vector(16)).linear(12).relu()
    return graph.ir(x.linear(4))


@pytest.mark.parametrize(("norm", "models"), [(False, 2), (True, 3)], ids=["exact", "in parts"])
def test_each_model_is_loaded_and_run_once(monkeypatch: pytest.MonkeyPatch, norm: bool, models: int) -> None:
    """The original without what was dropped, and the rewritten model; by doubling also that model's twin."""
    counts = {"session": 0, "run": 0}
    for name in counts:
        plain = getattr(ort, name)

        def counted(*given, name: str = name, plain=plain, **options):
            counts[name] += 1
            return plain(*given, **options)

        monkeypatch.setattr(ort, name, counted)
    model = network(norm=norm)
    made = chanc.rewrite(model, scale=0.5)
    assert made.trace.exact is not norm
    verdict = judge(model, made.model, trace=made.trace)
    assert verdict.agrees
    assert counts == {"session": models, "run": models}
    assert set(verdict.seconds) == {"sessions", "runs", "comparing", "twins"}
    assert min(verdict.seconds.values()) >= 0
