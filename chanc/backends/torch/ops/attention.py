"""Attention-23/24: scaled dot-product attention, with masks, caches and grouped heads; RotaryEmbedding-23."""

from __future__ import annotations

from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import literal

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
