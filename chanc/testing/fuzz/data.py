"""Damage to a model's bytes: what no message holds."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from chanc.ir.wire import varint
from chanc.testing.fuzz.values import Rng, pick

DEPTHS = (3, 20, 90, 150, 400, 3000)
"""Of bodies in bodies: a few, about as many as protobuf takes, more than Python's stack has."""


def damage(data: bytes, rng: Rng) -> bytes:
    """Flip, overwrite, insert, cut out, double or end bytes, at one to four places."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if changed:
            _damage(changed, int(rng.integers(len(changed))), int(rng.integers(1, 40)), rng)
    return bytes(changed)


def _damage(data: bytearray, at: int, size: int, rng: Rng) -> None:
    kind = int(rng.integers(8))
    if kind <= 2:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 3:
        data[at] = pick(rng, (0x00, 0x7F, 0x80, 0xFF))
    elif kind == 4:
        data[at:at] = rng.bytes(size)
    elif kind == 5:
        del data[at : at + size]
    elif kind == 6:
        data[at:at] = data[at : at + size]
    elif rng.random() < 0.3:
        del data[at:]
    else:
        data[at : at + size] = rng.bytes(size)


def garble_name(data: bytes, name: str, rng: Rng) -> bytes:
    """The model with a name replaced, wherever it stands, by as many bytes that are no UTF-8, or steer a terminal."""
    old = name.encode()
    bad = pick(rng, (b"\xed\xa0\x80", b"\xff\xfe", b"\xc3", b"\x00\x01", b"\x1b["))
    return data.replace(old, (bad * len(old))[: len(old)]) if old else data


def nest(data: bytes, rng: Rng) -> bytes:
    """The model with a branch in a branch in a branch, as deep as protobuf takes or deeper.

    Written as bytes (https://protobuf.dev/programming-guides/encoding): protobuf itself makes none that deep.
    """
    leaf = helper.make_graph([helper.make_node("Cast", ["on"], ["deep"], to=1)], "b", [], [any_float("deep")])
    flat = body = leaf.SerializeToString()
    value = any_float("deep").SerializeToString()
    name = _part(2, b"deep")
    for _ in range(pick(rng, DEPTHS)):
        branches = [_part(5, _part(1, key) + _part(6, graph) + b"\xa0\x01\x05")
                    for key, graph in ((b"then_branch", body), (b"else_branch", flat))]  # fmt: skip
        node = _part(1, _part(1, b"on") + name + _part(4, b"If") + b"".join(branches))
        body = node + _part(2, b"b") + _part(12, value)
    condition = helper.make_tensor("on", TensorProto.BOOL, [], [True]).SerializeToString()
    return data + _part(7, node + _part(5, condition) + _part(12, value))


def _part(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def any_float(name: str) -> onnx.ValueInfoProto:
    """A value of floats, of any rank."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
