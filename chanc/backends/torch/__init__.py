"""PyTorch backend: a model as readable, trainable source, and the way of its weights back into the graph."""

from __future__ import annotations

from chanc.backends.torch.build import Built, Source, build, emit, load, state_dict
from chanc.backends.torch.emitter import emits
from chanc.backends.torch.program import Binding

__all__ = ["Binding", "Built", "Source", "build", "emit", "emits", "load", "state_dict"]
