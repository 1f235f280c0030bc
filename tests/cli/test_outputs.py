"""No command overwrites what it reads unless it is told to, and what can't be written is refused before the work."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chanc.cli import main
from chanc.cli.outputs import refuse_early
from chanc.errors import ChancError
from chanc.ir import save
from chanc.testing.graphs import Graph


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a classifier of the digits, its name on the path."""
    graph = Graph(seed=0)
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}).conv(8).relu()
    save(graph.ir(x.gap().flatten().gemm(10)), tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def code(*args: str) -> int:
    try:
        main(args)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def link(make: Callable[[str, str], None]) -> str:
    make("m.onnx", "other.onnx")
    return "other.onnx"


NAMES = {
    "same": lambda: "m.onnx",
    "dots": lambda: "./m.onnx",
    "absolute": lambda: str(Path("m.onnx").resolve()),
    "symbolic link": lambda: link(os.symlink),
    "hard link": lambda: link(os.link),
}

WITH_FORCE = {
    "rewrite": ("m.onnx", "--scale", "0.5", "-o"),
    "train": ("m.onnx", "--data", "digits", "--epochs", "1", "--limit-train", "40", "--quiet", "-o"),
}
WITHOUT = {
    "analyze --json": ("analyze", "m.onnx", "--json"),
    "analyze --html": ("analyze", "m.onnx", "--html"),
    "rewrite --trace": ("rewrite", "m.onnx", "--scale", "0.5", "-o", "half.onnx", "--trace"),
    "train --checkpoint": ("train", "m.onnx", "--data", "digits", "--epochs", "1", "-o", "out.onnx", "--checkpoint"),
    "export --weights": ("export", "zoo:resnet18", "--weights", "m.onnx", "-o"),
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("command", WITH_FORCE)
def test_out_is_never_model_unless_forced(here: Path, capsys, command: str, kind: str) -> None:
    name, before = NAMES[kind](), (here / "m.onnx").read_bytes()
    assert code(command, *WITH_FORCE[command], name) == 1
    told = f"chanc: writing {name} would overwrite the input m.onnx: add --force, or choose another name\n"
    assert capsys.readouterr().err == told
    assert (here / "m.onnx").read_bytes() == before


@pytest.mark.parametrize("command", WITH_FORCE)
def test_forced(here: Path, command: str) -> None:
    if command == "train":
        pytest.importorskip("torch")
    before = (here / "m.onnx").read_bytes()
    assert code(command, *WITH_FORCE[command], "m.onnx", "--force") == 0
    assert (here / "m.onnx").read_bytes() != before


@pytest.mark.parametrize("kind", ["same", "symbolic link", "hard link"])
@pytest.mark.parametrize("command", WITHOUT)
def test_no_other_file_is_model(here: Path, capsys, command: str, kind: str) -> None:
    name, before = NAMES[kind](), (here / "m.onnx").read_bytes()
    assert code(*WITHOUT[command], name) == 1
    error = capsys.readouterr().err
    # --checkpoint names what is there already as a training to go on with
    assert "would overwrite the input m.onnx: choose another name" in error or "exists already: add --resume" in error
    assert error.count("\n") == 1
    assert (here / "m.onnx").read_bytes() == before


TWICE = {
    "rewrite": ("rewrite", "m.onnx", "--scale", "0.5", "-o", "two", "--trace", "./two"),
    "analyze": ("analyze", "m.onnx", "--json", "two", "--html", "./two"),
    "train": ("train", "m.onnx", "--data", "digits", "--epochs", "1", "-o", "two", "--checkpoint", "./two"),
}


@pytest.mark.parametrize("command", TWICE)
def test_two_outputs_are_two_files(here: Path, capsys, command: str) -> None:
    assert code(*TWICE[command]) == 1
    assert capsys.readouterr().err == (
        "chanc: ./two can't be written twice, the command writes two too: choose another name\n"
    )
    assert not (here / "two").exists()


@pytest.mark.parametrize("command", WITH_FORCE)
def test_what_cant_be_written_is_refused(here: Path, capsys, command: str) -> None:
    for name, told in (("no/out.onnx", "no: No such file or directory"), (".", ".: Is a directory")):
        assert code(command, *WITH_FORCE[command], name) == 1
        assert capsys.readouterr().err == f"chanc: {told}\n"


def test_a_free_name_is_right(here: Path) -> None:
    for output in (None, "new.onnx", here / "new.onnx"):
        refuse_early(output, "m.onnx", None, force=False)
    (here / "old.onnx").write_text("another file")
    refuse_early("old.onnx", "m.onnx")
    refuse_early("m.onnx", "m.onnx", force=True)
    with pytest.raises(ChancError):
        refuse_early("new.onnx", "./new.onnx")
