"""Peak memory and time of loading, saving and halving a model over 2 GB with external data.

usage: python benchmarks/big_model.py [--gb 3] [--folder FOLDER]

The model is a chain of 1024-channel 3x3 convolutions, made on the spot and removed again. Each row is a fresh process;
peak memory is the resident set's, which counts pages of memory-mapped files too.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from arguments import at_least, folder
from onnx import TensorProto, helper

CHANNELS = 1024
SHAPE = (CHANNELS, CHANNELS, 3, 3)
WEIGHT_BYTES = 4 * CHANNELS * CHANNELS * 9


def make(path: Path, gigabytes: float) -> None:
    """Write the model to `path` and its weights, random with a scale of 0.01, to `<path>.weights`."""
    count = round(gigabytes * (1 << 30) / WEIGHT_BYTES)
    weight = (np.random.default_rng(0).standard_normal(SHAPE) * 0.01).astype(np.float32)
    tensors, nodes = [], []
    with path.with_name(path.name + ".weights").open("wb") as file:
        for index in range(count):
            weight[0, 0, 0, 0] = index
            file.write(weight.data)
            tensors.append(TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=SHAPE))
            tensors[-1].data_location = TensorProto.EXTERNAL
            places = {"location": file.name.rpartition("/")[2], "offset": index * WEIGHT_BYTES, "length": WEIGHT_BYTES}
            for key, value in places.items():
                tensors[-1].external_data.add(key=key, value=str(value))
            nodes.append(helper.make_node("Conv", [f"t{index}", f"w{index}"], [f"t{index + 1}"], pads=[1, 1, 1, 1]))
    image = ["N", CHANNELS, 8, 8]
    ends = [helper.make_tensor_value_info(f"t{index}", TensorProto.FLOAT, image) for index in (0, count)]
    graph = helper.make_graph(nodes, "big", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def work(what: str, source: Path, target: Path) -> None:
    """In a child process: do it and print seconds and the rise of peak memory over the imports, in MB."""
    import chanc.ir

    base, start = peak_mb(), time.perf_counter()
    if what == "rewrite":
        from chanc.rewriter import rewrite

        model = rewrite(source, scale=0.5).model
    else:
        model = chanc.ir.load(source)
    if what == "check":
        chanc.ir.check(model)
    if what in ("save", "rewrite"):
        chanc.ir.save(model, target.with_name(f"{what}.onnx"))
    print(json.dumps({"what": what, "seconds": time.perf_counter() - start, "mb": peak_mb() - base}))


def peak_mb() -> float:
    """Peak resident memory. On Linux `ru_maxrss` starts at the parent's; VmHWM is this program's own."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(gigabytes: float, folder: Path) -> dict[str, dict[str, float]]:
    """Rows by name: load, check, save; and whether the saved weights are the ones that were made."""
    source, target = folder / "big.onnx", folder / "out" / "big.onnx"
    target.parent.mkdir()
    make(source, gigabytes)
    rows = {}
    for what in ("load", "check", "save", "rewrite"):
        command = [sys.executable, __file__, "--child", what, str(source), str(target)]
        rows[what] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    compare(source, target.with_name("save.onnx"))
    return rows


def compare(source: Path, target: Path) -> None:
    import chanc.ir

    before, after = (chanc.ir.load(path).graph.initializers for path in (source, target))
    assert list(before) == list(after)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name].const_value.numpy(), value.const_value.numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=at_least(WEIGHT_BYTES / (1 << 30)), default=3)
    parser.add_argument("--folder", type=folder, default=None)
    parser.add_argument("--child", nargs=3, metavar=("WHAT", "SOURCE", "TARGET"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        work(options.child[0], Path(options.child[1]), Path(options.child[2]))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as inside:
        for what, row in measure(options.gb, Path(inside)).items():
            share = row["mb"] / (options.gb * 1024)
            print(f"{what:8} {row['seconds']:7.2f} s {row['mb']:8.0f} MB   {share:6.1%} of the file")


if __name__ == "__main__":
    main()
