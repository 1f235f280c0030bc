from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest
from onnx_ir.passes import PassError, PassManager, PassResult, PreconditionError

from chanc.errors import ModelError
from chanc.passes import FoldShapes, InferShapes, Normalize, Pass
from chanc.passes.base import ANALYSIS
from chanc.testing.builders import build


class Misnamed(Pass):
    """Gives two tensors one name."""

    def call(self, model: ir.Model) -> PassResult:
        first, second = (node.outputs[0] for node in list(model.graph)[:2])
        first.name = second.name
        return PassResult(model, True)


class Fussy(Pass):
    """Refuses in the way of onnx_ir."""

    def requires(self, model: ir.Model) -> None:
        raise PreconditionError("not today")

    def call(self, model: ir.Model) -> PassResult:
        raise NotImplementedError


@pytest.fixture
def model() -> onnx.ModelProto:
    return build("float[N,3] x", "float y", "i = Identity(w) a = MatMul(x, i) y = Relu(a)", {"w": (3, 4)})


@pytest.mark.parametrize("step", [FoldShapes(), InferShapes()])
def test_a_model_in_another_form_is_refused_in_one_line(step: Pass, model: onnx.ModelProto) -> None:
    for given in (model, ir.serde.deserialize_model(model)):
        with pytest.raises(ModelError) as caught:
            step(given)
        assert str(caught.value) == f"{type(step).__name__} needs a model in normal form: run Normalize before it"
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


@pytest.mark.parametrize("step", [FoldShapes(), InferShapes()])
def test_after_normalize_it_runs(step: Pass, model: onnx.ModelProto) -> None:
    assert PassManager([Normalize(), step])(ir.serde.deserialize_model(model)).modified


def test_in_a_pass_manager_the_error_is_theirs_and_tells_ours(model: onnx.ModelProto) -> None:
    with pytest.raises(PassError) as caught:
        PassManager([FoldShapes()])(ir.serde.deserialize_model(model))
    causes: list[BaseException] = [caught.value]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    assert isinstance(causes[-1], ModelError)


def test_a_pass_that_leaves_an_illegal_graph_is_told(model: onnx.ModelProto) -> None:
    loaded = ir.serde.deserialize_model(model)
    loaded.meta[ANALYSIS] = object()
    with pytest.raises(ModelError, match=r"illegal graph \(.*\): .*'a'") as caught:
        Misnamed()(loaded)
    assert "\n" not in str(caught.value)
    assert ANALYSIS not in loaded.meta


def test_what_is_not_ours_stays_theirs(model: onnx.ModelProto) -> None:
    with pytest.raises(PreconditionError, match="not today"):
        Fussy()(model)
