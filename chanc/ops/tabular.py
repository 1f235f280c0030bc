"""What stands before a network in exports of pipelines (ai.onnx.ml Scaler, Normalizer): columns made alike."""

from __future__ import annotations

from chanc.ops.spec import Trait
from chanc.ops.table import operator
from chanc.ops.work import free

ML = "ai.onnx.ml"

operator("Scaler", domain=ML, traits={Trait.RANK}, weights=(), divisors=(), work=free)
operator("Normalizer", domain=ML, traits={Trait.RANK, Trait.CURVED}, weights=(), divisors=(), work=free)
