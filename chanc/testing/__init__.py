"""For tests of chanc and of users' own rules: graph builders, the two oracles, contract tests."""

from __future__ import annotations
