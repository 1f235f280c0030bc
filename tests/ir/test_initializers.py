from __future__ import annotations

import numpy as np

from chanc.ir.initializers import constant


def test_a_single_number_stays_one_without_axes() -> None:
    value = constant("half", np.array(0.5, dtype=np.float32))
    assert value.const_value is not None
    assert value.shape is not None
    assert tuple(value.const_value.shape) == tuple(value.shape) == ()


def test_a_turned_matrix_is_written_row_by_row() -> None:
    value = constant("turned", np.arange(6).reshape(2, 3).T)
    assert value.const_value is not None
    np.testing.assert_array_equal(np.frombuffer(value.const_value.tobytes(), dtype=np.int64), [0, 3, 1, 4, 2, 5])
