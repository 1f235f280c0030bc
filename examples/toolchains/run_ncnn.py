"""Rewritten networks in ncnn, converted by pnnx: halved to odd widths, and grown; the same answers as in onnxruntime.

python examples/toolchains/run_ncnn.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import ncnn
import numpy as np
import onnx
from network import Array, answer, apart, image, network, widths

import chanc


def in_ncnn(model: onnx.ModelProto, pixels: Array, folder: Path) -> Array:
    """What ncnn makes of an input, in float32."""
    onnx.save(model, folder / "net.onnx")
    pnnx = Path(sys.executable).with_name("pnnx")
    subprocess.run([pnnx, "net.onnx", "fp16=0"], cwd=folder, check=True, capture_output=True)
    net = ncnn.Net()
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_fp16_packed = False
    net.load_param(str(folder / "net.ncnn.param"))
    net.load_model(str(folder / "net.ncnn.bin"))
    with net.create_extractor() as run:
        run.input(net.input_names()[0], ncnn.Mat(pixels[0]))
        return np.array(run.extract(net.output_names()[0])[1])[None]


def main() -> None:
    """One line a network."""
    for scale in (0.45, 1.4):
        model = chanc.rewrite(network(), scale=scale).model
        with tempfile.TemporaryDirectory() as folder:
            far = apart(answer(model, image()), in_ncnn(model, image(), Path(folder)))
        print(f"ncnn: widths {widths(model)}, largest difference {far:.1e}")


if __name__ == "__main__":
    main()
