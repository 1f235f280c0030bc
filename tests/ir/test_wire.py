from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from chanc.ir import wire


def model_bytes(sizes: list[int]) -> bytes:
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.standard_normal(n).astype(np.float32), f"w{i}") for i, n in enumerate(sizes)]
    graph = helper.make_graph([], "g", [], [], weights)
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()
    return data


def join(pieces: list[wire.Piece], view: memoryview, places: dict[int, slice]) -> bytes:
    return b"".join(bytes(view[places[p.initializer]]) if isinstance(p, wire.Payload) else bytes(p) for p in pieces)


@given(st.lists(st.integers(0, 300), max_size=6), st.sampled_from([1, 64, 1024]))
def test_hollow_then_fill_is_the_identity(sizes: list[int], threshold: int) -> None:
    data = model_bytes(sizes)
    view = memoryview(data)
    rest, places = wire.hollow(view, threshold)
    assert set(places) == {i for i, n in enumerate(sizes) if n and 4 * n >= threshold}
    hollow = onnx.ModelProto.FromString(rest)
    assert [t.name for t in hollow.graph.initializer] == [f"w{i}" for i in range(len(sizes))]
    assert not any(hollow.graph.initializer[i].HasField("raw_data") for i in places)
    pieces = wire.fill(memoryview(rest), {i: place.stop - place.start for i, place in places.items()})
    assert join(pieces, view, places) == data


@given(st.integers(0, 2**63 - 1))
def test_varint(value: int) -> None:
    data = wire.varint(value)
    assert wire.read_varint(memoryview(data), 0, len(data)) == (value, len(data))


@given(st.data())
def test_every_cut_is_noticed_or_ends_at_a_field(data: st.DataObject) -> None:
    whole = model_bytes([300, 2, 300])
    cut = memoryview(whole)[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        wire.hollow(cut, 1)
    except wire.WireError:
        return
    assert not onnx.ModelProto.FromString(bytes(cut)).opset_import


@pytest.mark.parametrize("junk", [b"\x00\x01", b"\x0b", b"\xff" * 12, b"\x0a\x05abc"])
def test_junk(junk: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.hollow(memoryview(junk), 1)
