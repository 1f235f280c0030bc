"""What a resize changes in a node besides its weights: sizes, counts and indices held in attributes and constants.

Only operators that hold such numbers have a rule here; everything else follows from the shapes of its inputs. The files
have the names of those in `chanc.analysis.rules`.
"""

from __future__ import annotations

from collections.abc import Callable

from chanc.registry import Operators
from chanc.rewriter.site import Site

RewriteRule = Callable[[Site], None]
REGISTRY: Operators[RewriteRule] = Operators("rewrite rule", "chanc.ops", "chanc.rewriter.rules")
rule = REGISTRY.rule
