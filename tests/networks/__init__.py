"""Rebuilt networks, and the test that both oracles hold on them."""
