"""Edges: which channels of a group each of its consumers reads, lowered to a graph.

    {"edges": {"<node's first output>:<input>": [kept units of the group]}}

means the model in which the columns of that weight are zero for all other units. They are set to zero first, so that
whatever can't follow is right as it is; all that comes then only takes away what is read by zeros. A Cut is put on the
private chain of a consumer where that pays (`chains`): the channels behind it are a group of their own, of which an
ordinary rewrite keeps what the consumer keeps. Channels that no reader keeps go with their producers, whose others are
put in another order where that makes slices of what is read.
"""

from __future__ import annotations

from chanc.rewriter.edges.lowering import Lowering
from chanc.rewriter.edges.plan import Wishes, consumers, edge_name

__all__ = ["Lowering", "Wishes", "consumers", "edge_name"]
