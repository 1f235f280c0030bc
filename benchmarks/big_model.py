"""Peak memory and time of loading, saving, halving and widening a model over 2 GB with external data.

usage: python benchmarks/big_model.py [--gb 3] [--repeats 3] [--rows load check save half wide] [--folder FOLDER]
                                      [--out benchmarks/results/big_model.md]

The model is a chain of 1024-channel 3x3 convolutions, made on the spot and removed again. Each row is a fresh process;
peak memory is the resident set's, which counts pages of memory-mapped files too. After each row that writes, as many
bytes are copied as it reads and writes, through a buffer, and flushed to the disk, as the row does. Neither finds
anything of the source in the page cache. Halving takes rows and columns, widening draws new ones, one weight after the
other, while they save.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from arguments import at_least, folder, target
from onnx import TensorProto, helper

CHANNELS = 1024
SHAPE = (CHANNELS, CHANNELS, 3, 3)
WEIGHT_BYTES = 4 * CHANNELS * CHANNELS * 9
MB = 1 << 20
BUFFER = 16 * MB
WHAT = {"load": "load", "check": "load, check", "save": "load, save", "half": "rewrite to half the widths, save",
        "wide": "rewrite to 1.5 of the widths, save"}  # fmt: skip
SCALES = {"half": 0.5, "wide": 1.5}
WRITE = frozenset({"save", *SCALES})


@dataclass(frozen=True)
class Row:
    """One measurement: seconds, those of CPU, peak memory in MB, bytes read and written, seconds to copy as many."""

    seconds: float
    cpu: float
    mb: float
    read: int
    written: int
    copy: float


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
    """In a child process: do it and print seconds, of CPU too, and the rise of peak memory over the imports, in MB."""
    import chanc.ir
    from chanc.rewriter import rewrite

    base, start, cpu = peak_mb(), time.perf_counter() - waited(), time.process_time()
    model = rewrite(source, scale=SCALES[what]).model if what in SCALES else chanc.ir.load(source)
    if what == "check":
        chanc.ir.check(model)
    if what in WRITE:
        chanc.ir.save(model, target)
    end = time.perf_counter() - waited()
    print(json.dumps({"seconds": end - start, "cpu": time.process_time() - cpu, "mb": peak_mb() - base}))


def peak_mb() -> float:
    """Peak resident memory. On Linux `ru_maxrss` starts at the parent's; VmHWM is this program's own."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def waited() -> float:
    """Seconds for which this thread was ready to run and had no core: other work's fault, and none of the disk's."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


def copied(source: Path, target: Path, size: int) -> float:
    """Seconds in which the whole of `source` is read and `size` bytes of it are written and flushed."""
    whole, buffer, read, written = source.stat().st_size, memoryview(bytearray(BUFFER)), 0, 0
    start = time.perf_counter() - waited()
    with source.open("rb", buffering=0) as given, target.open("wb", buffering=0) as taken:
        while count := given.readinto(buffer):
            read += count
            while (left := size * read // whole - written) > 0:
                written += taken.write(buffer[: min(left, count)])
        os.fsync(taken.fileno())
    return time.perf_counter() - waited() - start


def forget(path: Path) -> None:
    """Take a file out of the page cache."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(gigabytes: float, folder: Path, rows: Sequence[str], repeats: int = 1) -> dict[str, list[Row]]:
    """The measurements of each row; and an error where the saved weights aren't the ones that were made."""
    source, target = folder / "big.onnx", folder / "out" / "big.onnx"
    weights, written = source.with_name("big.onnx.weights"), target.with_name("big.onnx.data")
    target.parent.mkdir()
    make(source, gigabytes)
    found: dict[str, list[Row]] = {what: [] for what in rows}
    for what in list(rows) * repeats:
        forget(weights)
        command = [sys.executable, __file__, "--child", what, str(source), str(target)]
        done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        size, copy = 0, 0.0
        if what in WRITE:
            size = written.stat().st_size
            if what == "save" and not found[what]:
                compare(source, target)
            written.unlink()
            forget(weights)
            copy = copied(weights, written, size)
            written.unlink()
        found[what].append(Row(done["seconds"], done["cpu"], done["mb"], weights.stat().st_size, size, copy))
        print(what, found[what][-1], file=sys.stderr, flush=True)
    return found


def compare(source: Path, target: Path) -> None:
    import chanc.ir

    before, after = (chanc.ir.load(path).graph.initializers for path in (source, target))
    assert list(before) == list(after)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name].const_value.numpy(), value.const_value.numpy())
        for tensor in (after[name].const_value, value.const_value):
            tensor.release()


def line(what: str, rows: Sequence[Row]) -> str:
    """One line of the table: medians, and the least and the largest of the shares."""
    mb, read, size = max(row.mb for row in rows), rows[0].read / MB, rows[0].written / MB
    seconds, cpu, copy = (statistics.median(getattr(row, name) for row in rows) for name in ("seconds", "cpu", "copy"))
    text = f"| {what} | {len(rows)} | {read:.0f} | {size:.0f} | {seconds:.1f} | {cpu:.1f} | {mb:.0f} | {mb / read:.1%} "
    if not size:
        return f"{text}| | | |"
    speeds = [row.copy / row.seconds for row in rows]
    return (f"{text}| {mb / max(read, size):.1%} | {copy:.1f} "
            f"| {statistics.median(speeds):.2f} ({min(speeds):.2f} to {max(speeds):.2f}) |")  # fmt: skip


def page(found: dict[str, list[Row]], gigabytes: float, repeats: int) -> str:
    return "\n".join([
        "# A model over 2 GB", "", f"`python benchmarks/big_model.py --gb {gigabytes:g} --repeats {repeats}`", "",
        *__doc__.split("\n\n")[2].strip().split("\n"), "",
        f"Python {platform.python_version()}, numpy {np.__version__}, onnx {onnx.__version__}; {os.cpu_count()} CPU "
        "cores and a disk, both shared with other work.",
        "Megabytes of weights; seconds on the clock, but for those without a core, and of CPU, medians; memory is the "
        "largest of all runs.",
        "The speed is that of copying the same bytes divided into the row's, run by run: 1 is as fast as copying.", "",
        "| | runs | reads, MB | writes, MB | seconds | of CPU | peak, MB | of the file read | of the larger file "
        "| copying, s | speed of copying |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(line(WHAT[what], rows) for what, rows in found.items()), "",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=at_least(WEIGHT_BYTES / (1 << 30)), default=3)
    parser.add_argument("--repeats", type=at_least(1), default=3)
    parser.add_argument("--rows", nargs="+", choices=WHAT, default=list(WHAT))
    parser.add_argument("--folder", type=folder, default=None)
    parser.add_argument("--out", type=target)
    parser.add_argument("--child", nargs=3, metavar=("WHAT", "SOURCE", "TARGET"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        work(options.child[0], Path(options.child[1]), Path(options.child[2]))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as inside:
        text = page(measure(options.gb, Path(inside), options.rows, options.repeats), options.gb, options.repeats)
    print(text, end="")
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
