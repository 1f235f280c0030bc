"""Which widths of a model must change together: axis layouts, channel labels, groups.

analysis = analyze("model.onnx")
for group in analysis.groups: print(group.id, group.size, group.reason)
"""

from __future__ import annotations

from chanc.analysis.analyze import Analysis, Pinned, analyze, analyze_model
from chanc.analysis.groups import Group, Operand

__all__ = ["Analysis", "Group", "Operand", "Pinned", "analyze", "analyze_model"]
