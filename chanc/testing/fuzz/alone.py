"""One file in this process, for whoever mends what it shows."""

from __future__ import annotations

import tempfile
from pathlib import Path

from chanc.testing.fuzz.files import mutant
from chanc.testing.fuzz.gate import taken


def prepare() -> None:
    """Import what the steps need, so that forked workers have it."""
    import onnxruntime  # noqa: F401
    import torch

    import chanc.backends.torch.package
    import chanc.oracles  # noqa: F401

    torch.set_num_threads(1)


def run(seed: int, number: int, save: str | None) -> None:
    """Print what was made, and what became of it."""
    made = mutant(seed, number)
    print(f"{number}: {made.made}, {len(made.data)} bytes")
    if save is not None:
        Path(save).write_bytes(made.data)
        return
    with tempfile.TemporaryDirectory() as folder:
        outcome = taken(made, Path(folder) / "work")
    print(*outcome.troubles, *outcome.stumbles, sep="\n")
