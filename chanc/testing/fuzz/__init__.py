"""Mutated models by the thousand: `python -m chanc.testing.fuzz --files 3000 --seed 0`."""
