"""A small ResNet of transformers, saved as its own tools save one."""

from __future__ import annotations

import torch
from transformers import ResNetConfig, ResNetForImageClassification


def save(folder: str) -> None:
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16, 32], "depths": [2, 2, 2], "layer_type": "basic"}
    config = ResNetConfig(num_channels=1, num_labels=10, downsample_in_first_stage=False, **sizes)
    ResNetForImageClassification(config).save_pretrained(folder)
