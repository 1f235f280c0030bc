"""onnxruntime's static quantisation after a rewrite, and a rewrite after it.

    python examples/toolchains/quantize.py

8 bits cost accuracy with any widths: what counts is that the rewritten network loses no more by them than the original,
and that a network which is quantised already can still be halved. There the oracle of shrinking judges.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from network import Array, answer, apart, image, network
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import chanc


class Images(CalibrationDataReader):
    """Some inputs, one at a time."""

    def __init__(self, count: int) -> None:
        self._left = iter([{"image": image(seed)} for seed in range(count)])

    def get_next(self) -> dict[str, Array] | None:
        """The next one, None at the end."""
        return next(self._left, None)


def quantized(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """The model with 8-bit weights and activations, as QuantizeLinear and DequantizeLinear."""
    paths = [str(folder / name) for name in ("float.onnx", "ready.onnx", "int8.onnx")]
    onnx.save(model, paths[0])
    quant_pre_process(paths[0], paths[1])
    quantize_static(paths[1], paths[2], Images(32), quant_format=QuantFormat.QDQ, per_channel=True,
                    weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8)  # fmt: skip
    return onnx.load(paths[2])


def loss(exact: onnx.ModelProto, rounded: onnx.ModelProto) -> float:
    """What 8 bits change, on images that were not calibrated on: the mean of eight."""
    return float(np.mean([apart(answer(exact, image(s)), answer(rounded, image(s))) for s in range(100, 108)]))


def main() -> None:
    """Quantise the original and the rewritten network; then halve the quantised one."""
    with tempfile.TemporaryDirectory() as folder:
        half = chanc.rewrite(network(), scale=0.5).model
        before, after = (loss(model, quantized(model, Path(folder))) for model in (network(), half))
        print(f"rewrite, then quantise: 8 bits change {after:.1%} of the half network, {before:.1%} of the original")
        whole = quantized(network(), Path(folder))
    done = chanc.rewrite(whole, scale=0.5)
    changed = sum(old != new for old, new in done.trace.groups.values())
    verdict = chanc.verify(whole, done.model, trace=done.trace)
    print(f"quantise, then rewrite: {changed} of {len(done.trace.groups)} groups changed; {verdict}")


if __name__ == "__main__":
    main()
