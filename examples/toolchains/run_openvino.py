"""Rewritten networks in OpenVINO: halved to odd widths, and grown; the same answers as in onnxruntime.

python examples/toolchains/run_openvino.py
"""

from __future__ import annotations

import onnx
import openvino as ov
from network import Array, answer, apart, image, network, widths

import chanc


def in_openvino(model: onnx.ModelProto, pixels: Array) -> Array:
    """What OpenVINO makes of an input, in float32."""
    core = ov.Core()
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return compiled([pixels])[0]


def main() -> None:
    """One line a network."""
    for scale in (0.45, 1.4):
        model = chanc.rewrite(network(), scale=scale).model
        far = apart(answer(model, image()), in_openvino(model, image()))
        print(f"OpenVINO: widths {widths(model)}, largest difference {far:.1e}")


if __name__ == "__main__":
    main()
