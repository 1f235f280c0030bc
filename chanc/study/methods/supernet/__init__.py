"""Supernet methods: one network is trained once, and its widths are found while it trains."""

from __future__ import annotations

from chanc.study.methods.supernet._common import Masking
from chanc.study.methods.supernet.dmask import DMask
from chanc.study.methods.supernet.flexcharts import FlexCharts

__all__ = ["DMask", "FlexCharts", "Masking"]
