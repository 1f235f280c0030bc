from __future__ import annotations

import pytest

from chanc.runs import Row, verdict


def row(name: str, scores: list[float], params: int = 1000, macs: int = 5000) -> Row:
    by_seed = {str(seed): score for seed, score in enumerate(scores)}
    return Row(name, params, macs, sum(scores) / len(scores), scores=by_seed)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            [row("found", [0.9, 0.91, 0.92]), row("uniform-params", [0.88, 0.892, 0.899], macs=10000)],
            "The found network is better than uniform at equal params: +1.97 ± 0.09 points (n = 3, 95 % interval +1.59 "
            "to +2.35), with 1.00 times its params, 0.50 times its MACs.",
        ),
        (
            [row("found", [0.88, 0.892, 0.899]), row("flat-macs", [0.9, 0.91, 0.92])],
            "The found network is worse than flat at equal MACs: -1.97 ± 0.09 points (n = 3, 95 % interval -2.35 to "
            "-1.59), with 1.00 times its params, 1.00 times its MACs.",
        ),
        (
            [row("found", [0.9, 0.8]), row("random-macs", [0.8, 0.9])],
            "Can't tell the found network from random at equal MACs: +0.00 ± 10.00 points (n = 2, 95 % interval "
            "-127.06 to +127.06), with 1.00 times its params, 1.00 times its MACs.",
        ),
        (
            [row("found", [0.9], params=500), row("baseline", [0.8])],
            "Can't tell the found network from baseline: +10.00 points, and one training shows no spread (n = 1), with "
            "0.50 times its params, 1.00 times its MACs.",
        ),
        (
            [row("found", [0.9, 0.91, 0.92], 20, 50), row("baseline", [0.902, 0.911, 0.923])],
            "Can't tell the found network from baseline: -0.20 ± 0.06 points (n = 3, 95 % interval -0.45 to +0.05), "
            "with 0.02 times its params, 0.01 times its MACs: less than a point is lost.",
        ),
        (
            [row("found", [0.90, 0.90, 0.90]), row("baseline", [0.920, 0.921, 0.922])],
            "The found network is worse than baseline: -2.10 ± 0.06 points (n = 3, 95 % interval -2.35 to -1.85), with "
            "1.00 times its params, 1.00 times its MACs: more than a point is lost.",
        ),
        (
            [row("found", [0.9, 0.8]), row("baseline", [0.8, 0.9])],
            "Can't tell the found network from baseline: +0.00 ± 10.00 points (n = 2, 95 % interval -127.06 to "
            "+127.06), with 1.00 times its params, 1.00 times its MACs: whether more than a point is lost, "
            "nobody can tell.",
        ),
    ],
)
def test_the_verdict_is_honest(given: list[Row], sentence: str) -> None:
    assert verdict(given) == [sentence]


def test_no_verdict_without_found_or_without_a_common_seed() -> None:
    assert verdict([row("baseline", [0.9])]) == []
    assert verdict([Row("found"), row("uniform-params", [0.3])]) == []
    assert verdict([row("found", [0.4]), Row("uniform-params")]) == []


def test_titles() -> None:
    assert [Row(name).title for name in ("random-macs", "found", "params", "my-method")] == [
        "random at equal MACs", "found", "params", "my-method",
    ]  # fmt: skip


def test_n_and_standard_error() -> None:
    assert (row("found", [0.9, 0.8]).n, row("found", [0.9, 0.8]).top1_error) == (2, pytest.approx(0.05))
    assert (Row("x").n, Row("x", top1=0.5).n, row("x", [0.5]).top1_error) == (0, 1, None)
