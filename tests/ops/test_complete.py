"""Every operator that any room knows has a spec, and every facet of it agrees with what ONNX says and computes."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import onnx
import onnx.helper as oh
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from chanc.analysis.rules import REGISTRY as ANALYSIS
from chanc.backends.torch.registry import REGISTRY as EMITTERS
from chanc.ops import Kind, Spec, Trait, find, operator, specs
from chanc.rewriter.rules import REGISTRY as REWRITE

SPECS = list(specs())
NEWEST = 1 << 20
# onnxruntime writes it into ONNX's own domain.
FOREIGN = {"SimplifiedLayerNormalization"}
STANDARD = {spec.name: spec for spec in SPECS if not spec.domain and spec.name not in FOREIGN}

# What ONNX calls the inputs that layers train.
TRAINED = {"W", "w", "R", "B", "b", "P", "scale", "bias", "slope", "weight"}
# Inputs of such names that are none.
GIVEN = {
    **dict.fromkeys(("And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor"), "truth values and bits"),
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), "a bound"),
    "Mod": "a number to divide by",
    "NegativeLogLikelihoodLoss": "weights of classes",
}
# ONNX calls these undetermined, though they draw no numbers of their own where a network runs.
DETERMINED = {"AffineGrid", "Dropout", "If", "Loop", "Scan"}

ROOMS: dict[str, set[Kind]] = {
    "analysis": set(ANALYSIS.names()),
    "rewriter": set(REWRITE.names()),
    "torch": set(EMITTERS.names()),
}


def named(spec: Spec) -> str:
    return f"{spec.domain or 'ai.onnx'}::{spec.name}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_registered_operator_has_a_spec(room: str) -> None:
    assert sorted(kind for kind in ROOMS[room] if find(*kind, NEWEST) is None) == []


def test_no_spec_is_of_an_operator_that_nobody_knows() -> None:
    assert {(spec.domain, spec.name) for spec in SPECS} == set.union(*ROOMS.values())


def test_no_facet_can_be_forgotten() -> None:
    """All must be said: by the form, and by who registers."""
    optional = {field.name for field in dataclasses.fields(Spec) if field.default is not dataclasses.MISSING}
    assert not optional
    given = inspect.signature(operator).parameters
    defaults = {name for name, entry in given.items() if entry.default is not inspect.Parameter.empty}
    assert defaults == {"domain", "since"}


@pytest.mark.parametrize("spec", SPECS, ids=named)
def test_facets_are_of_their_kind(spec: Spec) -> None:
    assert spec.traits <= frozenset(Trait)
    assert len({weight.input for weight in spec.weights}) == len(spec.weights)
    for weight in spec.weights:
        assert isinstance(weight.init, float) or weight.init in ("he", "normal")
        assert not weight.statistic or isinstance(weight.init, float)
        attributes = {"equation": ir.AttrString("equation", "...ab,bc,cd->...ad")}
        for rank in range(6) if spec.name != "Einsum" else (2,):
            makes, takes = weight.makes(attributes, rank), weight.takes(attributes, rank)
            assert all(0 <= axis < rank for axis in (*makes, *takes))
            assert not set(makes) & set(takes)
    assert all(index >= 0 for index in spec.divisors)


@pytest.mark.parametrize("name", sorted(STANDARD))
def test_facets_fit_the_schema(name: str) -> None:
    """Inputs exist, what ONNX names as a weight is one, and what it calls random is."""
    spec, schema = STANDARD[name], onnx.defs.get_schema(name)
    inputs = [entry.name for entry in schema.inputs]
    most = 2 if name in ("Concat", "Einsum") else len(inputs) - 1
    assert all(index <= most for index in (*(weight.input for weight in spec.weights), *spec.divisors))
    weights = {weight.input for weight in spec.weights}
    forgotten = [entry for index, entry in enumerate(inputs) if entry in TRAINED and index not in weights]
    assert not forgotten or name in GIVEN, f"{forgotten} of {name} may be weights"
    random = schema.node_determinism == onnx.defs.OpSchema.NodeDeterminism.NonDeterministic
    assert (Trait.RANDOM in spec.traits) == (random and name not in DETERMINED)


def evaluate(name: str, *arrays: np.ndarray) -> np.ndarray:
    """What the reference implementation gives for one node of the newest opset."""
    names = [f"x{k}" for k in range(len(arrays))]
    node = oh.make_node(name, names, ["y"], **ATTRIBUTES.get(name, {}))
    types = [oh.np_dtype_to_tensor_dtype(array.dtype) for array in arrays]
    inputs = [oh.make_tensor_value_info(*entry) for entry in zip(names, types, (a.shape for a in arrays), strict=True)]
    graph = oh.make_graph([node], "g", inputs, [oh.make_tensor_value_info("y", 1, None)])
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 26)])
    return np.asarray(ReferenceEvaluator(model).run(None, dict(zip(names, arrays, strict=True)))[0])


ATTRIBUTES: dict[str, dict[str, object]] = {
    "Cast": {"to": 1}, "BitCast": {"to": 1}, "Shrink": {"lambd": 0.1, "bias": 0.2}, "BitShift": {"direction": "LEFT"},
    "Mod": {"fmod": 1}, "DepthToSpace": {"blocksize": 2}, "SpaceToDepth": {"blocksize": 2},
}  # fmt: skip
# Where a function is defined, if not on both sides of zero, and its other operands.
DOMAINS = {"Log": (0.1, 2), "Sqrt": (0.1, 2), "Acosh": (2, 4), **dict.fromkeys(("Acos", "Asin", "Atanh"), (-0.9, 0.9))}
OTHERS = {"Clip": [np.float32(-0.5), np.float32(0.5)]}


def is_function(name: str, spec: Spec) -> bool:
    """Whether it makes floats of one float tensor."""
    if Trait.ELEMENTWISE not in spec.traits or Trait.BROADCAST in spec.traits:
        return False
    schema = onnx.defs.get_schema(name)
    return schema.min_input == 1 and all("tensor(float)" in e.types for e in (schema.inputs[0], schema.outputs[0]))


@pytest.mark.parametrize("name", sorted(name for name, spec in STANDARD.items() if is_function(name, spec)))
def test_functions_of_one_operand(name: str) -> None:
    """Elementwise: a permutation passes through; curved: half of x doesn't give half of f(x)."""
    x = np.random.default_rng(0).uniform(*DOMAINS.get(name, (-2, 2)), 64).astype(np.float32)
    order, others = np.random.default_rng(1).permutation(64), OTHERS.get(name, [])
    y = evaluate(name, x, *others)
    assert np.array_equal(evaluate(name, x[order], *others), y[order])
    with np.errstate(invalid="ignore"):
        half = evaluate(name, (x / 2).astype(np.float32), *others)
    assert np.allclose(half, y / 2, rtol=1e-5, atol=1e-6) != (Trait.CURVED in STANDARD[name].traits)


@pytest.mark.parametrize("name", sorted(name for name, spec in STANDARD.items() if Trait.BROADCAST in spec.traits))
def test_operators_of_many_operands_broadcast(name: str) -> None:
    schema, rng = onnx.defs.get_schema(name), np.random.default_rng(0)
    kinds = {"tensor(float)": np.float32, "tensor(bool)": np.bool_, "tensor(uint8)": np.uint8}
    arrays = []
    for k in range(3 if name == "Where" else 2):
        types = schema.inputs[min(k, len(schema.inputs) - 1)].types
        kind = next(kind for entry, kind in kinds.items() if entry in types)
        arrays.append(rng.integers(1, 4, (4, 5) if k == 0 else (5,)).astype(kind))
    assert evaluate(name, *arrays).shape == (4, 5)
    assert Trait.ELEMENTWISE in STANDARD[name].traits


VIEWS = sorted(name for name, spec in STANDARD.items() if Trait.VIEW in spec.traits)
OTHERS |= {"Reshape": [np.array([4, 6])], "Squeeze": [np.array([0])], "Unsqueeze": [np.array([0])]}


@pytest.mark.parametrize("name", VIEWS)
def test_views_change_no_element(name: str) -> None:
    shape = (1, 1, 4, 6) if name == "SpaceToDepth" else (1, 4, 2, 3)
    x = np.random.default_rng(0).permutation(24).astype(np.float32).reshape(shape)
    y = evaluate(name, x, *OTHERS.get(name, []))
    assert sorted(y.ravel()) == sorted(x.ravel())
    assert np.array_equal(y.ravel(), x.ravel()) == (Trait.RESHAPE in STANDARD[name].traits)


@pytest.mark.parametrize(
    ("part", "trait", "others"),
    [
        ("Reduce", Trait.REDUCTION, set()),
        ("Pool", Trait.POOL, {"MaxRoiPool", "MaxUnpool"}),
        ("Conv", Trait.CONVOLUTION, set()),
        ("Normalization", Trait.NORM, set()),
        ("MatMul", Trait.LINEAR, set()),
        ("Gemm", Trait.LINEAR, set()),
        ("Random", Trait.RANDOM, set()),
        ("elu", Trait.ACTIVATION, set()),
    ],
)
def test_families_that_names_tell(part: str, trait: Trait, others: set[str]) -> None:
    family = [spec for spec in SPECS if part in spec.name and spec.name not in others]
    assert family
    assert [spec.name for spec in family if trait not in spec.traits] == []
