"""benchmarks/prune.py without a training: what is done and only once, and the verdicts of its page."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def prune(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module."""
    monkeypatch.syspath_prepend(FOLDER)
    import prune

    return prune


@pytest.fixture
def page(prune: Any) -> Any:
    """The module that writes the page."""
    import prune_page

    return prune_page


def row(cell: str, tool: str, seed: int, score: float = 0.9) -> dict[str, Any]:
    """A line of the ledger, as made up."""
    network, _, share = cell.rpartition("-")
    cost = {"params": 100, "macs": 10 * int(share), "score": score, "cpu_s": 2.0}
    return {"network": network, "share": int(share), "tool": tool, "seed": seed, **cost}


def seeds(cell: str, means: Mapping[str, float], noise: float = 0.001) -> list[dict[str, Any]]:
    """Three seeds of each tool: its mean, what the seeds have in common, and noise of the first tool's own."""
    first = next(iter(means))
    return [row(cell, tool, seed, mean + 0.01 * seed + noise * (seed - 1) * (tool == first))
            for tool, mean in means.items() for seed in range(3)]  # fmt: skip


def ids(prune: Any, tmp_path: Path, cells: list[str], tools: list[str], rows: list[dict[str, Any]]) -> list[str]:
    ledger = prune.Ledger(tmp_path / "rows.jsonl")
    for one in rows:
        ledger.add(one)
    return [job.id for job in prune.jobs(cells, tools, ledger, tmp_path)]


def test_a_network_is_trained_before_all_else(prune: Any, tmp_path: Path) -> None:
    cells, tools, trained = ["vit-50", "vit-30"], ["chanc", "onnxsim"], row("vit-100", "base", 0)
    assert ids(prune, tmp_path, cells, tools, []) == ["vit-100-base-0"]
    assert ids(prune, tmp_path, cells, tools, [trained]) == ["vit-100-base-0"], "its file is gone"
    (tmp_path / "vit.onnx").touch()
    told = ids(prune, tmp_path, cells, tools, [])
    assert told == [f"{cell}-{tool}-{seed}" for seed in range(3) for cell in cells for tool in tools]


def test_what_a_row_tells_is_not_done_again(prune: Any, tmp_path: Path) -> None:
    (tmp_path / "vit.onnx").touch()
    done = [row("vit-100", "base", 0), *(row("vit-50", "chanc", seed) for seed in (0, 2))]
    assert ids(prune, tmp_path, ["vit-50"], ["chanc"], done) == ["vit-50-chanc-1"]
    (tmp_path / "vit.onnx").unlink()
    done = [row("vit-50", "chanc", 1)]
    assert ids(prune, tmp_path, ["vit-50"], ["chanc"], done) == [], "nothing is left that wants the network"


def test_a_job_says_what_it_is(prune: Any) -> None:
    job = prune.Job("mobilenetv2-imagenet", 30, "tp-norm", 2)
    assert prune.Job(**json.loads(json.dumps(dataclasses.asdict(job)))) == job
    assert prune.CELLS[job.cell] == ("mobilenetv2-imagenet", 30)


def test_patterns_choose_cells_and_one_that_fits_none_is_an_error(
    prune: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = prune.arguments()
    assert prune.chosen(parser, ["v*-30", "vit-*"]) == ["vgg11-30", "vit-50", "vit-30"]
    with pytest.raises(SystemExit):
        prune.chosen(parser, ["resnet18-50", "resnet50-*"])
    assert "no cell is like resnet50-*: there are resnet18-50, " in capsys.readouterr().err


def test_a_run_does_all_but_what_fails_and_writes_each_result_down(
    prune: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def begin(job: Any, args: argparse.Namespace) -> tuple[subprocess.Popen[str], Path]:
        (tmp_path / "vit.onnx").touch()
        answer = tmp_path / f"{job.id}.json"
        if job.seed != 1:
            answer.write_text(json.dumps(row(job.cell, job.tool, job.seed)), encoding="utf-8")
        return subprocess.Popen(["false" if job.seed == 1 else "true"], text=True), answer

    monkeypatch.setattr(prune, "_begin", begin)
    monkeypatch.setattr(prune, "PAUSE", 0.005)
    ledger = prune.Ledger(tmp_path / "rows.jsonl")
    args = argparse.Namespace(tools=["chanc"], work=tmp_path, jobs=2, minutes=0.0)
    prune.run_all(args, ["vit-30"], ledger)
    assert not ledger.rows, "the time is over"
    args.minutes = 1.0
    prune.run_all(args, ["vit-30"], ledger)
    assert set(prune.Ledger(tmp_path / "rows.jsonl").rows) == {"vit-100-base-0", "vit-30-chanc-0", "vit-30-chanc-2"}
    assert "vit-30-chanc-1 failed (see " in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--tools", "onxsim"], ["--jobs", "0"], ["--minutes", "-1"]])
def test_arguments_that_make_no_sense(prune: Any, wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        prune.arguments().parse_args(["--data-root", "data", *wrong])


@pytest.mark.parametrize(
    ("taylor", "norm", "said"),
    [
        (0.80, 0.79, "worse than one of Torch-Pruning's two in 0 of 2 cells, and better than both in 2"),
        (0.80, 0.8195, "worse than one of Torch-Pruning's two in 0 of 2 cells, and better than both in 0"),
        (0.80, 0.83, "worse than one of Torch-Pruning's two in 2 of 2 cells, and better than both in 0"),
    ],
)
def test_labels(page: Any, taylor: float, norm: float, said: str) -> None:
    """The standard error of the differences is 0.001 / sqrt(3): 0.82 - 0.8195 is within two of them."""
    means = {"chanc-labels": 0.82, "tp-taylor": taylor, "tp-norm": norm}
    text = page.page([*seeds("vit-50", means), *seeds("vgg11-30", means)])
    assert f"(a) chanc with labels is {said}" in text
    assert ("2 of 8): met so far" in text) == ("better than both in 2" in said)
    assert f"chanc-labels minus tp-taylor: +{100 * (0.82 - taylor):.2f} ± 0.06 better" in text


@pytest.mark.parametrize(("without", "count"), [(0.811, 1), (0.809, 0)])
def test_without_labels_within_a_point(page: Any, without: float, count: int) -> None:
    text = page.page(seeds("vit-50", {"chanc": without, "chanc-labels": 0.82}))
    assert f"within a point of itself with labels in {count} of 1 cells" in text
    assert f"(asked for: all): {'met' if count else 'not met'} so far" in text


def test_closed_form(page: Any) -> None:
    """Any mean below counts against it; only what two standard errors tell counts for it."""
    better, equal, below = (seeds("vit-50", {"chanc-closed": 0.6, "onnxsim": 0.5}),
                            seeds("vit-30", {"chanc-closed": 0.5005, "onnxsim": 0.5}),
                            seeds("vgg11-50", {"chanc-closed": 0.4995, "onnxsim": 0.5}))  # fmt: skip
    said = "(c) The closed form alone is below onnxsim's at all in"
    assert f"{said} 0 of 2 cells, and better in 1 (asked for: 0, and most): not met so far" in page.page(better + equal)
    assert f"{said} 1 of 3 cells, and better in 1" in page.page(better + equal + below)
    assert f"{said} 0 of 1 cells, and better in 1 (asked for: 0, and most): met so far" in page.page(better)


def test_cells_that_miss_a_seed_get_no_verdict(page: Any) -> None:
    rows = [row("vit-100", "base", 0), *seeds("vit-50", {"chanc": 0.8, "chanc-labels": 0.8})[:-1]]
    text = page.page(rows)
    assert "(b)" not in text
    assert "| vit | 100 | 1,000 | 90.00% |" in text
    assert "| chanc | 100 | 500 (50.0%) | 81.00% ± 0.64% | 3 | 2 |" in text


def test_a_result_over_the_budget_is_compared_with_none(page: Any) -> None:
    rows = seeds("vit-50", {"chanc-closed": 0.6, "onnxsim": 0.5})
    big = [{**one, "macs": 501} if one["tool"] == "onnxsim" else one for one in rows]
    base = row("vit-100", "base", 0)
    assert "(c) The closed form" in page.page([*rows, base])
    text = page.page([*big, base])
    assert "(c)" not in text
    assert "| onnxsim | 100 | 501 (50.1%): over the budget |" in text
    other = seeds("vgg11-50", {"chanc-closed": 0.6, "onnxsim": 0.5})
    assert "In 1 more onnxsim stays over the budget." in page.page([*big, *other, base])
