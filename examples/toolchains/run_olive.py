"""chanc's pass in a workflow of Olive, between passes of Olive's own.

python examples/toolchains/run_olive.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("OLIVE_DISABLE_TELEMETRY", "1")

import onnx
from network import answer, apart, image, network, widths
from olive.workflows import run

import chanc
from chanc.passes.olive import write_package_config


def main() -> None:
    """Halve, then optimise; compared with the network that chanc alone halves."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        onnx.save(network(), folder / "in.onnx")
        write_package_config(folder / "chanc-olive.json")
        workflow = {
            "input_model": {"type": "ONNXModel", "model_path": str(folder / "in.onnx")},
            "passes": {
                "halve": {"type": "ChancResizeWidths", "scale": 0.5},
                "optimise": {"type": "OnnxPeepholeOptimizer", "onnxoptimizer_optimize": False},
            },
            "output_dir": str(folder / "out"),
            "cache_dir": str(folder / "cache"),
            "log_severity_level": 4,
        }
        found = run(workflow, package_config=str(folder / "chanc-olive.json"))
        done = onnx.load(found.get_best_candidate().model_path)
    alone = chanc.rewrite(network(), scale=0.5).model
    norms = sum(node.op_type == "BatchNormalization" for node in done.graph.node)
    far = apart(answer(alone, image()), answer(done, image()))
    print(f"Olive: widths {widths(done)}, {norms} BatchNormalizations, largest difference {far:.1e}")


if __name__ == "__main__":
    main()
