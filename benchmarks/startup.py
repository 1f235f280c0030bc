"""Commands as whole processes, from the interpreter's start to its end: chanc's beside onnxsim's, on one network.

Install beside chanc: onnxsim==0.8.1. The network is torchvision's as an ONNX file with BatchNorm kept
(`tv_NAME.ts.onnx`, or a skeleton `.onnx.gz`, whose weights are made up).

    python benchmarks/startup.py MODELS [--network resnet50] [--repeats 9] [--out benchmarks/results/startup.md]

Figures are CPU time of all threads, as the system counts it for each process. All run in turn, after once to warm up,
by which bytecode is compiled and kept.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import onnx
from arguments import at_least, folder, require, target

from chanc.testing.skeletons import open_model

LATER = "from chanc.cli.sympy_later import sympy_later; sympy_later(); import onnx_ir"
PRUNE = """
import onnx, onnxsim
onnx.save(onnxsim.apply_structured_pruning(onnxsim.simplify(onnx.load("model.onnx"))[0], sparsity=0.5), "sim.onnx")
"""
COMMANDS = {
    "chanc --version": ["-m", "chanc", "--version"],
    "chanc --help": ["-m", "chanc", "--help"],
    "chanc analyze": ["-m", "chanc", "analyze", "model.onnx"],
    "chanc rewrite --scale 0.5 --no-verify":
        ["-m", "chanc", "rewrite", "model.onnx", "--scale", "0.5", "--no-verify", "-o", "half.onnx"],
    "onnxsim --help": ["-m", "onnxsim", "--help"],
    "onnxsim": ["-m", "onnxsim", "model.onnx", "sim.onnx"],
    "onnxsim, simplify and prune": ["-c", PRUNE],
}  # fmt: skip
STEPS = {
    "Python": "pass",
    "NumPy": "import numpy",
    "onnx": "import numpy, onnx",
    "onnx_ir, without SymPy": LATER,
    "chanc, click, rich": f"{LATER}; import chanc.cli.analyze, chanc.analysis, chanc.report.tables, rich.console",
}
"""What `chanc analyze` imports, each with what stands above it."""
WITH_SYMPY = "import onnx_ir"
PAIRS = (("chanc --help", "onnxsim --help"), ("chanc analyze", "onnxsim"),
         ("chanc rewrite --scale 0.5 --no-verify", "onnxsim, simplify and prune"))  # fmt: skip


def cpu_seconds(arguments: list[str], place: Path) -> float:
    """CPU time of a process of this interpreter, run in a folder. Ends the benchmark where it fails."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(place / "bytecode"), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with (place / "said").open("w") as said:
        child = subprocess.Popen([sys.executable, *arguments], cwd=place, env=environment, stdout=said, stderr=said)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {(place / 'said').read_text().strip()[-500:]}")
    return usage.ru_utime + usage.ru_stime


def measure(place: Path, repeats: int) -> dict[str, list[float]]:
    """The seconds of each command and of each step, run in turn."""
    runs = {**COMMANDS, **{name: ["-c", code] for name, code in STEPS.items()}, WITH_SYMPY: ["-c", WITH_SYMPY]}
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, arguments in runs.items():
            seconds = cpu_seconds(arguments, place)
            if turn:
                found[name].append(seconds)
        print(f"turn {turn} of {repeats}", flush=True)
    return found


def row(name: str, seconds: list[float]) -> str:
    return f"| {name} | {statistics.median(seconds):.3f} | {min(seconds):.3f} to {max(seconds):.3f} |"


def ratio(found: dict[str, list[float]], mine: str, other: str) -> str:
    """How many times the CPU time of one command the other takes: the median over the turns, and the range."""
    times = [two / one for one, two in zip(found[mine], found[other], strict=True)]
    return f"| {mine} | {other} | {statistics.median(times):.1f} | {min(times):.1f} to {max(times):.1f} |"


def report(found: dict[str, list[float]], network: str, command: str) -> str:
    """The tables as markdown."""
    packages = ("onnxsim", "onnx", "onnx-ir", "sympy", "numpy", "click", "rich")
    names = ", ".join(f"{name} {version(name)}" for name in packages)
    lines = [
        "# Commands as whole processes", "",
        f"`{command}`", "",
        f"{network}; Python {platform.python_version()}, {names}; {os.cpu_count()} CPU cores, shared with other work.",
        f"Seconds of CPU, all threads, medians of {len(found['Python'])} processes of each, run in turn. onnxsim has",
        "no command that prunes; it is called from Python, as in [pruning](pruning.md).", "",
        "| command | CPU, s | lowest to highest |", "|---|---|---|", *(row(name, found[name]) for name in COMMANDS),
        "", "| chanc | onnxsim | times chanc's CPU time | lowest to highest turn |", "|---|---|---|---|",
        *(ratio(found, *pair) for pair in PAIRS),
        "", "## Where `chanc analyze` spends it", "",
        "Each step is a process of its own that imports that much; its share is what it takes more than the one above.",
        "",
        "| | CPU, s | of it |", "|---|---|---|",
    ]  # fmt: skip
    medians = {name: statistics.median(found[name]) for name in (*STEPS, "chanc analyze")}
    whole, before = medians["chanc analyze"], 0.0
    for name, seconds in medians.items():
        told = "the work: reading, checking, analysis" if name == "chanc analyze" else name
        lines.append(f"| {told} | {seconds - before:.3f} | {(seconds - before) / whole:.0%} |")
        before = seconds
    spared = statistics.median(found[WITH_SYMPY]) - medians["onnx_ir, without SymPy"]
    lines += ["", f"SymPy, which onnx_ir imports where chanc's command line doesn't keep it from it, would add "
              f"{spared:.3f} s."]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=folder)
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--repeats", type=at_least(1), default=9)
    parser.add_argument("--out", type=target)
    args = parser.parse_args()
    require(parser, "onnxsim")
    files = [args.models / f"tv_{args.network}.ts.onnx{end}" for end in ("", ".gz")]
    file = next((file for file in files if file.exists()), None)
    if file is None:
        parser.error(f"{args.models} has neither {files[0].name} nor {files[1].name}")
    with tempfile.TemporaryDirectory() as name:
        onnx.save(open_model(file) if file.suffix == ".gz" else onnx.load(file), Path(name) / "model.onnx")
        found = measure(Path(name), args.repeats)
    text = report(found, args.network, f"python benchmarks/startup.py MODELS --repeats {args.repeats}")
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
