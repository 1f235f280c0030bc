from __future__ import annotations

from collections.abc import Callable

import onnx.parser
import onnx_ir as ir
import pytest

from chanc.ir.names import Names, value_names


def test_a_free_name_stays() -> None:
    assert Names(()).fresh("a") == "a"


def test_taken_names_are_numbered_from_the_first_free_one() -> None:
    names = Names({"a", "a.2"})
    assert [names.fresh("a") for _ in range(3)] == ["a.1", "a.3", "a.4"]


def test_bases_that_look_like_numbered_names_have_numbers_of_their_own() -> None:
    names = Names({"a"})
    assert [names.fresh(base) for base in ("a", "a.1", "a", "a.1")] == ["a.1", "a.1.1", "a.2", "a.1.2"]


@pytest.mark.parametrize("gone", ["a_2", "a_3", "a"])
def test_a_released_name_is_the_next_one(gone: str) -> None:
    names = Names({"a"}, joint="_", first=2)
    assert [names.fresh("a") for _ in range(3)] == ["a_2", "a_3", "a_4"]
    names.release(gone)
    assert [names.fresh("a") for _ in range(2)] == [gone, "a_5"]


def test_numbers_start_at_the_first_after_a_foreign_name_was_released() -> None:
    names = Names({"a", "a_0", "a_1"}, joint="_", first=2)
    assert names.fresh("a") == "a_2"
    names.release("a_0")
    assert names.fresh("a") == "a_3"


def test_a_thousand_names_of_one_base_take_ten_times_the_steps_of_a_hundred(lines_run: Callable[..., int]) -> None:
    def ask(count: int) -> None:
        names = Names({"a"})
        for _ in range(count):
            names.fresh("a")

    assert lines_run(lambda: ask(1000)) < 10.5 * lines_run(lambda: ask(100))


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
    names = Names(value_names(graph))
    assert [names.fresh(name) for name in ("x", "a", "c", "h", "n", "m")] == [
        "x.1",
        "a.1",
        "c.1",
        "h.1",
        "n.1",
        "m",
    ]
