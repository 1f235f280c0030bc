"""Names of a model are a stranger's text: none reaches the terminal as it is."""

from __future__ import annotations

import contextlib
import re
import traceback
from pathlib import Path

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as nh
import pytest

import chanc
from chanc.cli import main
from chanc.errors import ChancError, DataError
from chanc.terminal import printable

EVIL = "y\x1b[2J\x1b]0;owned\x07\u202e\x9b31m\n"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def model(name: str = EVIL) -> onnx.ModelProto:
    """A graph of which every name would steer a terminal."""
    rng = np.random.default_rng(0)
    nodes = [
        oh.make_node("Conv", ["x" + name, "w" + name], ["a" + name], name="conv" + name),
        oh.make_node("Conv", ["a" + name, "v" + name], [name]),
    ]
    held = {"w": (4, 3, 1, 1), "v": (5, 4, 1, 1)}
    graph = oh.make_graph(
        nodes, "g" + name,
        [oh.make_tensor_value_info("x" + name, onnx.TensorProto.FLOAT, ["N" + name, 3, 8, 8])],
        [oh.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)],
        [nh.from_array(rng.standard_normal(shape).astype(np.float32), key + name) for key, shape in held.items()],
    )  # fmt: skip
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    onnx.save(model(), tmp_path / "good.onnx")
    broken = model()
    broken.graph.node[0].input.pop()
    onnx.save(broken, tmp_path / "broken.onnx")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        "analyze good.onnx",
        "analyze good.onnx --deps",
        "analyze good.onnx --metrics",
        "analyze good.onnx --json -",
        "analyze broken.onnx",
        "rewrite good.onnx -o out.onnx --scale 0.5 --trace trace.json",
        "rewrite good.onnx -o out.onnx --scale 1",
        "rewrite broken.onnx -o out.onnx --scale 0.5",
        "verify good.onnx good.onnx",
        "codegen good.onnx -o code",
        "codegen broken.onnx -o code",
        "train good.onnx -o out.onnx --data digits --epochs 1",
    ],
)
def test_no_command_lets_one_through(
    files: Path, words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    with contextlib.suppress(SystemExit):
        main(words.split())
    printed = capfd.readouterr()
    assert printed.out or printed.err
    assert not CONTROL.search(printed.out + printed.err)


@pytest.mark.parametrize(
    "words",
    [["analyze", EVIL], ["rewrite", "good.onnx", "-o", "out.onnx", "--plan", EVIL],
     ["search", "good.onnx", "--" + EVIL], ["search", "good.onnx", "--algo", EVIL], [EVIL]],
)  # fmt: skip
def test_no_argument_comes_back_as_it_is(
    files: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A shell puts names of files there, which are strangers' text too."""
    monkeypatch.chdir(files)
    with pytest.raises(SystemExit):
        main(words)
    printed = capfd.readouterr()
    assert r"\x1b[2J" in printed.err
    assert not CONTROL.search(printed.out + printed.err)


def test_an_error_that_python_prints_steers_nothing() -> None:
    for error in (DataError(f"no {EVIL} here"), ChancError(EVIL, 1)):
        assert not CONTROL.search(str(error))
        assert not CONTROL.search("".join(traceback.format_exception(error)).replace("\n", ""))
    assert str(DataError("one\n  two")) == "one two"


def test_an_errors_text_has_an_end() -> None:
    """A name in a model may be as long as the file."""
    text = str(DataError(f"first {'a' * 100_000} last"))
    assert (text[:6], text[-5:], len(text)) == ("first ", " last", 1503)


def test_what_is_shown_instead() -> None:
    assert printable(EVIL) == r"y\x1b[2J\x1b]0;owned\x07\x202e\x9b31m\x0a"
    assert printable("größe 宽 [N]") == "größe 宽 [N]"


def test_there_is_one_way_out() -> None:
    """`click.echo` is called where names are made printable, and for JSON, which escapes them."""
    found = {
        path.name
        for path in Path(chanc.__file__).parent.joinpath("cli").glob("*.py")
        if "click.echo(" in path.read_text()
    }
    assert found == {"outputs.py", "analyze.py"}
