"""`chanc eval`: how right a model is where it is deployed, and how far another one agrees with it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from chanc.cli.options import TaskName
from chanc.cli.outputs import json_option, refuse_early, say, short_names, show_table, write_json
from chanc.cli.share_done import share_done
from chanc.cli.sizes import size_options

if TYPE_CHECKING:
    from chanc.measuring.scoring import Evaluated
    from chanc.oracles.agreement import Agreement
    from chanc.training.deployed import Score


@click.command("eval")
@click.argument("model")
@click.argument("other", required=False)
@click.option("--data", required=True, metavar="NAME|PATH|FEEDS.npz",
              help="Data set by name, a folder, an .npz; or inputs without labels, an array each by name.")  # fmt: skip
@click.option("--data-root", type=click.Path(), help="Folder where named data sets lie.")
@click.option("--task", type=TaskName(), default="classification", show_default=True,
              help="Whose score it is.")  # fmt: skip
@click.option("--limit-test", type=click.IntRange(1), metavar="N", help="Use at most so many test images.")
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Samples a run. [64; all of FEEDS.npz]")
@click.option("--threads", type=click.IntRange(1), help="Threads inside an operator. [onnxruntime's choice]")
@click.option("--normalise", metavar="HOW", help="How pixels are given: dataset, none, MEAN/STD; bgr:HOW.")
@click.option("--scale-pixels", metavar="FACTOR", help="What pixels are multiplied by before that, as 1/255.")
@size_options
@json_option
def command(
    model: str, other: str | None, data: str, limit_test: int | None, json_file: str | None, **given: Any
) -> None:
    """Score MODEL in onnxruntime, as it is deployed; with OTHER also tell how far the two agree.

    \b
    chanc eval model.onnx --data cifar10
    chanc eval model.onnx small.onnx --data photos/            both scores, the difference, agreement by output
    chanc eval model.onnx small.onnx --data feeds.npz          agreement alone: any inputs, no labels
    chanc eval model.onnx --data cifar10 --json - | jq .scores

    The test images are given as the model's metadata say (chanc.input.*), else as it was made for: found by its
    weights, or asked for. One line says what they were. ± is a standard error; the difference of two scores is paired,
    image by image, and can't be told from none within two standard errors.
    """
    from chanc.api import evaluate

    if json_file != "-":
        refuse_early(json_file, model, other, data, force=None)
    with share_done("scoring") as tell:
        found = evaluate(model, other, data=data, limit_test=limit_test, on_batch=tell,
                         **{name: value for name, value in given.items() if value is not None})  # fmt: skip
    names = [model] if other is None else [model, other]
    if json_file is not None and write_json(to_json(found, names), json_file):
        return
    names = short_names(names)
    say(found.pixels)
    if found.score is not None:
        _show_scores(found, names)
    if found.outputs:
        _show_agreement(found, names)


def to_json(found: Evaluated, names: Sequence[str]) -> dict[str, Any]:
    """The content of `--json` (format 1); null is what can't be told, or isn't finite."""
    scores = [score for score in (found.score, found.other) if score is not None]
    return {
        "format": 1,
        "samples": found.samples,
        "pixels": found.pixels,
        "score": found.score_name,
        "scores": [{"model": name, **dataclasses.asdict(score)} for name, score in zip(names, scores, strict=False)],
        "difference": None if found.difference is None else dataclasses.asdict(found.difference),
        "outputs": [
            {name: _finite(value) for name, value in {**dataclasses.asdict(one), "error": one.error}.items()}
            for one in found.outputs
        ],
    }


def _show_scores(found: Evaluated, names: Sequence[str]) -> None:
    percent = found.score_name == "top1"
    rows = [
        (name, _amount(score.value, percent), _amount(score.error, percent), str(score.samples))
        for name, score in zip(names, (found.score, found.other), strict=False)
        if score is not None
    ]
    show_table(("", "top-1 (%)" if percent else found.score_name, "±", "n"), rows)
    if found.difference is not None:
        say(f"{names[1]} - {names[0]}: {_difference(found.difference, percent)}")


def _difference(score: Score, percent: bool) -> str:
    if score.error is None:
        return _amount(score.value, percent)
    doubt = "" if abs(score.value) > 2 * score.error else ": it can't be told from none"
    unit = " points" if percent else ""
    return f"{_amount(score.value, percent, sign='+')} ± {_amount(score.error, percent)}{unit}, paired{doubt}"


def _show_agreement(found: Evaluated, names: Sequence[str]) -> None:
    heads = (f"{names[1]} against {names[0]}", "shape", "relative error", "max error", "correlation", "same (%)")
    show_table(heads, [(one.output, "x".join(map(str, one.shape)), _figure(one.relative), _figure(one.largest),
                        _figure(one.correlation, ".6f"), _same(one)) for one in found.outputs])  # fmt: skip
    say(f"over {found.samples} samples; relative error: ||other - one|| / ||one||; same: the largest entry of a row, "
        "or whole numbers")  # fmt: skip


def _same(one: Agreement) -> str:
    if one.same is None:
        return ""
    return f"{one.same:.2%}".rstrip("%") + (f" ± {100 * one.error:.2f}" if one.error is not None else "")


def _amount(value: float | None, percent: bool, sign: str = "") -> str:
    if value is None:
        return ""
    return f"{100 * value:{sign}.2f}" if percent else f"{value:{sign}.4g}"


def _figure(value: float | None, form: str = ".3g") -> str:
    return "" if value is None else f"{value:{form}}"


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
