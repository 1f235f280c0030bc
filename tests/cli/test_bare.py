"""Every command where no optional package can be imported: it works, or one line says what to add, no traceback."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from chanc import runs
from chanc.cli import COMMANDS
from chanc.ir import save
from chanc.runs import Decision, Epoch, TrialEvent
from chanc.testing.graphs import Graph

ABSENT = ("torch", "onnxruntime", "matplotlib", "pyarrow", "PIL", "sklearn", "onnxscript", "ray", "safetensors",
          "scipy", "submitit", "onnx_graphsurgeon", "hypothesis")  # fmt: skip

WITHOUT = f"""
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""

ORT = "onnxruntime is needed to run a model and can't be imported: pip install 'chanc[cpu]' (or 'chanc[gpu]')"

# arguments: what is said on stderr, empty where the command works
SAID = {
    "analyze m.onnx": "",
    "analyze m.onnx --deps --metrics": "",
    "analyze m.onnx --json -": "",
    "analyze m.onnx --html page.html": "",
    "rewrite m.onnx -o half.onnx --scale 0.5": f"{ORT}; or rewrite without that check: --no-verify",
    "rewrite m.onnx -o half.onnx --scale 0.5 --no-verify": "",
    "rewrite m.onnx -o wide.onnx --scale 1.5 --transfer widen --no-verify": "",
    "prune m.onnx -o half.onnx --max-params 50%": ORT,
    "prune m.onnx -o h.onnx --max-params 50% --data digits": "pruning by data needs torch: pip install 'chanc[torch]'",
    "verify m.onnx m.onnx": ORT,
    "eval m.onnx --data synthetic": ORT,
    "latency m.onnx": ORT,
    "analyze m.onnx --sensitivity --data synthetic": "a sensitivity needs torch: pip install 'chanc[torch]'",
    "search m.onnx": "a search needs torch: pip install 'chanc[torch]'",
    "search m.onnx --data synthetic": "a search needs torch: pip install 'chanc[torch]'",
    "search m.onnx --data synthetic --max-latency 5": "a search needs torch: pip install 'chanc[torch]'",
    "sweep m.onnx": "a sweep on this machine needs torch: pip install 'chanc[torch]'",
    "sweep m.onnx --workers 2 --data synthetic": "a sweep on this machine needs torch: pip install 'chanc[torch]'",
    "sweep m.onnx --ray local": "--ray needs Ray: pip install 'chanc[ray]'",
    "sweep m.onnx --slurm gpu": "--slurm needs submitit: pip install 'chanc[slurm]'",
    "train m.onnx --data synthetic --epochs 1 -o out.onnx": "training needs torch: pip install 'chanc[torch]'",
    "codegen m.onnx -o source": "codegen needs torch: pip install 'chanc[torch]'",
    "export zoo:resnet18 -o r.onnx": "exporting needs torch: pip install 'chanc[torch]'",
    "export torch:json:loads --input 1,2 -o r.onnx": "exporting needs torch: pip install 'chanc[torch]'",
    "export --list": "the zoo needs torch: pip install 'chanc[torch]'",
    "report finished": "",
    "fsck finished": "",
    "report finished --png pictures": "pip install 'chanc[report]'",
}

# Where another line of the same command says the same.
ALIKE = {
    "analyze m.onnx", "analyze m.onnx --json -", "rewrite m.onnx -o wide.onnx --scale 1.5 --transfer widen --no-verify",
    "search m.onnx", "search m.onnx --data synthetic --max-latency 5", "sweep m.onnx", "eval m.onnx --data synthetic",
    "analyze m.onnx --html page.html", "sweep m.onnx --slurm gpu", "sweep m.onnx --workers 2 --data synthetic",
    "latency m.onnx", "prune m.onnx -o half.onnx --max-params 50%", "analyze m.onnx --sensitivity --data synthetic",
    "export torch:json:loads --input 1,2 -o r.onnx",
}  # fmt: skip
NIGHT = pytest.mark.nightly
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a finished run."""
    home = tmp_path_factory.mktemp("bare")
    graph = Graph(seed=0)
    x = graph.input("image", [2, 3, 32, 32], dynamic={0: "n"}).conv(8, bias=False).bn().relu().conv(12, stride=4).relu()
    save(graph.ir(x.gap().flatten().gemm(10)), home / "m.onnx")
    run = runs.create(home / "finished", {"algo": "greedy"}, {})
    for number in range(3):
        decision = Decision({"a.weight": 16 + number})
        run.append(TrialEvent(number, decision, 1000, 9000, 0.5, 1.0, (Epoch(0, 1.0, 0.5),)))
    return home


@pytest.fixture
def bare(fresh: Callable[..., Done], place: Path) -> Callable[[str], Done]:
    """A command line of chanc in that folder, the packages taken away."""
    return lambda line: fresh(f"{WITHOUT}\nfrom chanc.cli import main\nmain({line.split()})", folder=place)


def test_every_command_is_here() -> None:
    assert {line.split()[0] for line in SAID} == set(COMMANDS)


def test_the_packages_are_gone(fresh: Callable[..., Done]) -> None:
    tries = "".join(f"try:\n    import {name}\nexcept ModuleNotFoundError as e:\n    print(e)\n" for name in ABSENT)
    assert fresh(WITHOUT + tries).stdout.splitlines() == [f"No module named '{name}'" for name in ABSENT]


@pytest.mark.parametrize("line", [pytest.param(line, marks=NIGHT) if line in ALIKE else line for line in SAID])
def test_it_works_or_one_line_says_what_to_add(bare: Callable[[str], Done], place: Path, line: str) -> None:
    before = sorted(path.name for path in place.iterdir())
    done = bare(line)
    assert "Traceback" not in done.stderr
    if not SAID[line]:
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.strip()
        return
    assert done.returncode == 1
    assert done.stderr.startswith("chanc: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(f"{SAID[line]}\n")
    if not line.startswith("report"):
        assert sorted(path.name for path in place.iterdir()) == before, "nothing is written"


@pytest.mark.parametrize(
    "command", ["", "search", *(pytest.param(name, marks=NIGHT) for name in COMMANDS if name != "search")]
)
def test_help_works(bare: Callable[[str], Done], command: str) -> None:
    done = bare(f"{command} --help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: chanc" in done.stdout
