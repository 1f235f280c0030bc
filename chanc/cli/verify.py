"""`chanc verify`: the oracles as a command, for anyone's rewritten model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from chanc.cli.options import inputs_option
from chanc.cli.outputs import say
from chanc.cli.sizes import size_options
from chanc.errors import VerifyError


@click.command("verify")
@click.argument("original")
@click.argument("rewritten")
@click.option(
    "--trace", "trace_file", metavar="FILE", help="The trace of the rewrite: what it drops is zeroed in ORIGINAL."
)
@click.option(
    "--tolerance", type=float, default=1e-4, show_default=True, help="Largest error, relative to the largest output."
)
@click.option("--batch", type=click.IntRange(min=1), default=2, show_default=True, help="Samples of random input.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random inputs.")
@inputs_option
@size_options
def command(
    original: str,
    rewritten: str,
    trace_file: str | None,
    tolerance: float,
    batch: int,
    seed: int,
    inputs: str | None,
    dims: dict[str, int],
    shapes: dict[str, list[int]],
) -> None:
    """Check REWRITTEN against ORIGINAL in onnxruntime, on random inputs, output by output.

    With a trace, channels that the rewrite dropped are zeroed in ORIGINAL first: a shrunken model must then compute the
    same. Groups that a norm across channels sees are doubled instead, which it doesn't see. Without a trace the two
    must compute the same as they are: what widening promises. What disagrees in float32 is judged in float64.

    \b
    chanc verify model.onnx half.onnx --trace trace.json
    chanc verify model.onnx wide.onnx --inputs feeds.npz
    """
    from chanc.api import verify
    from chanc.backends.ort import read_feeds

    trace = _read(trace_file) if trace_file is not None else None
    feeds = read_feeds(inputs, original) if inputs is not None else None
    verdict = verify(
        original, rewritten,
        trace=trace, feeds=feeds, seed=seed, batch=batch, dims=dims, shapes=shapes, tolerance=tolerance,
    )  # fmt: skip
    for item in verdict:
        word = "ok" if item.error <= tolerance else "unsure" if verdict.agrees is None else "DIFFERS"
        say(f"{word:8}{item.output}  {list(item.shape)}  error {item.error:.2e}")
    if verdict.wrong is not None:
        raise VerifyError(str(verdict.wrong))
    if not verdict.agrees:
        raise VerifyError(f"not verified: {verdict}")
    say(f"verified: {verdict}")


def _read(path: str) -> dict[str, Any]:
    try:
        trace = json.loads(Path(path).read_text(encoding="utf-8"))
        if trace["format"] != 1:
            raise VerifyError(f"{path} has trace format {trace['format']}; this chanc reads format 1")
        trace["operands"][:0]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise VerifyError(f"{path} is not a trace: {error!r}") from None
    return dict(trace)

