"""VGG11 and VGG16 with BatchNorm for small images (Simonyan & Zisserman 2015): 3x3 convolutions, one linear layer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from chanc.frontends.zoo.layers import PooledFeatures, conv

_STAGES = {  # width, convolutions; a pooling ends each
    "vgg11": ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2)),
    "vgg16": ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)),
}


def table(name: str, *, aux: bool = False) -> dict[str, int]:
    """Published widths: `convS_C` a convolution."""
    return {
        f"conv{stage}_{index}": width
        for stage, (width, count) in enumerate(_STAGES[name], 1)
        for index in range(1, count + 1)
    }


def build(name: str, widths: Mapping[str, int], *, classes: int, channels: int, aux: bool = False) -> nn.Module:
    """A VGG with these widths."""
    counts = [count for _, count in _STAGES[name]]
    return VGG(counts, widths, classes, channels)


class VGG(nn.Module):
    """Five stages of biased convolutions with BatchNorm, each ended by a 2x2 pooling; a linear classifier.

    An odd side is pooled to its upper half, so that 28 pixels are enough.
    """

    def __init__(self, counts: Sequence[int], widths: Mapping[str, int], classes: int, channels: int) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        inputs = channels
        for stage, count in enumerate(counts, 1):
            for index in range(1, count + 1):
                outputs = widths[f"conv{stage}_{index}"]
                layers[f"conv{stage}_{index}"] = conv(inputs, outputs, 3, bias=True)
                layers[f"bn{stage}_{index}"] = nn.BatchNorm2d(outputs)
                layers[f"relu{stage}_{index}"] = nn.ReLU()
                inputs = outputs
            layers[f"pool{stage}"] = nn.MaxPool2d(2, ceil_mode=True)
        self.features = nn.Sequential(layers)
        self.pool = PooledFeatures()
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, channels, H, W], H and W at least 17, to logits [N, classes]."""
        logits: Tensor = self.classifier(self.pool(self.features(x)))
        return logits
