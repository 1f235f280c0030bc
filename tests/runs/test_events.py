from __future__ import annotations

import json
import math

import pytest

from chanc.runs import (
    Best,
    Decision,
    Epoch,
    EpochEvent,
    ErrorEvent,
    Event,
    FinalEvent,
    StartEvent,
    StateEvent,
    StepEvent,
    Trial,
    TrialEvent,
    VoidEvent,
)
from chanc.runs.events import KINDS, from_line, to_line

EVENTS: list[Event] = [
    StartEvent("greedy", file="input.onnx", sha256="ab"),
    TrialEvent(3, Decision({"é": 8}), 10, 20, 0.1 + 0.2, math.inf,
               (Epoch(0, 1.5, 0.5, metrics={"w": {"qc": -math.inf}}),),
               {"group_metric": {"é": 0.5}}, "trials/003/model.onnx", "cd", {"trials/003/evidence.npz": "ef"}),
    ErrorEvent(4, Decision(keep={"a": (0, 2)}), "diverged", skipped=True),
    EpochEvent(0, 1.0, 0.5, {"mu": {"a": 8.5}}, {"step": [1, {"x": None}]}),
    StateEvent({"x": None, "y": [1, "2"]}, (Trial(5, Decision({"a": 4}), 2, 3, "init"),), Best(Decision({"a": 4}), 3),
               {"3": {"momentum": {"a": 0.5}}}),
    FinalEvent("found-0", Decision(edges={"y:1": {"x": (0, 1)}}), {"lr": 0.1}, 7, 1, 2, 0.9, 0.2,
               (Epoch(0, 1.0, 0.9),)),
    StepEvent(1, {"é": 16}, {"é": 8}, 10, 20, {"cut": 0.5, "trained": 0.9}, {"b": "pinned"}, "trials/001/model.onnx"),
    VoidEvent((2, 3)),
]  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_an_event_is_one_line_and_comes_back(event: Event) -> None:
    line = to_line(event, 7)
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    fields = json.loads(line)
    assert (fields["v"], fields["seq"], fields["kind"]) == (3, 7, event.kind)
    assert to_line(from_line(line[:-1], 7), 7) == line
    assert repr(from_line(line[:-1], 7)) == repr(event)


def test_every_kind_is_tried() -> None:
    assert {event.kind for event in EVENTS} == set(KINDS)
    assert set(KINDS) == {"start", "trial", "epoch", "state", "final", "step", "error", "void"}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_any_flipped_bit_is_seen(event: Event) -> None:
    data = to_line(event, 7)[:-1].encode()
    for place in range(len(data)):
        for bit in (1, 32):
            torn = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
            with pytest.raises(ValueError, match=r"checksum|JSON"):
                from_line(torn.decode(errors="replace"), 7)


def line_of(**fields: object) -> str:
    """A line whose checksum is right, whatever its fields are."""
    import zlib

    head = json.dumps(fields)[:-1]
    return f'{head}, "crc": "{zlib.crc32(head.encode()):08x}"}}'


GOOD = {"v": 3, "seq": 0, "kind": "error", "id": 1, "decision": {}, "reason": "no"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, ""),
        ({"v": 2}, "it is of version 2, this chanc reads 3"),
        ({"seq": 2}, "its seq is 2 where 0 comes next"),
        ({"seq": "0"}, "its seq is 0, which is no count"),
        ({"kind": "party"}, "there is no event 'party'"),
        ({"kind": ["error"]}, "there is no event"),
        ({"id": "one"}, "id is no int"),
        ({"id": True}, "id is no int"),
        ({"reason": None}, "reason is no str"),
        ({"decision": {"widths": {"a": 1.5}}}, r"widths\.a is no int"),
        ({"decision": {"widths": [1]}}, "widths is no"),
        ({"decision": {"wide": {}}}, "decision has no field 'wide'"),
        ({"decision": 3}, "decision is no JSON object"),
        ({"when": 12}, "ErrorEvent has no field 'when'"),
        ({"kind": "void"}, "VoidEvent has no field 'id'"),
    ],
)
def test_what_does_not_fit_is_named(changed: dict[str, object], message: str) -> None:
    line = line_of(**{**GOOD, **changed})
    if not message:
        assert from_line(line, 0) == ErrorEvent(1, Decision(), "no")
        return
    with pytest.raises(ValueError, match=message):
        from_line(line, 0)


def test_a_missing_field_is_named() -> None:
    fields = {name: value for name, value in GOOD.items() if name != "reason"}
    with pytest.raises(ValueError, match="ErrorEvent lacks 'reason'"):
        from_line(line_of(**fields), 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"decision": {"widths": {"a": 8, "b": 0}}}, "group 'b' has 0 channels"),
        ({"file": "/etc/passwd"}, "its file '/etc/passwd' lies outside the run"),
        ({"beside": {"trials/../../x": ""}}, "lies outside the run"),
    ],
)
def test_what_no_run_has_is_refused(changed: dict[str, object], message: str) -> None:
    trial = {"v": 3, "seq": 0, "kind": "trial", "id": 1, "decision": {}, "params": 1, "macs": 1, "score": 1, "loss": 1}
    assert from_line(line_of(**trial), 0)
    with pytest.raises(ValueError, match=message):
        from_line(line_of(**{**trial, **changed}), 0)


def test_a_line_without_a_checksum_is_damaged() -> None:
    with pytest.raises(ValueError, match="checksum"):
        from_line(json.dumps(GOOD), 0)
