from __future__ import annotations

import json
import re

import pytest

from chanc.cli import main
from chanc.errors import RunError
from chanc.report.pareto import pareto_front, pareto_section, read_runs, write_pareto


@pytest.fixture
def folders(runs, tmp_path):
    return [runs.write_run(tmp_path / name / "run", groups=3, trials=2, settings={"data": "cifar10"}) for name in "ab"]


def test_the_front_is_what_no_cheaper_network_reaches():
    points = [(3.0, 0.9), (1.0, 0.5), (2.0, 0.4), (2.0, 0.6), (4.0, 0.9), (5.0, 0.95)]
    assert pareto_front(points) == [(1.0, 0.5), (2.0, 0.6), (3.0, 0.9), (5.0, 0.95)]


def test_runs_and_their_rivals_stand_in_one_picture(folders):
    plot = pareto_section(read_runs(folders)).plots[0]
    series = {one.name: one for one in plot.series}
    assert list(series) == ["a/run", "b/run", "baseline", "uniform at equal params", "uniform at equal MACs",
                            "random at equal params", "none better"]  # fmt: skip
    assert (series["a/run"].x, series["a/run"].y) == ([5.5], [93.42])
    assert series["a/run"].errors == [pytest.approx(0.1 / 2**0.5, abs=1e-4)]
    assert series["uniform at equal params"].labels == ["of a/run, n = 2", "of b/run, n = 2"]
    assert series["none better"].x == [5.4, 5.5]
    assert plot.note == "Error bars: one standard error over n = 2 trainings with other seeds."
    assert len({one.colour for one in plot.series}) == 6


def test_published_points_stand_there_with_their_source(runs, tmp_path):
    runs.write_run(tmp_path / "run", groups=3, trials=2, settings={"model": "densenet"})
    series = pareto_section(read_runs([tmp_path / "run"])).plots[0].series
    (published,) = [one for one in series if one.name == "published"]
    assert list(published.y) == [95.49, 95.72]
    assert "CNAS" in published.labels[0]


def test_what_cannot_be_compared_is_refused(runs, folders, tmp_path):
    other = runs.write_run(tmp_path / "other", groups=3, trials=2, settings={"data": "digits"})
    with pytest.raises(RunError, match=r"is of the data set digits, and .* of cifar10"):
        read_runs([*folders, other])
    bare = runs.write_run(tmp_path / "bare", groups=3, trials=2, final=False)
    with pytest.raises(RunError, match="has no final trainings"):
        write_pareto([*folders, bare], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_the_command_writes_one_page(folders, tmp_path, capsys):
    main(["report", *map(str, folders), "--html", str(tmp_path / "page.html")])
    text = (tmp_path / "page.html").read_text()
    report = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))["report"]
    assert [row[0] for row in report["tables"][0]["rows"]][4:6] == ["a/run: random at equal params", "b/run: found"]
    assert report["verdict"][0].startswith("a/run: Can't tell the found network from baseline")
    assert not (folders[0] / "report.html").exists()
