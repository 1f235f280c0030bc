"""A search that TensorBoard, MLflow and Weights & Biases follow, where they are installed; nothing leaves the machine.

    python examples/toolchains/trackers.py [folder for the run]

On the command line: chanc search net.onnx --log tensorboard --log mlflow --log wandb
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

from network import network

import chanc
from chanc.runs.loggers import LOGGERS


def main(folder: Path) -> None:
    """Two trials; then the search goes on for a third one, which the same runs of the trackers get."""
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    names = [name for name, kind in LOGGERS.items() if importlib.util.find_spec(kind.package)]
    out = folder / "run"
    chanc.search(network(size=8, channels=1), algo="random", data="digits", trials=2, epochs=1, limit_train=200,
                 out=out, log=names)  # fmt: skip
    run = chanc.search(resume=True, out=out, trials=3)
    print(f"{len(run.trials)} trials in {run.path}")
    for name in names:
        print(f"{name}: {LOGGERS.help(name)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
