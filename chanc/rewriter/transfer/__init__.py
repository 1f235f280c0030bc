"""Transfer methods: the values of a resized tensor from its old ones. One method a file, which registers it.

A method is a function `(tensor, edits, use, rng) -> tensor`; `use` names the operator and input that read the tensor.
"""

from __future__ import annotations

from chanc.rewriter.transfer._common import TRANSFERS, Method, Transfer, Use, register, row_blocks, take

__all__ = ["TRANSFERS", "Method", "Transfer", "Use", "register", "row_blocks", "take"]
