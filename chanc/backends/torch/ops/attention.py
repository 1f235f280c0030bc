"""Attention-23/24: scaled dot-product attention, with masks, caches and grouped heads; onnxruntime's own forms of it.

RotaryEmbedding-23 and onnxruntime's, which only differ in the order of their inputs; EmbedLayerNormalization.
"""

from __future__ import annotations

import onnx_ir as ir

from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import literal, table
from chanc.backends.torch.program import value_token

_KNOWN = frozenset(
    ["is_causal", "softcap", "scale", "q_num_heads", "kv_num_heads", "qk_matmul_output_mode", "softmax_precision"]
)


@emits("Attention", since=23)
def attention(ctx: Emitter, node: Node) -> None:
    """Q: [N, H, S, D] or [N, S, H D]; F.scaled_dot_product_attention where nothing else than a mask is asked for."""
    if node.wants(3) or node.has(6):
        raise node.refuse("the scores as an output, and padded keys")
    unknown = sorted(set(node.raw.attributes) - _KNOWN)
    if unknown:
        raise node.refuse(f"{len(unknown)} attributes that are newer than opset 24")
    q, k, v = (ctx(node.inputs[index]) for index in range(3))
    causal, softcap = bool(node.i("is_causal")), node.f("softcap")
    scale = literal(node.f("scale")) if node.given("scale") else "None"
    shapes = [ctx.shape(node.inputs[index]) for index in range(2)]
    heads_agree = all(shape is not None and len(shape) == 4 for shape in shapes) and shapes[0][1] == shapes[1][1]  # type: ignore[index]
    plain = heads_agree and not node.has(4) and not softcap and not (causal and node.has(3)) and not node.wants(1)
    if plain:
        options = [f"attn_mask={ctx(node.input(3))}"] if node.has(3) else []
        options += ["is_causal=True"] if causal else []
        options += [] if scale == "None" else [f"scale={scale}"]
        ctx.write(node, f"F.scaled_dot_product_attention({', '.join([q, k, v, *options])})")
        return
    past = [ctx(node.input(index)) if node.has(index) else "None" for index in (3, 4, 5)]
    heads = [str(node.i("q_num_heads")), str(node.i("kv_num_heads"))]
    args = [q, k, v, *past, *heads, str(causal), scale, literal(softcap)]
    names = [ctx.new_value(out) for out in node.outputs[:3]]
    names += [ctx.new_value(None) for _ in range(3 - len(names))]
    ctx.unpack(list(names), f"{ctx.helper('attention')}({', '.join(args)})")


@emits("MultiHeadAttention", domain="com.microsoft")
def multi_head_attention(ctx: Emitter, node: Node) -> None:
    """onnxruntime's attention of projected queries [N, L, D], keys [N, S, D] and values, their bias [D + D + Dv].

    Packed: [N, L, H, 3, d], or keys and values as [N, S, H, 2, d]; keys and values of now by head, and past ones:
    [N, H, P, d].
    """
    if node.wants(3) or node.has(8) or node.has(9):
        raise node.refuse("the scores as an output, and caches of a fixed length")
    q, k, v = _operands(ctx, node)
    mask = _mask(ctx, node, 4, 5)
    if node.has(3):
        bias, width = ctx(node.input(3)), f"{q}.size(2)"
        q = f"{q} + {bias}[:{width}]"
        k, v = f"{k} + {bias}[{width} : 2 * {width}]", f"{v} + {bias}[2 * {width} :]"
    past = [ctx(node.input(index)) for index in (6, 7)]
    _attend(ctx, node, [q, k, v, mask, *past], list(node.outputs[:3]))


def _operands(ctx: Emitter, node: Node) -> list[str]:
    """Queries, keys and values, [N, L, D] each."""
    ranks = [ctx.rank(node.input(index)) for index in range(3)]
    if 5 in ranks:
        packed = ranks.index(5)
        text = f"{ctx(node.input(packed))}.transpose(2, 3).flatten(3).unbind(2)"
        parts = [ctx.new_value(None, name) for name in "qkv"[packed:]]
        ctx.unpack(list(parts), text)
        return [*(ctx(node.input(index)) for index in range(packed)), *map(value_token, parts)]
    if ranks[0] != 3 or ranks[1:] not in ([3, 3], [4, 4]) or (ranks[1] == 4 and node.has(3)):
        raise node.refuse("its queries, keys and values have other axes than [N, L, D]")
    q, k, v = (ctx(node.input(index)) for index in range(3))
    return [q, k, v] if ranks[1] == 3 else [q, *(f"{part}.transpose(1, 2).flatten(2)" for part in (k, v))]


@emits("GroupQueryAttention", domain="com.microsoft")
def group_query_attention(ctx: Emitter, node: Node) -> None:
    """onnxruntime's causal attention with caches: Q [N, L, H d], K and V [N, L, G d], or all of them in Q.

    Past keys and values: [N, G, P, d]; how many positions each sample has, less one: [N]; the most that one has.
    """
    if any(node.has(index) for index in range(11, len(node.inputs))) or node.wants(3):
        raise node.refuse("sinks, quantised caches, and the scores as an output")
    if node.i("smooth_softmax") or node.i("qk_output"):
        raise node.refuse("a smooth softmax")
    heads, groups = node.i("num_heads"), node.i("kv_num_heads")
    if node.has(1):
        parts = [ctx(node.input(index)) for index in range(3)]
    else:
        sizes = f"[size * {heads}, size * {groups}, size * {groups}]"
        size = ctx.local(f"{ctx(node.inputs[0])}.size(-1) // {heads + 2 * groups}", "size", inline=False)
        names = [ctx.new_value(None, name) for name in "qkv"]
        ctx.unpack(list(names), f"{ctx(node.inputs[0])}.split({sizes.replace('size', size)}, -1)")
        parts = [value_token(name) for name in names]
    past = [ctx(node.input(index)) for index in (3, 4)]
    lengths = ctx.local(f"{ctx(node.input(5))}.long().reshape(-1)", "lengths", inline=False)
    total = f"int({ctx(node.input(6))})"
    where = f"{ctx.helper('new_positions')}({parts[0]}, {past[0]}, {lengths}, {total})"
    where = ctx.local(where, "positions", inline=False)
    if node.i("do_rotary"):
        turns = ctx(node.input(9)) if node.has(9) else where
        tables = [f"{table(ctx, node.input(index))}[{turns}]" for index in (7, 8)]
        for place, count in ((0, heads), (1, groups)):
            args = [parts[place], *tables, str(count), "0", str(bool(node.i("rotary_interleaved")))]
            parts[place] = ctx.local(f"{ctx.helper('rotary_embedding')}({', '.join(args)})", "qk"[place])
    scale = literal(node.f("scale")) if node.f("scale") else "None"
    numbers = [str(heads), str(groups), scale, literal(node.f("softcap")), str(node.i("local_window_size", -1))]
    args = [*parts, ctx(node.input(10)), *past, where, total, *numbers]
    results = [ctx.new_value(out if out.name else None) for out in node.outputs]
    results += [ctx.new_value(None) for _ in range(3 - len(results))]
    ctx.unpack(list(results), f"{ctx.helper('cached_attention')}({', '.join(args)})")


@emits("EmbedLayerNormalization", domain="com.microsoft")
def embed_layer_norm(ctx: Emitter, node: Node) -> None:
    """onnxruntime's LayerNorm of a word's, a position's and a segment's vectors, of tables [rows, C]."""
    if node.wants(1) and node.has(7):
        raise node.refuse("the number of words as an output")
    ids = ctx(node.inputs[0])
    where = ctx(node.input(8)) if node.has(8) else f"torch.arange({ids}.size(1), device={ids}.device)"
    total = f"{ctx(node.input(2))}[{ids}] + {ctx(node.input(3))}[{where}]"
    if node.has(4):
        total += f" + {ctx(node.input(4))}[{ctx(node.input(1))}]"
    gamma, beta = ctx(node.input(5)), ctx(node.input(6))
    if node.wants(2):
        total = ctx.local(total, "x", compound=True, inline=False)
        ctx.write(node, total, out=2)
    if node.wants(1):
        ctx.write(node, f"torch.zeros({ids}.size(0), dtype=torch.int32, device={ids}.device)", out=1)
    eps = literal(node.f("epsilon", 1e-12))
    ctx.write(node, f"F.layer_norm({total}, {gamma}.shape, {gamma}, {beta}, {eps})")


@emits("Attention", domain="com.microsoft")
def packed_attention(ctx: Emitter, node: Node) -> None:
    """onnxruntime's attention with its projections: X [N, L, I], W [I, D + D + Dv], bias [D + D + Dv].

    Past and present keys and values stand in one tensor, [2, N, H, P, d].
    """
    if node.i("do_rotary") or node.has(6):
        raise node.refuse("rotary positions inside it, and caches of a fixed length")
    shape = ctx.shape(node.inputs[1])
    sizes = node.ints("qkv_hidden_sizes") or ([] if shape is None or shape[1] is None else [shape[1] // 3] * 3)
    if not sizes:
        raise node.refuse("the size of its queries is not known")
    bias = f" + {ctx(node.input(2))}" if node.has(2) else ""
    made = f"({ctx(node.inputs[0])} @ {ctx(node.inputs[1])}{bias}).split({sizes}, -1)"
    _projected(ctx, node, made, _mask(ctx, node, 3, 5), 4)


@emits("QAttention", domain="com.microsoft")
def quantised_attention(ctx: Emitter, node: Node) -> None:
    """The same of quantised X and W and a bias of floats; their scales, a mask, their zero points, the past."""
    if node.i("do_rotary"):
        raise node.refuse("rotary positions inside it")
    x, w = (
        f"({ctx(node.inputs[index])}.double(){f' - {ctx(node.input(zero))}' if node.has(zero) else ''})"
        for index, zero in ((0, 6), (1, 7))
    )
    bias, (one, two) = ctx(node.inputs[2]), (table(ctx, node.inputs[index]) for index in (3, 4))
    made = f"(({x} @ {w}).to({bias}.dtype) * ({one} * {two}) + {bias}).chunk(3, -1)"
    _projected(ctx, node, made, _mask(ctx, node, 5, -1), 8)


def _projected(ctx: Emitter, node: Node, made: str, mask: str, past: int) -> None:
    """Attention among queries, keys and values that one product makes, with past ones at an input, [2, N, H, P, d]."""
    parts = [ctx.new_value(None, name) for name in "qkv"]
    ctx.unpack(list(parts), made)
    before = [f"{ctx(node.input(past))}[{place}]" if node.has(past) else "None" for place in (0, 1)]
    _attend(ctx, node, [*map(value_token, parts), mask, *before], [node.outputs[0]])
    if node.wants(1):
        present = [value_token(vid) for vid in ctx.statements[-1].targets[1:]]
        ctx.write(node, f"torch.stack([{', '.join(present)}])", out=1)


def _mask(ctx: Emitter, node: Node, padding: int, bias: int) -> str:
    """What is added to the scores: a bias, and a large negative number where a padding mask ([N, S] or more) is 0."""
    text = ctx(node.input(bias)) if bias > 0 else "None"
    if not node.has(padding):
        return text
    rank = ctx.rank(node.input(padding))
    if rank not in (2, 3):
        raise node.refuse("a mask that counts the keys")
    spread = f"{ctx(node.input(padding))}[:, {'None, None' if rank == 2 else 'None'}]"
    low = literal(node.f("mask_filter_value", -10000.0))
    hidden = f"(1 - {spread}.float()) * {low}"
    return hidden if text == "None" else f"{text} + {hidden}"


def _attend(ctx: Emitter, node: Node, operands: list[str], outputs: list[ir.Value]) -> None:
    heads, scale = str(node.i("num_heads")), literal(node.f("scale")) if node.f("scale") else "None"
    names = [ctx.new_value(out if out.name else None) for out in outputs]
    names += [ctx.new_value(None) for _ in range(3 - len(names))]
    causal = str(bool(node.i("unidirectional")))
    args = [*operands, heads, heads, causal, scale, "0.0"]
    ctx.unpack(list(names), f"{ctx.helper('attention')}({', '.join(args)})")


@emits("RotaryEmbedding", since=23)
def rotary(ctx: Emitter, node: Node) -> None:
    """X: [N, H, L, d] or [N, L, H d]; cos, sin: [N, L, r / 2], or tables [P, r / 2] with positions [N, L]."""
    _rotary(ctx, node, 1, 2, 3)


@emits("RotaryEmbedding", domain="com.microsoft")
def rotary_of_onnxruntime(ctx: Emitter, node: Node) -> None:
    """onnxruntime's: X, positions [N, L] or the first one [1], tables [P, r / 2]."""
    if node.i("is_packed_batching") or node.f("scale", 1.0) != 1.0:
        raise node.refuse("packed batches and a scale")
    _rotary(ctx, node, 2, 3, 1)


def _rotary(ctx: Emitter, node: Node, cos: int, sin: int, positions: int) -> None:
    rank, heads, part = ctx.need_rank(node), node.i("num_heads"), node.i("rotary_embedding_dim")
    if rank == 3 and not heads:
        angles = ctx.shape(node.input(cos))
        width = (ctx.shape(node.inputs[0]) or (None,) * 3)[2]
        if part or angles is None or angles[-1] is None or width is None:
            raise node.refuse("the number of heads is not known")
        heads = width // (2 * angles[-1])
    tables = [table(ctx, node.input(index)) for index in (cos, sin)]
    if node.has(positions):
        where = ctx(node.input(positions))
        if ctx.rank(node.input(positions)) == 1:
            steps = f"{ctx(node.inputs[0])}.size({1 if rank == 3 else 2})"
            where = f"({where} + torch.arange({steps}, device={where}.device))[None]"
        where = ctx.local(where, "positions", inline=False)
        tables = [f"{text}[{where}]" for text in tables]
    args = [ctx(node.inputs[0]), *tables, str(heads), str(part), str(bool(node.i("interleaved")))]
    ctx.write(node, f"{ctx.helper('rotary_embedding')}({', '.join(args)})")
