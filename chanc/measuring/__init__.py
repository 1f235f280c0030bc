"""What models do, measured: how long they take, how right they are, what the widths of each group are worth.

The public functions among them are `chanc.latency`, `chanc.evaluate` and `chanc.sensitivity`.
"""
