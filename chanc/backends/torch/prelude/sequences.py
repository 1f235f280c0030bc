"""Turns, recurrent cells, attention."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, var-annotated"
from __future__ import annotations

import math

import torch


def loop(step, count, going, states, taken):
    """ONNX's Loop: up to `count` turns of `step`, while it says so; the last states, and what it made in each turn."""
    turn, parts = 0, []
    while going and (count is None or turn < count):
        going, *found = step(torch.tensor(turn), torch.tensor(True), *states, *taken)
        states, turn = found[: len(states)], turn + 1
        parts.append(found[len(states) :])
    return (*states, *(torch.stack(part) for part in zip(*parts, strict=True)))


def scan(step, states, inputs, outputs, taken):
    """ONNX's Scan: a turn of `step` for each slice of the inputs; the last states, and what it made in each turn.

    inputs: (tensor, axis, whether backwards), outputs: (axis, whether backwards) each.
    """
    slices, parts = [x.unbind(axis)[:: -1 if back else 1] for x, axis, back in inputs], []
    for now in zip(*slices, strict=True):
        found = step(*states, *now, *taken)
        found = list(found) if isinstance(found, tuple) else [found]
        states = found[: len(states)]
        parts.append(found[len(states) :])
    made = zip(zip(*parts, strict=True), outputs, strict=True)
    return (*states, *(torch.stack(part[:: -1 if back else 1], axis) for part, (axis, back) in made))


def lstm(x, w, r, b, h, c, reverse, peepholes=None, clip=math.inf, coupled=False):
    """One direction of an LSTM with the gates in ONNX's order: input, output, forget, cell.

    What enters a gate lies in -clip..clip; of coupled gates the cell forgets what the input takes in.
    """
    steps = []
    pi, po, pf = (0, 0, 0) if peepholes is None else peepholes.chunk(3)
    for now in x.flip(0) if reverse else x:
        gates = now @ w.t() + h @ r.t() + b
        i, o, f, g = gates.chunk(4, -1)
        i = torch.sigmoid((i + pi * c).clamp(-clip, clip))
        f = 1 - i if coupled else torch.sigmoid((f + pf * c).clamp(-clip, clip))
        c = f * c + i * torch.tanh(g.clamp(-clip, clip))
        h = torch.sigmoid((o + po * c).clamp(-clip, clip)) * torch.tanh(c)
        steps.append(h)
    y = torch.stack(steps)
    return y.flip(0) if reverse else y, h, c


def gru(x, w, r, wb, rb, h, reverse, reset_after, clip=math.inf):
    """One direction of a GRU with the gates in ONNX's order: update, reset, hidden."""
    steps, size = [], h.size(-1)
    for now in x.flip(0) if reverse else x:
        inputs = now @ w.t() + wb
        hidden = h @ r[: 2 * size].t() + rb[: 2 * size]
        z, s = torch.sigmoid((inputs[..., : 2 * size] + hidden).clamp(-clip, clip)).chunk(2, -1)
        n = (h if reset_after else s * h) @ r[2 * size :].t() + rb[2 * size :]
        n = inputs[..., 2 * size :] + (s * n if reset_after else n)
        h = (1 - z) * torch.tanh(n.clamp(-clip, clip)) + z * h
        steps.append(h)
    y = torch.stack(steps)
    return y.flip(0) if reverse else y, h


def attention(q, k, v, mask, past_k, past_v, heads, kv_heads, causal, scale, softcap):
    """Attention on [N, heads, S, D] or [N, S, heads * D]; returns the result and the joined keys and values."""
    packed = q.dim() == 3
    if packed:
        q = q.unflatten(-1, (heads, -1)).transpose(1, 2)
        k, v = (part.unflatten(-1, (kv_heads, -1)).transpose(1, 2) for part in (k, v))
    past = 0 if past_k is None else past_k.size(2)
    k, v = (k, v) if past_k is None else (torch.cat([past_k, k], 2), torch.cat([past_v, v], 2))
    repeat = q.size(1) // k.size(1)
    scores = q @ k.repeat_interleave(repeat, 1).transpose(-1, -2) * (q.size(-1) ** -0.5 if scale is None else scale)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if causal:
        ahead = torch.ones(q.size(2), k.size(2), dtype=torch.bool, device=q.device).triu(1 + past)
        scores = scores.masked_fill(ahead, -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    y = torch.softmax(scores, -1) @ v.repeat_interleave(repeat, 1)
    return y.transpose(1, 2).flatten(2) if packed else y, k, v


def new_positions(q, past, lengths, total):
    """[N, L]: which positions the queries have of each sample, of which so many less one are there with them."""
    now = torch.arange(q.size(1), device=q.device)
    first = past is None or q.size(1) == total
    return now.expand(q.size(0), -1) if first else (lengths + 1 - q.size(1)).unsqueeze(1) + now


def cached_attention(q, k, v, bias, past_k, past_v, where, total, heads, groups, scale, softcap, window):
    """Causal attention of [N, L, heads * D] to [N, L, groups * D] and to what is cached; the result, and both caches.

    where: [N, L], the positions of now; caches: [N, groups, positions, D]. window: how far back one looks, -1 for all.
    """
    q = q.unflatten(-1, (heads, -1)).transpose(1, 2)
    size, both = max(total, 0 if past_k is None else past_k.size(2)), []
    for now, past in ((k, past_k), (v, past_v)):
        now = now.unflatten(-1, (groups, -1)).transpose(1, 2)
        cache = now.new_zeros(*now.shape[:2], size, now.size(3))
        cache = cache if past is None else torch.cat([past, cache[:, :, past.size(2) :]], 2)
        known = torch.arange(size, device=q.device) <= where[:, -1:]
        cache = cache * known[:, None, :, None]
        both.append(cache.scatter(2, where[:, None, :, None].expand_as(now), now))
    k, v = (cache[:, :, :total].repeat_interleave(heads // groups, 1) for cache in both)
    scores = q @ k.transpose(2, 3) * (q.size(3) ** -0.5 if scale is None else scale)
    scores = softcap * torch.tanh(scores / softcap) if softcap else scores
    scores = scores if bias is None else scores + bias
    back = where[:, None, :, None] - torch.arange(total, device=q.device)
    hidden = (back < 0) | (back >= window) if window > 0 else back < 0
    y = torch.softmax(scores.masked_fill(hidden, -math.inf), -1) @ v
    return y.transpose(1, 2).flatten(2), *both


def rotary_embedding(x, cos, sin, heads, part, interleaved):
    """Turns pairs of features by angles; x: [N, H, L, D] or [N, L, H * D], cos and sin: [N or 1, L, part / 2].

    The first `part` features (0: all) make pairs: neighbours if interleaved, else one of each half.
    """
    packed = x.dim() == 3
    if packed:
        x = x.unflatten(-1, (heads, -1)).transpose(1, 2)
    turned, rest = (x, None) if part in (0, x.size(-1)) else (x[..., :part], x[..., part:])
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    a, b = (turned[..., 0::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    pair = (a * cos - b * sin, b * cos + a * sin)
    y = torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)
    y = y if rest is None else torch.cat([y, rest], -1)
    return y.transpose(1, 2).flatten(2) if packed else y


def reverse_sequence(x, lengths, time_axis, batch_axis):
    """Reverses the first lengths[b] entries of each sequence."""
    x = x.movedim((batch_axis, time_axis), (0, 1))
    i = torch.arange(x.size(1), device=x.device).unsqueeze(0)
    n = lengths.reshape(-1, 1)
    index = torch.where(i < n, n - 1 - i, i)
    return x[torch.arange(x.size(0), device=x.device).unsqueeze(1), index].movedim((0, 1), (batch_axis, time_axis))
