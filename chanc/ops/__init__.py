"""What an operator is, described once: one frozen spec an operator, facts only. Every table elsewhere is a query."""

from __future__ import annotations
