"""Functions that PyTorch lacks. The emitter copies the source of those that a network needs into its `model.py`.

Each one stands alone: it uses only torch, F, math, and its own arguments.
"""

from __future__ import annotations

import inspect

from chanc.backends.torch.prelude import quantise, sequences, tensors, vision


def source(name: str) -> str:
    """The text of a function."""
    home = next(home for home in (tensors, sequences, vision, quantise) if hasattr(home, name))
    return inspect.getsource(getattr(home, name))
