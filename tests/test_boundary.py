"""What chanc stumbles over: pinned with the reason, or one error that names the place; and seen as it is by tests."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import chanc
from chanc.analysis.rules import REGISTRY
from chanc.backends import ort
from chanc.backends.torch.emitter import REGISTRY as EMITTERS
from chanc.boundary import boundary, strict, stumbled
from chanc.errors import ModelError, NotUnderstood, PlanError
from chanc.rewriter.rules import REGISTRY as FOLLOWERS
from chanc.testing.builders import build

WEIGHTS = {"w": (6, 3, 1, 1), "v": (4, 6, 1, 1), "u": (2, 4, 1, 1)}


def model() -> onnx.ModelProto:
    return build("float[N,3,8,8] x", "float y", "a = Conv(x, w) b = Relu(a) c = Conv(b, v) y = Conv(c, u)", WEIGHTS)


def broken(*arguments: object) -> None:
    raise KeyError("what a rule\nlooked for")


def test_a_mistake_is_one_line_that_names_the_place_and_keeps_its_cause() -> None:
    line = r"^the pass can't make sense of the model \(KeyError: 'x'\)$"
    with pytest.raises(NotUnderstood, match=line) as caught, boundary("the pass"):
        {}["x"]
    assert isinstance(caught.value, ModelError)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("error", [PlanError("as it is"), FileNotFoundError("no such file")])
def test_what_a_user_can_mend_goes_through(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, boundary("the pass"):
        raise error
    assert caught.value is error


def test_strict_lets_mistakes_through_and_ends() -> None:
    with strict():
        with pytest.raises(KeyError), boundary("the pass"):
            {}["x"]
        with pytest.raises(IndexError):
            stumbled(IndexError())
    assert stumbled(IndexError()) == "IndexError"


def test_a_rule_that_stumbles_pins_what_enters_it() -> None:
    with REGISTRY.scratch():
        REGISTRY.remove(next(key for key in REGISTRY if key.name == "Relu"))
        REGISTRY.rule("Relu")(broken)
        found = chanc.analyze(model())
        assert found.group("w").reason.startswith("it doesn't fit what it is given: KeyError: 'what a rule")
        assert found.group("v").resizable
        done = chanc.rewrite(model(), scale=0.5)
        assert done.trace.groups["v"] == (4, 2)
        assert done.trace.groups.get("w", (6, 6)) == (6, 6)
        with strict(), pytest.raises(KeyError):
            chanc.analyze(model())


def test_a_formula_that_stumbles_leaves_its_node_uncounted() -> None:
    proto = build("float[N,6] x", "float y", 'y = Einsum <equation = "ij,jk->ik"> (x, w)', {"w": (6, 4)})
    assert chanc.analyze(proto).cost.uncounted == ()
    del proto.graph.node[0].attribute[:]
    assert chanc.analyze(proto).cost.uncounted == ("y",)


def test_a_rewrite_rule_that_stumbles_leaves_its_groups_alone() -> None:
    with FOLLOWERS.scratch():
        for key in [key for key in FOLLOWERS if key.name == "Conv"]:
            FOLLOWERS.remove(key)
        FOLLOWERS.rule("Conv")(broken)
        with pytest.raises(chanc.errors.ChancError, match="Conv 'a' can't follow: KeyError"):
            chanc.rewrite(model(), scale=0.5)


def test_an_emitter_that_stumbles_names_the_node(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with EMITTERS.scratch():
        for key in [key for key in EMITTERS if key.name == "Relu"]:
            EMITTERS.remove(key)
        EMITTERS.rule("Relu")(broken)
        with pytest.raises(ModelError, match="Relu node 'b' can't be written in PyTorch: KeyError"):
            chanc.codegen(model(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_rule_may_rely_on_attributes_of_their_type() -> None:
    """Of ONNX's own operators the door refuses others; the analysis pins those of other domains."""
    body = "a = MatMul(x, w) y = com.microsoft.FusedMatMul <transB = 0.5> (a, v)"
    proto = build("float[N,3] x", "float y", body, {"w": (3, 6), "v": (6, 4)}, domains=["com.microsoft"])
    assert chanc.analyze(proto).group("w").reason.startswith("its attribute 'transB' is no integer")


def test_an_empty_weight_may_claim_any_size() -> None:
    """Its labels alone would take gigabytes."""
    proto = build("float[N,3,8,8] x", "float y", "a = Conv(x, w) y = Conv(a, v)", WEIGHTS)
    tensor = proto.graph.initializer[0]
    tensor.dims[:] = [1 << 40, 3, 1, 0]
    tensor.raw_data = b""
    reasons = [pin.reason for pin in chanc.analyze(proto).pinned]
    assert any(f"it has {1 << 40} channels" in reason for reason in reasons)


def test_an_input_too_large_to_be_made_up_is_refused() -> None:
    proto = build("float[1,3,8,8589934592] x", "float y", "y = Relu(x)")
    with pytest.raises(ModelError, match="too large to be filled with random numbers"):
        ort.random_feeds(proto)
