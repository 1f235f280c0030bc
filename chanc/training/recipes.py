"""How a network is trained with each optimizer where nothing else is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "sgd": {"lr": 0.1, "weight_decay": 5e-4, "schedule": "cosine"},
    "adamw": {"lr": 1e-3, "weight_decay": 1e-2, "schedule": "cosine"},
    "adas": {"lr": 0.03, "weight_decay": 5e-4, "schedule": "constant"},
}
"""Fields of `chanc.training.options.TrainOptions` by optimizer."""
