"""`chanc verify`: the oracles as a command, for anyone's rewritten model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

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
@size_options
def command(
    original: str,
    rewritten: str,
    trace_file: str | None,
    tolerance: float,
    batch: int,
    seed: int,
    dims: dict[str, int],
    shapes: dict[str, list[int]],
) -> None:
    """Check REWRITTEN against ORIGINAL in onnxruntime, on random inputs, output by output.

    With a trace, channels that the rewrite dropped are zeroed in ORIGINAL first: a shrunken model must then compute the
    same. Without one the two must compute the same as they are: what widening promises.

    \b
    chanc verify model.onnx half.onnx --trace trace.json
    chanc verify model.onnx wide.onnx
    """
    from chanc.api import verify

    trace = _read(trace_file) if trace_file is not None else None
    found = verify(original, rewritten, trace=trace, seed=seed, batch=batch, dims=dims, shapes=shapes)
    for item in found:
        verdict = "ok" if item.error <= tolerance else "DIFFERS"
        say(f"{verdict:8}{item.output}  {list(item.shape)}  error {item.error:.2e}")
    wrong = [item for item in found if not item.error <= tolerance]
    if wrong and trace is not None and not trace.get("exact", True):
        raise VerifyError("the trace says that the rewrite is not exact, and the outputs do differ")
    if wrong:
        raise VerifyError(f"{len(wrong)} of {len(found)} outputs differ by more than {tolerance:g}")


def _read(path: str) -> dict[str, Any]:
    try:
        trace = json.loads(Path(path).read_text(encoding="utf-8"))
        if trace["format"] != 1:
            raise VerifyError(f"{path} has trace format {trace['format']}; this chanc reads format 1")
        trace["operands"][:0]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise VerifyError(f"{path} is not a trace: {error!r}") from None
    return dict(trace)

