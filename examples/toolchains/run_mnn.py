"""Rewritten networks in MNN: halved to odd widths, and grown; the same answers as in onnxruntime.

python examples/toolchains/run_mnn.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import MNN
import numpy as np
import onnx
from network import Array, answer, apart, image, network, widths

import chanc


def in_mnn(model: onnx.ModelProto, pixels: Array, folder: Path) -> Array:
    """What MNN makes of an input, in float32."""
    onnx.save(model, folder / "net.onnx")
    convert = Path(sys.executable).with_name("mnnconvert")
    asked = ["-f", "ONNX", "--modelFile", "net.onnx", "--MNNModel", "net.mnn", "--bizCode", "chanc"]
    subprocess.run([convert, *asked], cwd=folder, check=True, capture_output=True)
    output = model.graph.output[0].name
    net = MNN.nn.load_module_from_file(
        str(folder / "net.mnn"), ["image"], [output], precision_mode=MNN.expr.PrecisionMode.High
    )
    fed = MNN.expr.convert(MNN.expr.const(pixels, list(pixels.shape), MNN.expr.NCHW), MNN.expr.NCHW)
    return np.array(MNN.expr.convert(net.forward([fed])[0], MNN.expr.NCHW).read())


def main() -> None:
    """One line a network."""
    for scale in (0.45, 1.4):
        model = chanc.rewrite(network(), scale=scale).model
        with tempfile.TemporaryDirectory() as folder:
            far = apart(answer(model, image()), in_mnn(model, image(), Path(folder)))
        print(f"MNN: widths {widths(model)}, largest difference {far:.1e}")


if __name__ == "__main__":
    main()
