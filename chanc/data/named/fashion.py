"""Fashion-MNIST (Xiao et al. 2017)."""

from __future__ import annotations

from pathlib import Path

from chanc.data.dataset import Dataset
from chanc.data.idx import read_fashion
from chanc.data.named import register


@register("fashion-mnist")
def fashion_mnist(root: Path) -> Dataset:
    """70,000 grey 28x28 photographs of clothes, of 10 classes."""
    return read_fashion(root)
