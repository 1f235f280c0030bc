"""Every operator that the analysis understands is followed by the rewrite and the emitter, or says why it isn't."""

from __future__ import annotations

import onnx
import pytest

from chanc.analysis.rules import REGISTRY as ANALYSIS
from chanc.backends.torch.emitter import REGISTRY as EMITTERS
from chanc.registry import Operators
from chanc.rewriter.rules import REGISTRY as REWRITE

# Operators that hold sizes, counts or indices in attributes or constants, but none that a resize changes.
FOLLOWS = {
    "AffineGrid": "its size names an image, whose channels it doesn't read",
    "ArgMax": "the axis that is searched stays",
    "ArgMin": "the axis that is searched stays",
    "AveragePool": "kernel, strides and pads are spatial",
    "BatchNormalization": "one value a channel: its vectors are parameters",
    "BlackmanWindow": "makes no channels",
    "CenterCropPad": "the axes it names stay",
    "Col2Im": "image and block are spatial; the channels are what is left over",
    "CumProd": "the axis it names stays",
    "CumSum": "the axis it names stays",
    "DFT": "the axis it names stays",
    "DepthToSpace": "the block size stays; whole blocks go",
    "DequantizeLinear": "scale and zero point are parameters",
    "Einsum": "letters name axes, not sizes",
    "Flatten": "cut at an axis, not at a size",
    "GatherElements": "pinned where channels are near",
    "Gemm": "only its weights have sizes",
    "GridSample": "the grid is spatial",
    "HammingWindow": "makes no channels",
    "HannWindow": "makes no channels",
    "If": "its branches are rewritten node by node",
    "InstanceNormalization": "one value a channel: its vectors are parameters",
    "LRN": "its window slides over whatever channels there are",
    "LayerNormalization": "counts axes from the right; its vectors are parameters",
    "LpPool": "kernel, strides and pads are spatial",
    "Loop": "its body is rewritten node by node",
    "MaxPool": "kernel, strides and pads are spatial",
    "MaxRoiPool": "the pooled shape is spatial",
    "MelWeightMatrix": "makes no channels",
    "MeanVarianceNormalization": "names axes, not sizes",
    "Multinomial": "positions come out",
    "OneHot": "depth counts classes, not channels",
    "Optional": "holds whatever is there",
    "RMSNormalization": "counts axes from the right; its vectors are parameters",
    "RandomNormal": "makes no channels",
    "RandomUniform": "makes no channels",
    "ReverseSequence": "the axes it names stay",
    "RoiAlign": "the output size is spatial",
    "STFT": "makes no channels",
    "Scan": "its body is rewritten node by node; the axes it names stay",
    "Scatter": "pinned where channels are near",
    "ScatterElements": "pinned where channels are near",
    "Shape": "reads the new sizes by itself",
    "SoftmaxCrossEntropyLoss": "makes no channels",
    "SpaceToDepth": "the block size stays",
    "Squeeze": "names axes, not sizes",
    "TensorScatter": "the axis it names stays",
    "TopK": "the axis that is searched stays",
    "Transpose": "names axes, not sizes",
    "Trilu": "both axes stay",
    "Unique": "positions come out",
    "Unsqueeze": "names axes, not sizes",
    "Upsample": "its scales are 1 on a channel axis",
    "QuantizeLinear": "scale and zero point are parameters",
    "ConcatFromSequence": "joins whatever is there",
    "Constant": "what it holds is no parameter",
    "NegativeLogLikelihoodLoss": "makes no channels",
    "NonMaxSuppression": "positions come out",
}
# Attributes that can't speak of a width.
HARMLESS = {
    "alpha", "beta", "gamma", "lambd", "bias", "epsilon", "momentum", "value", "axis", "axes", "keepdims", "dtype",
    "to", "saturate", "approximate", "min", "max", "ratio", "seed", "high", "low", "mean", "scale", "mode",
    "direction", "p", "noop_with_empty_axes", "select_last_index", "largest", "sorted", "exclusive", "reverse",
    "upper", "fmod", "stash_type", "transA", "transB", "training_mode", "detect_positive", "detect_negative",
    "consumed_inputs", "is_test", "broadcast", "round_mode", "k", "to_type", "spatial",
}  # fmt: skip
# Operators without an emitter: building a torch module of them is refused by name.
REFUSED = {
    "BitCast", "BlackmanWindow", "CenterCropPad", "CumProd", "HammingWindow", "HannWindow", "MaxRoiPool",
    "MelWeightMatrix", "Multinomial", "NegativeLogLikelihoodLoss", "Optional", "OptionalGetElement",
    "OptionalHasElement", "RandomNormal", "RandomUniform", "SoftmaxCrossEntropyLoss", "TensorScatter", "Unique",
}  # fmt: skip
# Written into the standard domain by onnxruntime, and by nobody else.
FOREIGN = {"SimplifiedLayerNormalization"}


def standard(registry: Operators) -> set[str]:
    return {name for domain, name in registry.names() if not domain} - FOREIGN


def schemas(name: str) -> list[onnx.defs.OpSchema]:
    return [s for s in onnx.defs.get_all_schemas_with_history() if s.name == name and not s.domain]


@pytest.mark.parametrize("name", sorted(standard(ANALYSIS)))
def test_widths_in_attributes_are_followed(name: str) -> None:
    """An operator with any other attribute than the harmless ones is rewritten, or follows for a reason given."""
    versions = schemas(name)
    assert versions, f"{name} is not an operator of ONNX"
    attributes = {attribute for schema in versions for attribute in schema.attributes}
    sizes = {i.name for schema in versions for i in schema.inputs if "int64" in i.type_str and "T" not in i.type_str}
    telling = (attributes | sizes) - HARMLESS
    assert not telling or name in standard(REWRITE) or name in FOLLOWS, f"{name} has {sorted(telling)}"


def test_no_reason_is_given_twice() -> None:
    assert not set(FOLLOWS) & standard(REWRITE)
    assert set(FOLLOWS) <= standard(ANALYSIS)


def test_what_is_rewritten_is_understood() -> None:
    assert standard(REWRITE) <= standard(ANALYSIS)


def test_what_is_understood_is_emitted_or_refused() -> None:
    emitted = {name for domain, name in EMITTERS.names() if not domain}
    assert standard(ANALYSIS) - emitted == REFUSED & standard(ANALYSIS)
    assert not REFUSED & emitted
