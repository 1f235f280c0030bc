"""ResNet34, as PyTorch source.

Input: x [batch, 3, 32, 32].
Weights: load_state_dict(safetensors.torch.load_file("model.safetensors")).
"""

import torch
import torch.nn.functional as F
from torch import nn

# Channels by the layer that makes them; layers that must agree share an entry.
WIDTHS = {
    "conv1": 64,
    "layer1.0.conv1": 64,
    "layer1.1.conv1": 64,
    "layer1.2.conv1": 64,
    "layer2.0.conv1": 128,
    "layer2.0.conv2": 128,
    "layer2.1.conv1": 128,
    "layer2.2.conv1": 128,
    "layer2.3.conv1": 128,
    "layer3.0.conv1": 256,
    "layer3.0.conv2": 256,
    "layer3.1.conv1": 256,
    "layer3.2.conv1": 256,
    "layer3.3.conv1": 256,
    "layer3.4.conv1": 256,
    "layer3.5.conv1": 256,
    "layer4.0.conv1": 512,
    "layer4.0.conv2": 512,
    "layer4.1.conv1": 512,
    "layer4.2.conv1": 512,
}


class ResidualBlock(nn.Module):
    """The block layer1.0 and 12 like it."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, inputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(F.relu(self.bn1(self.conv1(x))))
        return F.relu(self.bn2(y) + x)


class ConvNorm(nn.Sequential):
    """The block layer2.0.shortcut and 2 like it."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(nn.Conv2d(inputs, width, 1, stride=2, bias=False), nn.BatchNorm2d(width))


class ShortcutBlock(nn.Module):
    """The block layer2.0 and 2 like it."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = ConvNorm(inputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(F.relu(self.bn1(self.conv1(x))))
        return F.relu(self.bn2(y) + self.shortcut(x))


class ResNet34(nn.Module):
    """ResNet34."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS["conv1"], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS["conv1"])
        self.layer1 = nn.Sequential(
            ResidualBlock(WIDTHS["conv1"], WIDTHS["layer1.0.conv1"]),
            ResidualBlock(WIDTHS["conv1"], WIDTHS["layer1.1.conv1"]),
            ResidualBlock(WIDTHS["conv1"], WIDTHS["layer1.2.conv1"]),
        )
        self.layer2 = nn.Sequential(
            ShortcutBlock(WIDTHS["conv1"], WIDTHS["layer2.0.conv1"], WIDTHS["layer2.0.conv2"]),
            ResidualBlock(WIDTHS["layer2.0.conv2"], WIDTHS["layer2.1.conv1"]),
            ResidualBlock(WIDTHS["layer2.0.conv2"], WIDTHS["layer2.2.conv1"]),
            ResidualBlock(WIDTHS["layer2.0.conv2"], WIDTHS["layer2.3.conv1"]),
        )
        self.layer3 = nn.Sequential(
            ShortcutBlock(WIDTHS["layer2.0.conv2"], WIDTHS["layer3.0.conv1"], WIDTHS["layer3.0.conv2"]),
            ResidualBlock(WIDTHS["layer3.0.conv2"], WIDTHS["layer3.1.conv1"]),
            ResidualBlock(WIDTHS["layer3.0.conv2"], WIDTHS["layer3.2.conv1"]),
            ResidualBlock(WIDTHS["layer3.0.conv2"], WIDTHS["layer3.3.conv1"]),
            ResidualBlock(WIDTHS["layer3.0.conv2"], WIDTHS["layer3.4.conv1"]),
            ResidualBlock(WIDTHS["layer3.0.conv2"], WIDTHS["layer3.5.conv1"]),
        )
        self.layer4 = nn.Sequential(
            ShortcutBlock(WIDTHS["layer3.0.conv2"], WIDTHS["layer4.0.conv1"], WIDTHS["layer4.0.conv2"]),
            ResidualBlock(WIDTHS["layer4.0.conv2"], WIDTHS["layer4.1.conv1"]),
            ResidualBlock(WIDTHS["layer4.0.conv2"], WIDTHS["layer4.2.conv1"]),
        )
        self.fc = nn.Linear(WIDTHS["layer4.0.conv2"], 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer1(F.relu(self.bn1(self.conv1(x))))  # [batch, 64, 32, 32]
        x = torch.mean(self.layer4(self.layer3(self.layer2(x))), (2, 3), keepdim=True).flatten(1)  # [batch, 512]
        return self.fc(x)  # [batch, 10]
