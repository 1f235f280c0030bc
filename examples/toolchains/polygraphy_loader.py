"""A Polygraphy loader that gives any other loader's model new widths.

    python examples/toolchains/polygraphy_loader.py

Loaders are chained and run when their model is first needed; `trtexec`-like scripts put this one in front of
`NetworkFromOnnxBytes(BytesFromOnnx(...))`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
from network import image, network, widths
from polygraphy.backend.base import BaseLoader
from polygraphy.backend.onnx import BytesFromOnnx
from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
from polygraphy.comparator import Comparator, CompareFunc

import chanc
from chanc.ir import to_proto
from chanc.oracles import zeroed


class ResizeWidths(BaseLoader):
    """The model of another loader, rewritten; options are those of `chanc.rewrite`."""

    def __init__(self, model: Callable[[], onnx.ModelProto] | onnx.ModelProto, **options: Any) -> None:
        self._model, self._options = model, options

    def call_impl(self) -> onnx.ModelProto:
        """The rewritten model."""
        model = self._model() if callable(self._model) else self._model
        return chanc.rewrite(model, **self._options).model


def main() -> None:
    """The halved network beside the original without the dropped channels, judged by Polygraphy's comparator."""
    half = ResizeWidths(network, scale=0.5)
    original = to_proto(zeroed(network(), chanc.rewrite(network(), scale=0.5).trace))
    runners = [OnnxrtRunner(SessionFromOnnx(BytesFromOnnx(model))) for model in (original, half)]
    results = Comparator.run(runners, data_loader=[{"image": image()}])
    same = bool(Comparator.compare_accuracy(results, compare_func=CompareFunc.simple(atol=1e-5, rtol=1e-4)))
    print(f"Polygraphy: widths {widths(half())}, the same within 1e-5 + 1e-4 |y|: {same}")


if __name__ == "__main__":
    main()
