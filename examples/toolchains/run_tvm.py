"""Rewritten networks compiled by TVM: halved to odd widths, and grown; the same answers as in onnxruntime.

python examples/toolchains/run_tvm.py
"""

from __future__ import annotations

import onnx
import tvm
from network import Array, answer, apart, image, network, widths
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

import chanc


def in_tvm(model: onnx.ModelProto, pixels: Array) -> Array:
    """What TVM's code for this CPU makes of an input."""
    module = relax.transform.DecomposeOpsForInference()(from_onnx(model, keep_params_in_input=False))
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
    return machine["main"](tvm.runtime.tensor(pixels)).numpy()


def main() -> None:
    """One line a network."""
    for scale in (0.45, 1.4):
        model = chanc.rewrite(network(), scale=scale).model
        far = apart(answer(model, image()), in_tvm(model, image()))
        print(f"TVM: widths {widths(model)}, largest difference {far:.1e}")


if __name__ == "__main__":
    main()
