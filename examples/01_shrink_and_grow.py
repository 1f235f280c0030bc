"""Halve and widen a model's channels from Python, and check both against the original.

    python examples/01_shrink_and_grow.py [model.onnx]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import chanc
from chanc.oracles import differences, zeroed


def main(path: str) -> None:
    """Print the groups, then how far the halved and the widened model are from what they must compute."""
    analysis = chanc.analyze(path)
    for group in analysis.groups:
        print(f"{group.id:32} {group.size:5}  {group.reason or f'{len(group.members)} convolution axes'}")

    half = chanc.rewrite(path, scale=0.5)
    worst = max(d.error for d in differences(zeroed(path, half.trace), half.model))
    print(f"half: {chanc.analyze(half.model).params:,} of {analysis.params:,} params, largest error {worst:.1e}")

    wide = chanc.rewrite(path, scale=1.5, transfer="widen")
    worst = max(d.error for d in differences(path, wide.model))
    print(f"wide: {chanc.analyze(wide.model).params:,} params, the same function, largest error {worst:.1e}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        import torch

        from chanc.frontends import zoo
        from chanc.frontends.torch import export

        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "resnet18.onnx"
            export(zoo.build("resnet18", width=16), torch.rand(1, 3, 32, 32), model)
            main(str(model))
