from __future__ import annotations

import onnx
import pytest

from chanc.ir import load
from chanc.oracles import judge
from chanc.oracles.loops import too_long
from chanc.rewriter import rewrite

TEXT = """
<ir_version: 9, opset_import: ["" : 17]>
g (float[2,3] x) => (float[2,3] y)
<float[3,4] w = {1,2,3,4,5,6,7,8,9,1,2,3}, float[4,3] u = {1,2,3,4,5,6,7,8,9,1,2,3},
 int64 count = {COUNT}, bool go = {GO}>
{
  a = MatMul (x, w)
  b = Loop (count, go, a) <body = turn (int64 i, bool on, float[2,4] s) => (bool again, float[2,4] next) {
    z = Tanh (s)
    next = Identity (z)
    AGAIN
  }>
  y = MatMul (b, u)
}
"""
NEVER_ENDS, MANY = "again = Identity (on)", 1 << 62


def model(count: int = MANY, go: int = 1, again: str = NEVER_ENDS) -> onnx.ModelProto:
    text = TEXT.replace("COUNT", str(count)).replace("GO", str(go)).replace("AGAIN", again)
    proto: onnx.ModelProto = onnx.parser.parse_model(text)
    return proto


def test_a_loop_that_nobody_can_wait_for_is_not_run() -> None:
    done = rewrite(model(), scale=0.5)
    (finding,) = judge(model(), done.model, trace=done.trace).findings
    assert finding.agrees is None
    assert finding.reason == f"it can't be run: Loop 'b' takes {MANY:,} turns"


@pytest.mark.parametrize(
    "ends", [{"count": 3}, {"go": 0}, {"again": "n = ReduceMax <keepdims=0> (next)\nagain = Less (n, n)"}]
)
def test_loops_that_may_end(ends: dict[str, object]) -> None:
    assert too_long(load(model(**ends))) == ""  # type: ignore[arg-type]
