from __future__ import annotations

import numpy as np
import onnx.parser
import onnx_ir as ir

from chanc.ir.initializers import constant, fresh_name


def test_a_single_number_stays_one_without_axes() -> None:
    value = constant("half", np.array(0.5, dtype=np.float32))
    assert value.const_value is not None
    assert value.shape is not None
    assert tuple(value.const_value.shape) == tuple(value.shape) == ()


def test_a_turned_matrix_is_written_row_by_row() -> None:
    value = constant("turned", np.arange(6).reshape(2, 3).T)
    assert value.const_value is not None
    np.testing.assert_array_equal(np.frombuffer(value.const_value.tobytes(), dtype=np.int64), [0, 3, 1, 4, 2, 5])


def test_a_name_that_a_body_uses_is_not_free() -> None:
    graph = ir.serde.deserialize_graph(
        onnx.parser.parse_graph("""
            g (bool k, float[3] x) => (float[3] y) {
                y = If (k) <
                    then_branch = t () => (float[3] a) <float[3] c = {4, 5, 6}> { a = Add (x, c) },
                    else_branch = e () => (float[3] b) {
                        b = Loop ("", k, x) <body = l (int64 i, bool go, float[3] h) => (bool go, float[3] n) {
                            n = Neg (h)
                        }>
                    }>
            }""")
    )
    assert [fresh_name(graph, name) for name in ("x", "a", "c", "h", "n", "m")] == [
        "x.1",
        "a.1",
        "c.1",
        "h.1",
        "n.1",
        "m",
    ]
