"""benchmarks/gpu.py in its small form: every part leaves its section; and what its page says of parts."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SECTIONS = ["Training steps: generated and hand-written", "Measuring layers", "A greedy search",
            "Found, uniform and flat networks", "Widths inside one training"]  # fmt: skip


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page, by its module."""
    monkeypatch.syspath_prepend(FOLDER)
    import gpu_page

    return gpu_page


def run(output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    known = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(FOLDER.parent)}
    command = [sys.executable, str(FOLDER / "gpu.py"), "--output", str(output), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=known)


def here(output: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, str]:
    """The small form run in this process, which has imported everything: how it ends, and what it says."""
    torch, said = pytest.importorskip("torch"), io.StringIO()
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)  # so that it is undone
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", "--output", str(output)])
    import gpu

    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), pytest.raises(SystemExit) as stop:
        gpu.main()
    return stop.value.code, said.getvalue()


def test_the_small_form_leaves_a_page_with_all_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = here(tmp_path / "gpu.md", monkeypatch)
    assert code == 0, said
    text, found = (tmp_path / "gpu.md").read_text(), json.loads((tmp_path / "gpu.json").read_text())
    assert re.findall("^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert not re.search("Not run|Failed|Left out", text)
    assert "made-up images" in text
    rates = found["steps"]["steps_per_s"]
    assert set(rates) == {"twin", "generated", "control", "augmented", "images alone"}
    assert min(rates.values()) > 0
    assert [one["layers_of_other_ranks"] for one in found["evbmf"].values() if isinstance(one, dict)] == [0, 0]
    assert len(found["search"]["trials"]) == found["search"]["wanted"] == 1
    networks = found["finals"]["networks"]
    assert list(networks) == ["found", "uniform-params", "uniform-macs", "flat-params", "flat-macs"]
    assert all(len(one["epochs"]) == one["of"] == 1 for one in networks.values())
    methods = found["masking"]["methods"]
    assert list(methods) == ["flexcharts", "dmask"]
    assert methods["flexcharts"]["macs"] > methods["dmask"]["macs"] > 0, "of a width of 4: up to 16, and up to 8"
    assert all(min(one["plain_s"], one["seconds"]["train"]) > 0 for one in methods.values())


@pytest.mark.nightly
def test_without_a_gpu_the_whole_form_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = run(tmp_path / "gpu.md", "--parts", "steps")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2, "gpu.py: error: torch sees no GPU here: --tiny runs on a CPU")  # fmt: skip
    assert not [*tmp_path.iterdir()]


ABOUT = {"device": "H", "precision": "bfloat16 autocast", "data": "made-up images", "tiny": False, "command": "gpu.py",
         "chanc": "1", "torch": "2", "cuda": "13", "cudnn": 9, "python": "3.12",
         "minutes": {"steps": 1.0, "evbmf": 0.5, "search": 4.0, "finals": 3.0, "masking": 1.5}}  # fmt: skip


def test_the_page_says_what_is_missing_and_why(cells: Any) -> None:
    text = cells.page({"about": ABOUT, "steps": {"failed": "RuntimeError: no memory", "took_s": 2.0},
                       "finals": {"skipped": "there are no widths", "took_s": 0.0}})  # fmt: skip
    assert re.findall("^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert "Failed: RuntimeError: no memory.\n\nTook 2 s of 60." in text
    assert "Left out: there are no widths." in text
    assert text.count("Not run.") == 3


def test_a_training_that_ran_out_of_time_says_how_far_it_came(cells: Any) -> None:
    epochs = [{"loss": 1.0, "score": 0.5, "at": 9.0}]
    networks = {"found": {"params": 1000, "macs": 2e6, "epochs": epochs, "of": 1, "failed": ""},
                "flat-macs": {"params": 1100, "macs": 2e6, "epochs": epochs, "of": 10, "failed": "the time was over"},
                "uniform-macs": {"params": 1100, "macs": 2e6, "epochs": [], "of": 10, "failed": "the loss is nan"},
                "flat-params": {"params": 1000, "macs": 3e6}}  # fmt: skip
    text = cells.page({"about": ABOUT, "finals": {"networks": networks, "batch": 256}})
    assert "| found | 1,000 | 2M | 1 of 1 | 50.00% | 9 |" in text
    assert "| flat-macs | 1,100 | 2M | 1 of 10: the time was over | 50.00% | 9 |" in text
    assert "| uniform-macs | 1,100 | 2M | 0 of 10: the loss is nan | - | - |" in text
    assert "| flat-params | 1,000 | 3M | at work | - | - |" in text


def test_parts_of_an_earlier_call_stay_if_they_are_of_the_same_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(FOLDER)
    import gpu

    assert gpu.known(tmp_path / "gpu.json", ABOUT) == {"about": ABOUT}
    (tmp_path / "gpu.json").write_text(json.dumps({"about": {**ABOUT, "command": "other"}, "steps": {"took_s": 1.0}}))
    assert gpu.known(tmp_path / "gpu.json", ABOUT) == {"about": ABOUT, "steps": {"took_s": 1.0}}
    assert gpu.known(tmp_path / "gpu.json", {**ABOUT, "device": "A"}) == {"about": {**ABOUT, "device": "A"}}
