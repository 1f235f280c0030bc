"""Roads into ONNX from other frameworks, and the zoo of reference networks.

`open_spec("zoo:resnet34", width=16)` makes a module, `chanc.frontends.torch.export(module, inputs, path)` writes it as
ONNX with its BatchNorm layers and its parameter names kept. Other frameworks write ONNX themselves, each in a process
of its own (`foreign`, `runner`, `worker`), and `convert` makes of that what channel work needs. Importing this package
imports no framework.
"""

from __future__ import annotations

from chanc.frontends.foreign import Foreign, Job, Written
from chanc.frontends.spec import FRONTENDS, Frontend, open_spec

__all__ = ["FRONTENDS", "Foreign", "Frontend", "Job", "Written", "open_spec"]
