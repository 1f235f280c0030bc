"""The same search with other kernels of NumPy's and torch's linear algebra and other numbers of threads.

Each environment is a process of its own. There a search is begun, the figures of one fixed set of weights are measured,
and the run of the environment before is gone on with, which is to say in what the two differ; at last the number of
threads is left open, and has to be that of the record.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

KERNELS = {"Prescott": ("pni", "default"), "Haswell": ("avx2", "avx2"), "SkylakeX": ("avx512vl", "avx512")}
"""OpenBLAS's kernel: what the CPU needs for it, and torch's instructions beside it."""

THREADS = (1, 2)
TOLERANCE = 1e-9


def measure(folder: Path) -> tuple[str, int, int, str]:
    """What was tried, how often, how often it held, and the largest difference of a figure."""
    flags = Path("/proc/cpuinfo").read_text().split()
    able = [name for name, (needed, _) in KERNELS.items() if needed in flags]
    places = list(itertools.product(able, THREADS))
    folders = [folder / f"{kernel}-{threads}" for kernel, threads in places]
    seen = [_run(*place, mine, before) for place, mine, before in zip(places, folders, ["", *folders], strict=False)]
    records = [json.loads((place / "config.json").read_text())["environment"] for place in folders]
    apart = {json.dumps([one[name] for name in ("threads", "simd", "blas")]) for one in records}
    furthest = max(abs(one["figures"][key] - value) for one in seen for key, value in seen[0]["figures"].items())
    held = [
        len(apart) == len(places),
        furthest <= TOLERANCE and all(seen[0]["figures"].values()),
        *("begun with another environment" in one["said"] and "blas.numpy was" in one["said"] for one in seen[1:]),
        *(one["threads"] == threads for one, (_, threads) in zip(seen, places, strict=True)),
    ]
    return (
        f"checks of one search in {len(places)} environments: {len(able)} kernels of OpenBLAS, with torch's "
        f"instructions beside them, times one and two threads",
        len(held),
        sum(held),
        f"the record tells all apart; each run resumed in the next one says so; left open, the threads are those of "
        f"the record; the {len(seen[0]['figures'])} figures of the same weights differ by {furthest:.0e} at most",
    )


def _run(kernel: str, threads: int, place: Path, before: Path | str) -> dict:
    """What the process of an environment tells."""
    more = {"OPENBLAS_CORETYPE": kernel, "ATEN_CPU_CAPABILITY": KERNELS[kernel][1], "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, __file__, place, before], env={**os.environ, **more},
                          capture_output=True, text=True)  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{kernel}, {threads} threads: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def work(place: Path, before: str) -> None:
    """In a child process."""
    import tiny
    import torch
    from rich.console import Console

    from chanc.runs.environment import GIVEN, threads_as_begun
    from chanc.study.study import search

    tiny.search(place)
    said = io.StringIO()
    if before:
        search(out=before, resume=True, console=Console(file=said, width=10_000), quiet=False)
    told = {"figures": figures(), "said": said.getvalue()}
    for name in GIVEN:
        os.environ.pop(name, None)
    torch.set_num_threads(3)
    with threads_as_begun(place):
        print(json.dumps({**told, "threads": torch.get_num_threads()}))


def figures() -> dict[str, float]:
    """All figures of four layers, in float32 as a training leaves them, by NumPy and by torch."""
    import numpy as np
    import torch

    from chanc.metrics.quality import layers_quality

    draw = np.random.default_rng(0)
    shapes = [(16, 8, 3, 3), (64, 32, 3, 3), (128, 64, 1, 1), (10, 128)]

    def weight(out: int, *rest: int) -> np.ndarray:
        signal = draw.standard_normal((out, out // 4)) @ draw.standard_normal((out // 4, math.prod(rest)))
        return (signal + 0.5 * draw.standard_normal(signal.shape)).reshape(out, *rest).astype(np.float32)

    weights = {f"w{number}": weight(*shape) for number, shape in enumerate(shapes)}
    found = {"numpy": weights, "torch": {name: torch.from_numpy(weight) for name, weight in weights.items()}}
    return {f"{kind}.{name}.{key}": value for kind, given in found.items()
            for name, quality in layers_quality(given).items() for key, value in quality.as_dict().items()}  # fmt: skip


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2])
