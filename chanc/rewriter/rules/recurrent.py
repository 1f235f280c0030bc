"""LSTM, GRU, RNN: `hidden_size` follows; initial states that are generated zeros are left out."""

from __future__ import annotations

from chanc.analysis.rules.recurrent import left_out
from chanc.rewriter.rules import rule
from chanc.rewriter.site import Site


@rule("DynamicQuantizeLSTM", domain="com.microsoft")
@rule("LSTM", "GRU", "RNN")
def recurrent(site: Site) -> None:
    """The hidden size is that of the output's last axis; a state that is left out is zero (ONNX LSTM, initial_h)."""
    result = site.result()
    if site.source(result, 3) is None:
        return
    site.set_attribute("hidden_size", site.integers((site.resize.size(result, 3),))[0])
    for index in left_out(site.findings.modes.get(site.node, "")):
        site.node.replace_input_with(index, None)
