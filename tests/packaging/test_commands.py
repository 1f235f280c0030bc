"""The commands of README.md and of the docs work as they are printed: page by page, in order, in a folder that was
empty, by the chanc of the installed wheel.

What a page takes for granted (a model, photos, a run) is made up; what is too long for a night is begun and stopped;
what isn't run at all stands in LEFT_OUT, with the reason.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(str(page.relative_to(ROOT)) for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
STEP = re.compile(r"^```python\n(?P<block>.*?)^```|^(?: {4}|\$ )(?P<line>(?:[A-Z_]+=\S+ )*(?:chanc|python) [^\n]*)",
                  re.MULTILINE | re.DOTALL)  # fmt: skip
"""A block of Python, or a line that is typed."""
PLAN = re.compile(r"^    (\{\"format\".*?\}\})\n\n", re.MULTILINE | re.DOTALL)
"""The plan of docs/edges.md."""

R18 = "chanc export zoo:resnet18 --width 8 --channels 1 --size 8 -o r18.onnx"
RUN = "chanc search r18.onnx --algo random --trials 1 --epochs 1 --limit-train 200 --quiet --out {}"
COLOUR = ("chanc export zoo:resnet18 --width 16 -o fresh.onnx",
          "chanc train fresh.onnx --data cifar10 --epochs 2 -o model.onnx")  # fmt: skip
LARGE = (COLOUR[0].replace("16", "40"), COLOUR[1].replace("2 -o", "1 -o"))
GREY = ("chanc export zoo:resnet18 --width 16 --channels 1 --size 8 -o fresh.onnx",
        "chanc train fresh.onnx --data digits --epochs 2 -o model.onnx")  # fmt: skip
NET = "chanc export zoo:{} -o net.onnx"
BEFORE = {
    "README.md": (*COLOUR, "python -m made_up photos"),
    "docs/budgets.md": (*LARGE, "python -m made_up photos"),
    "docs/cnas.md": (NET.format("cnas:cells=3,f=4 --channels 1 --size 8"),),
    "docs/concepts/coupling.md": ("chanc export torch:made_up:vit --input 1,3,32,32 -o vit.onnx",),
    "docs/concepts/groups.md": (R18, "chanc rewrite r18.onnx -o small.onnx --scale 0.5",
                                "chanc export zoo:resnet34 --width 8 -o r34.onnx"),
    "docs/concepts/labels.md": ("chanc export zoo:resnet18 --width 8 -o model.onnx",),
    "docs/concepts/oracles.md": (R18,),
    "docs/edges.md": ("python -m made_up edges",),
    "docs/masking.md": (NET.format("resnet18 --width 16"),),
    "docs/measuring.md": (*COLOUR, "chanc rewrite model.onnx -o small.onnx --scale 0.5",
                          "python -m made_up photos feeds speech"),
    "docs/pruning.md": (*GREY, "python -m made_up grey_photos images"),
    "docs/reference/run.md": (R18, RUN.format("run")),
    "docs/reliability.md": (R18, RUN.format("RUN")),
    "docs/searches.md": (R18, RUN.format("run1 --final-epochs 1"), "cp -r run1 run2", "cp -r run1 run3"),
    "docs/toolchains.md": (R18,),
}  # fmt: skip
"""What makes the files that a page takes for granted."""

LEFT_OUT = {
    r"chanc export keras:": "another framework: benchmarks/frameworks.py",
    r"paddle": "another framework: benchmarks/frameworks.py",
    r"--slurm PARTITION": "a cluster: tests/study/pools/test_slurm.py",
    r"cpu,cuda": "a GPU",
    r"--log mlflow": "other packages: tools/matrix.py --only toolchains",
    r"chanc\.passes\.olive": "other packages: tools/matrix.py --only toolchains",
    r"optuna\.create_study": "part of a script: examples/toolchains/optuna_widths.py",
}
"""Patterns of commands that aren't run, and why."""
LONG = r"chanc (search|sweep) .*(--data cifar10|--planted|--trials 40)"
"""Hours, even on a few pictures: they are stopped after their first epoch."""


def steps(page: str) -> list[tuple[str, bool]]:
    """What is typed on a page, in order, and whether that is a block of Python."""
    found = STEP.finditer((ROOT / page).read_text(encoding="utf-8"))
    return [(step["block"] or step["line"], step["block"] is not None) for step in found]


def is_left_out(step: str) -> bool:
    return any(re.search(pattern, step) for pattern in LEFT_OUT)


WITH_STEPS = [
    page for page in PAGES if "extending" not in page and not all(is_left_out(step) for step, _ in steps(page))
]
"""What the pages of docs/extending print is a package, which tests/docs/test_extending.py installs."""


@pytest.fixture(scope="module")
def surroundings(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with the installed chanc, the module made_up as a plug-in, and a CIFAR-10 of 240 pictures."""
    place = tmp_path_factory.mktemp("surroundings")
    shutil.copy(Path(__file__).with_name("made_up.py"), place)
    about = place / "made_up-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[chanc.data]\nmade_up = made_up:accept\n")
    (place / "data").mkdir()
    around = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(place), "CHANC_DATA": str(place / "data"),
              "PATH": f"{installed}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
    carry_out("python -m made_up cifar10", place / "data", around)
    return around


def carry_out(line: str, folder: Path, around: dict[str, str]) -> str:
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=around, capture_output=True, text=True, timeout=900,
                          check=False)  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def begin_and_stop(line: str, folder: Path, around: dict[str, str]) -> None:
    """Ctrl-C after the first epoch, or the first line of a log, is answered by one line."""
    before, file = logged(folder), folder / "said.txt"
    with file.open("w") as said:
        process = subprocess.Popen(["bash", "-c", f"exec {line}"], cwd=folder, env=around, stdout=said,
                                   stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=heeding)  # fmt: skip
        until = time.monotonic() + 900
        while process.poll() is None and "epoch 1/" not in file.read_text() and logged(folder) == before:
            assert time.monotonic() < until, f"{line}\n{file.read_text()}"
            time.sleep(0.2)
        assert process.poll() is None, f"{line}\n{file.read_text()}"
        os.killpg(process.pid, signal.SIGINT)
        ended = process.wait(120)
    assert ended == 130, f"{line}\n{file.read_text()}"
    assert "Traceback" not in file.read_text(), file.read_text()


def heeding() -> None:
    """Heed Ctrl-C, which whatever runs in the background of a shell ignores."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def logged(folder: Path) -> int:
    """Bytes in the logs of all searches there."""
    return sum(log.stat().st_size for log in folder.rglob("events.jsonl"))


def run_page(page: str, folder: Path, around: dict[str, str]) -> str:
    """Carry out a page, and give what its commands print."""
    said = ""
    for line in BEFORE.get(page, ()):
        carry_out(line, folder, around)
    for plan in PLAN.findall((ROOT / page).read_text(encoding="utf-8")):
        (folder / "plan.json").write_text(plan)
    wanted = [(step, block) for step, block in steps(page) if not is_left_out(step)]
    for step, block in wanted:
        if block:
            named = re.match(r"# (\w+\.py)\n", step)
            (folder / (named[1] if named else "script.py")).write_text(step, encoding="utf-8")
    for step, block in wanted:
        started = time.monotonic()
        if block and not re.match(r"# (\w+\.py)\n", step):
            (folder / "script.py").write_text(step, encoding="utf-8")
            said += carry_out("python script.py", folder, around)
        elif not block and re.match(LONG, step):
            begin_and_stop(step, folder, around)
        elif not block:
            said += carry_out(step, folder, around)
        print(f"{time.monotonic() - started:6.1f} s  {step.splitlines()[0]}")
    return said


def agrees(folder: Path, said: str) -> None:
    """What is pruned without labels says what the model said."""
    agreements = [float(row) for row in re.findall(r"^agreement +[\d.]+ +([\d.]+)", said, re.MULTILINE)]
    assert len(agreements) == 2
    assert min(agreements) > 0.8, said


def is_right(folder: Path, said: str) -> None:
    """What is pruned with labels is right and small."""
    assert min(map(float, re.findall(r"(?:trained|fine-tuned): ([\d.]+)", said))) > 0.9, said
    assert (folder / "final.onnx").stat().st_size < 0.6 * (folder / "model.onnx").stat().st_size


CHECKS = {"docs/guides/only_model.md": agrees, "docs/guides/pytorch_to_pruned.md": is_right}


def test_all_that_is_left_out_is_there() -> None:
    everything = [step for page in PAGES for step, _ in steps(page)]
    for pattern in LEFT_OUT:
        assert any(re.search(pattern, step) for step in everything), pattern


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "page", [page if "guides" in page else pytest.param(page, marks=pytest.mark.nightly) for page in WITH_STEPS]
)
def test_its_commands_work_as_printed(page: str, surroundings: dict[str, str], tmp_path: Path) -> None:
    CHECKS.get(page, lambda folder, said: None)(tmp_path, run_page(page, tmp_path, surroundings))
