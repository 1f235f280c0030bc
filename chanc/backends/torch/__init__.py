"""PyTorch backend: a model as readable, trainable source, and the way of its weights back into the graph."""

from __future__ import annotations

from chanc.backends.torch.build import Built, Source, build, emit, load, state_dict
from chanc.backends.torch.program import Binding
from chanc.backends.torch.registry import emits

__all__ = ["Binding", "Built", "Source", "build", "emit", "emits", "load", "state_dict"]
