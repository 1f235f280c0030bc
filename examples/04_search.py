"""Search for better widths from Python: greedy (CONetV2) on scikit-learn's digits, small enough for a minute.

    python examples/04_search.py [folder for the run]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

import chanc
from chanc.frontends import zoo
from chanc.frontends.torch import export


def main(folder: Path) -> None:
    """Export a small network, search, and print what each trial had."""
    model = folder / "resnet18.onnx"
    export(zoo.build("resnet18", width=8, channels=1), torch.rand(1, 1, 8, 8), model)
    run = chanc.search(
        str(model), algo="greedy", data="digits", trials=3, epochs=2, limit_train=600, out=folder / "run",
        options={"gamma": 0.8, "start_width": 0, "min_width": 4},
        train={"optimizer": "sgd", "schedule": "cosine", "lr": 0.1, "batch_size": 32},
    )  # fmt: skip
    for trial in run.trials:
        print(f"trial {trial.id}: {trial.params:>9,} params, top-1 {trial.score:.3f}")
    print(f"best: trial {run.trial}, in {run.model}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
