"""The protobuf wire format of an ONNX file, as far as big weights need it.

A `ModelProto` is read in two parts: a *hollow* model, which has no bytes of big initializers in it and is parsed by
protobuf as usual, and the places of those bytes in the file, which are used where they lie. Writing goes the same way
back. So weights are held once, not three times (file, parsed message, array), and can be memory-mapped.

Format: https://protobuf.dev/programming-guides/encoding; field numbers: onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
"""Field numbers of `ModelProto.graph`, `GraphProto.initializer` and `TensorProto.raw_data`."""

Buffer = memoryview


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes that are put in later: `size` of them, of the initializer of this index."""

    initializer: int
    size: int

    def __len__(self) -> int:
        return self.size


Piece = Buffer | bytes | Payload

_LENGTH_DELIMITED = 2
_FIXED_SIZE = {1: 8, 5: 4}


class WireError(Exception):
    """Bytes that are no protobuf message, or one that is cut off."""


Field = tuple[int, int, int, int, int]
"""One field of a message: number, wire type, where its tag is, where its content starts and ends (bytes offsets)."""


def fields(view: Buffer, start: int, end: int) -> Iterator[Field]:
    """The fields of the message `view[start:end]`. Raises: WireError."""
    while start < end:
        tag = start
        key, start = (view[start], start + 1) if view[start] < 0x80 else read_varint(view, start, end)
        number, wire = key >> 3, key & 7
        if wire == _LENGTH_DELIMITED:
            short = start < end and view[start] < 0x80
            length, start = (view[start], start + 1) if short else read_varint(view, start, end)
            stop = start + length
        elif wire == 0:
            _, stop = read_varint(view, start, end)
        elif wire in _FIXED_SIZE:
            stop = start + _FIXED_SIZE[wire]
        else:
            raise WireError(f"not protobuf: wire type {wire} at byte {tag}")
        if number == 0:
            raise WireError(f"not protobuf: field number 0 at byte {tag}")
        if stop > end:
            raise WireError(f"cut off: a field at byte {tag} ends at byte {stop}, the data at byte {end}")
        yield number, wire, tag, start, stop  # not a named tuple, which takes as long to make as the rest
        start = stop


def read_varint(view: Buffer, start: int, end: int) -> tuple[int, int]:
    """A base-128 number at `start` and the offset behind it. Raises: WireError."""
    value = shift = 0
    while start < end and shift < 70:
        byte = view[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
        shift += 7
    raise WireError(f"cut off or not protobuf: no number at byte {start}")


def varint(value: int) -> bytes:
    """`value` >= 0 as a base-128 number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def hollow(view: Buffer, threshold: int) -> tuple[bytes, dict[int, slice]]:
    """Split a serialized `ModelProto` into a hollow one and `{initializer's index: its bytes' place in view}`.

    Initializers of the main graph with at least `threshold` bytes of raw_data lose them in the hollow model.
    Raises: WireError.
    """
    places: dict[int, slice] = {}

    def cut(index: int, start: int, end: int) -> list[Piece] | None:
        raw = _raw_data(view, start, end) if end - start >= threshold else None
        if raw is None or raw[2] - raw[1] < threshold:
            return None
        tag, place, behind = raw
        places[index] = slice(place, behind)
        return _message(INITIALIZER, [view[start:tag], view[behind:end]])

    return b"".join(piece for piece in _edit(view, cut) if not isinstance(piece, Payload)), places


def fill(view: Buffer, sizes: dict[int, int]) -> list[Piece]:
    """The reverse of `hollow`: the pieces of the `ModelProto` in which initializer i has `sizes[i]` bytes of raw_data.

    Those bytes are left to the caller: a `Payload` each, where the (empty) raw_data stands or else at the end.
    """

    def put(index: int, start: int, end: int) -> list[Piece] | None:
        if index not in sizes:
            return None
        before, _, after = _raw_data(view, start, end) or (end, end, end)
        payload = _message(RAW_DATA, [Payload(index, sizes[index])])
        return _message(INITIALIZER, [view[start:before], *payload, view[after:end]])

    return _edit(view, put)


def _raw_data(view: Buffer, start: int, end: int) -> tuple[int, int, int] | None:
    """Where the one raw_data of the tensor `view[start:end]` has its tag, starts and ends."""
    found = [
        (tag, first, last)
        for number, wire, tag, first, last in fields(view, start, end)
        if number == RAW_DATA and wire == _LENGTH_DELIMITED
    ]
    return found[0] if len(found) == 1 else None


def _message(number: int, content: list[Piece]) -> list[Piece]:
    """A length-delimited field in pieces."""
    return [varint(number << 3 | _LENGTH_DELIMITED) + varint(sum(map(len, content))), *content]


def _edit(view: Buffer, change: Callable[[int, int, int], list[Piece] | None]) -> list[Piece]:
    """The model in pieces, with each initializer of the main graph replaced by what `change` gives for it.

    `change` gets the initializer's index, and where its message starts and ends.
    """
    pieces: list[Piece] = []
    graphs = [(tag, start, end) for number, wire, tag, start, end in fields(view, 0, len(view))
              if number == GRAPH and wire == _LENGTH_DELIMITED]  # fmt: skip
    if len(graphs) != 1:
        return [view]
    (head, done, tail), index = graphs[0], 0
    for number, wire, tag, start, end in fields(view, done, tail):
        if number == INITIALIZER and wire == _LENGTH_DELIMITED:
            changed = change(index, start, end)
            if changed is not None:
                pieces += [view[done:tag], *changed]
                done = end
            index += 1
    pieces.append(view[done:tail])
    return [view[:head], *_message(GRAPH, pieces), view[tail:]]
