"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009)."""

from __future__ import annotations

from pathlib import Path

from chanc.data.cifar import read_named
from chanc.data.dataset import Dataset
from chanc.data.named import register


@register("cifar10")
def cifar10(root: Path) -> Dataset:
    """60,000 colour 32x32 photographs of 10 classes."""
    return read_named("cifar10", root)


@register("cifar100")
def cifar100(root: Path) -> Dataset:
    """60,000 colour 32x32 photographs of 100 classes."""
    return read_named("cifar100", root)
