"""The same search with other kernels of NumPy's and torch's linear algebra and other numbers of threads.

Each environment is a process of its own, in which the figures of one fixed set of weights are measured too. Then every
run is gone on with in the next environment, which is to say in what they differ, and where nothing is said of threads,
with as many as before.
"""

from __future__ import annotations

import itertools
import json
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
    places = [(kernel, threads) for kernel, threads in itertools.product(able, THREADS)]
    for place in places:
        _run("begin", folder / _name(*place), *place)
    told = [_run("figures", folder / _name(*place), *place) for place in places]
    records = [json.loads((folder / _name(*place) / "config.json").read_text())["environment"] for place in places]
    apart = len({json.dumps([one[name] for name in ("threads", "simd", "blas")]) for one in records}) == len(places)
    said = 0
    for before, now in zip(places, [*places[1:], places[0]], strict=True):
        lines = " ".join(_run("resume", folder / _name(*before), *now))
        said += "the run was begun with another environment" in lines and "blas.numpy was" in lines
    restored = [_run("threads", folder / _name(*place), place[0], None) == [str(place[1])] for place in places]
    figures = [json.loads(lines[-1]) for lines in told]
    furthest = max(abs(one[key] - figures[0][key]) for one in figures for key in figures[0])
    held = [apart, furthest <= TOLERANCE, *[True] * said, *restored]
    return (f"environments: {len(able)} kernels of OpenBLAS with torch's instructions beside them, one and two threads",
            2 + 2 * len(places), sum(held),
            f"the record tells them apart; each resumed in another says so; threads are restored; figures of the same "
            f"weights differ by {furthest:.0e} at most")  # fmt: skip


def _name(kernel: str, threads: int) -> str:
    return f"{kernel}-{threads}"


def _run(what: str, place: Path, kernel: str, threads: int | None) -> list[str]:
    """The lines that a step prints in an environment; without threads, none are set."""
    known = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    more = {"OPENBLAS_CORETYPE": kernel, "ATEN_CPU_CAPABILITY": KERNELS[kernel][1]}
    counts = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, __file__, what, str(place)], env={**known, **more, **counts},
                          capture_output=True, text=True)  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{what} in {kernel}, {threads} threads: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.splitlines()


def step(what: str, place: Path) -> None:
    """In a child process."""
    if what == "figures":
        print(json.dumps(figures()))
    elif what == "threads":
        import torch

        from chanc.runs.environment import threads_as_begun

        torch.set_num_threads(len(os.sched_getaffinity(0)) + 1)
        with threads_as_begun(place):
            print(torch.get_num_threads())
    else:
        import tiny
        from rich.console import Console

        from chanc.study.study import search

        if what == "begin":
            tiny.search(place)
        else:
            search(out=place, resume=True, console=Console(width=10_000), quiet=False)


def figures() -> dict[str, float]:
    """All figures of four layers, in float32 as a training leaves them, by NumPy and by torch."""
    import numpy as np
    import torch

    from chanc.metrics.quality import layers_quality

    draw = np.random.default_rng(0)
    shapes = [(16, 8, 3, 3), (64, 32, 3, 3), (128, 64, 1, 1), (10, 128)]
    weights = {f"w{number}": draw.standard_normal(shape).astype(np.float32) for number, shape in enumerate(shapes)}
    found = {"numpy": weights, "torch": {name: torch.from_numpy(weight) for name, weight in weights.items()}}
    return {f"{kind}.{name}.{key}": value for kind, given in found.items()
            for name, quality in layers_quality(given).items() for key, value in quality.as_dict().items()}  # fmt: skip


if __name__ == "__main__":
    step(sys.argv[1], Path(sys.argv[2]))
