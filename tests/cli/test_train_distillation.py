"""`chanc train --task distillation`: from pictures or arrays to a student that says what its teacher says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")
pictures = pytest.importorskip("PIL.Image")

from chanc.backends import ort  # noqa: E402
from chanc.cli import main  # noqa: E402
from chanc.ir import load, save  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def network(seed: int, width: int) -> ir.Model:
    """Pictures of any size to maps of three channels."""
    graph = Graph(seed=seed)
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n", 2: "h", 3: "w"})
    return graph.ir(x.conv(width).relu().conv(3))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A teacher, a student that is nearly it, and a folder of twenty pictures without classes."""
    monkeypatch.chdir(tmp_path)
    teacher, random = network(0, 6), np.random.default_rng(0)
    save(teacher, "teacher.onnx")
    for value in teacher.graph.initializers.values():
        array = value.const_value.numpy()
        value.const_value = ir.Tensor(array + 0.3 * array.std() * random.standard_normal(array.shape).astype("f"))
    save(teacher, "student.onnx")
    Path("photos/more").mkdir(parents=True)
    for number in range(20):
        pictures.fromarray(random.integers(0, 256, (8, 8)).astype(np.uint8)).save(f"photos/{number}.png")
    return tmp_path


def run(*args: object) -> None:
    common = "--task distillation --teacher teacher.onnx --optimizer adamw --lr 0.01 --batch-size 8 -o out.onnx"
    main(["train", "student.onnx", *common.split(), *map(str, args)])


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    with pytest.raises(SystemExit) as stop:
        run(*args)
    error = capsys.readouterr().err.strip()
    assert stop.value.code == 1
    assert error.startswith("chanc: ")
    assert len(error.splitlines()) == 1
    assert not Path("out.onnx").exists()
    return error


@pytest.mark.usefixtures("place")
def test_a_folder_of_pictures(capsys) -> None:
    run("--data", "photos", "--normalise", "none", "--epochs", 12)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "note: images without labels, a fifth of them held out as test part"
    assert said[1] == "note: the input is pixels / 255, channels first (NCHW): as asked for"
    assert "agreement" in said[2]
    pixels = np.stack([np.asarray(pictures.open(f"photos/{number}.png")) for number in range(20)])[:, None] / 255
    feeds = {"image": pixels.astype(np.float32)}
    before, said_by_teacher, after = (ort.run(f"{name}.onnx", feeds)[0] for name in ("student", "teacher", "out"))
    errors = [float(((found - said_by_teacher) ** 2).mean() / said_by_teacher.var()) for found in (before, after)]
    assert errors[1] < errors[0] / 4
    assert said[-1].startswith("wrote out.onnx: agreement ")
    assert said[-1].split(" on ")[1].startswith("4 test samples of photos")
    assert load("out.onnx").metadata_props["chanc.input.scale"] == repr(1 / 255)


@pytest.mark.usefixtures("place")
def test_arrays_by_the_names_of_inputs(capsys) -> None:
    images = np.random.default_rng(1).standard_normal((30, 1, 5, 9)).astype(np.float32)
    np.savez("feeds.npz", image=images)
    Path("arrays").mkdir()
    np.save("arrays/image.npy", images)
    ends = []
    for data in ("feeds.npz", "arrays", "arrays/image.npy"):
        run("--data", data, "--epochs", 2, "--force", "--quiet")
        ends.append(capsys.readouterr().out.split(" on ")[0])
    assert len(set(ends)) == 1
    run("--data", "random", "--shape", "image=2,1,6,6", "--limit-train", 40, "--epochs", 1)
    assert "made-up inputs: what is learned on them may not hold on real ones" in capsys.readouterr().out
    run("--data", "random", "--shape", "image=2,1,6,6", "--limit-train", 40, "--epochs", 1, "--logits", "--quiet")


@pytest.mark.usefixtures("place")
def test_one_line_each(capsys) -> None:
    assert "give --normalise none" in refused(capsys, "--data", "photos", "--epochs", 1)
    Path("empty").mkdir()
    assert "empty holds no images, no .npy arrays" in refused(capsys, "--data", "empty", "--epochs", 1)
    assert "nowhere does not exist" in refused(capsys, "--data", "nowhere", "--epochs", 1)
    np.savez("feeds.npz", picture=np.zeros((4, 1, 8, 8), np.float32))
    told = refused(capsys, "--data", "feeds.npz", "--epochs", 1)
    assert "feeds has arrays for 'picture'; the model's inputs are 'image'" in told
    np.savez("feeds.npz", image=np.zeros((4, 3, 8, 8), np.float32))
    told = refused(capsys, "--data", "feeds.npz", "--epochs", 1)
    assert "a sample of 'image' is 3x8x8, the model takes 1xhxw" in told
    np.savez("feeds.npz", image=np.zeros((4, 1, 8, 8), np.float32))
    told = refused(capsys, "--data", "feeds.npz", "--epochs", 1, "--normalise", "none")
    assert "are for images" in told
    Path("words.npy").write_text("no array")
    assert "words.npy is not an .npy file" in refused(capsys, "--data", "words.npy", "--epochs", 1)
    told = refused(capsys, "--data", "photos", "--epochs", 1, "--normalise", "none", "--task", "classification")
    assert "photos has no labels" in told or "learns nothing from a teacher" in told
