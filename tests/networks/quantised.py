"""Networks as onnxruntime's own quantiser writes them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime import quantization as q
from torch import Tensor, nn

from chanc.backends import ort

from .dense import UNet
from .exporting import Residual, conv, exported, head, image
from .mobile import Inverted
from .registry import network
from .sequences import Gpt, ids
from .speech import conformer_block
from .transformers import Attention, mlp

Step = Callable[[Path, Path], None]
BY_CHANNEL = {"per_channel": True}
UNSIGNED = {"activation_type": q.QuantType.QUInt8, "weight_type": q.QuantType.QUInt8}
SIGNED = {"activation_type": q.QuantType.QInt8, "weight_type": q.QuantType.QInt8}
OPERATORS = {"quant_format": q.QuantFormat.QOperator}


class Reader(q.CalibrationDataReader):
    """A few random inputs."""

    def __init__(self, model: onnx.ModelProto) -> None:
        feeds = [ort.random_feeds(model, seed=seed, batch=2) for seed in range(3)]
        self.batches: Iterator[Any] = iter(feeds)

    def get_next(self) -> Any:
        return next(self.batches, None)


def quantised(model: onnx.ModelProto, step: Callable[[Path, Path], None]) -> onnx.ModelProto:
    """What `step` writes of a model's file."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "float.onnx", Path(folder) / "quantised.onnx"
        onnx.save(model, before)
        step(before, after)
        return onnx.load(after)


def static(model: onnx.ModelProto, **options: Any) -> onnx.ModelProto:
    return quantised(model, lambda a, b: q.quantize_static(a, b, Reader(model), **options))


def dynamic(model: onnx.ModelProto, **options: Any) -> onnx.ModelProto:
    return quantised(model, lambda a, b: q.quantize_dynamic(a, b, **options))


class Sum(nn.Module):
    """Two branches, summed and joined with a third."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.f = nn.ModuleList([conv(width, width), conv(width, width, 1), conv(width, 6, 3)])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.relu(self.f[0](x) + self.f[1](x)), self.f[2](x)], 1)


def residual() -> onnx.ModelProto:
    def make() -> nn.Module:
        return nn.Sequential(
            conv(3, 12, 3, 2), Residual(conv(12, 8), conv(8, 12)), Sum(12), nn.MaxPool2d(2), conv(18, 16), head(16)
        )

    return exported(make, image(3, 16, 16))


def inverted() -> onnx.ModelProto:
    return exported(
        lambda: nn.Sequential(
            conv(3, 8, 3, 2, act=nn.ReLU6),
            Inverted(8, 12, 3, squeeze=4),
            Inverted(12, 12, 3),
            conv(12, 24, 1, act=nn.Hardswish),
            head(24),
        ),
        image(3, 16, 16),
    )


def transformer() -> onnx.ModelProto:
    class Layers(nn.Module):
        """Without norms across channels, which would hide what integers do."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.attend = nn.Linear(6, 16), Residual(Attention(16, 2, joined=False, written=True))
            self.wide, self.out = Residual(mlp(16, 24, nn.ReLU)), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.wide(self.attend(self.first(x))))

    return exported(Layers, {"x": torch.randn(2, 5, 6)})


@network("QDQ, a scale for each tensor", groups=5, day=True)
def qdq() -> onnx.ModelProto:
    return static(residual(), quant_format=q.QuantFormat.QDQ)


@network("QDQ, a scale for each channel", groups=5)
def qdq_by_channel() -> onnx.ModelProto:
    return static(residual(), **BY_CHANNEL, **SIGNED)


@network("QDQ, unsigned", groups=5)
def qdq_unsigned() -> onnx.ModelProto:
    return static(residual(), **UNSIGNED)


@network("QDQ of inverted residuals", groups=6, share=0.98)
def qdq_inverted() -> onnx.ModelProto:
    return static(inverted(), **BY_CHANNEL)


@network("QDQ U-Net", groups=12)
def qdq_unet() -> onnx.ModelProto:
    return static(exported(lambda: UNet(nn.Identity()), image(3, 16, 16)), **BY_CHANNEL)


@network("QDQ transformer", groups=3, share=0.97)
def qdq_transformer() -> onnx.ModelProto:
    return static(transformer(), **SIGNED)


@network("quantised operators", groups=5)
def operators() -> onnx.ModelProto:
    return static(residual(), **OPERATORS)


@network("quantised operators, unsigned, by channel", groups=5)
def operators_by_channel() -> onnx.ModelProto:
    return static(residual(), **OPERATORS, **UNSIGNED, **BY_CHANNEL)


@network("quantised operators of inverted residuals", groups=6, share=0.98)
def operators_inverted() -> onnx.ModelProto:
    return static(inverted(), **OPERATORS)


@network("dynamically quantised convolutions", groups=5)
def dynamic_convolutions() -> onnx.ModelProto:
    return dynamic(residual(), weight_type=q.QuantType.QUInt8)


@network("dynamically quantised transformer", groups=3)
def dynamic_transformer() -> onnx.ModelProto:
    return dynamic(transformer(), **BY_CHANNEL)


@network("dynamically quantised GPT", groups=7)
def dynamic_gpt() -> onnx.ModelProto:
    return dynamic(exported(lambda: Gpt(False), {"words": ids()}), weight_type=q.QuantType.QInt8)


@network("dynamically quantised Conformer", groups=5)
def dynamic_conformer() -> onnx.ModelProto:
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(10, 24), conformer_block(Attention(24, 3, joined=False), 24), nn.Linear(24, 8))

    return dynamic(exported(make, {"x": torch.randn(2, 12, 10)}), **BY_CHANNEL)


@network("dynamically quantised LSTM", groups=2)
def dynamic_lstm() -> onnx.ModelProto:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.lstm, self.out = nn.Linear(6, 16), nn.LSTM(16, 12), nn.Linear(12, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.lstm(torch.relu(self.first(x)))[0])

    return dynamic(exported(Reader, {"x": torch.randn(5, 2, 6)}, axes={"x": {1: "batch"}}))


@network("weights of four bits", groups=1, share=0.8)
def four_bits() -> onnx.ModelProto:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    def make() -> nn.Module:
        return nn.Sequential(
            nn.Linear(16, 32, False), nn.ReLU(), nn.Linear(32, 64, False), nn.ReLU(), nn.Linear(64, 32, False)
        )

    quantiser = MatMulNBitsQuantizer(exported(make, {"x": torch.randn(2, 5, 16)}), block_size=32, is_symmetric=True)
    quantiser.process()
    made: onnx.ModelProto = quantiser.model.model
    return made
