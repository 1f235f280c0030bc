from __future__ import annotations

import os
import pickletools

import pytest

from chanc.errors import RunError

torch = pytest.importorskip("torch")

from chanc.training.checkpoint import load_state, save_state  # noqa: E402


def test_nested_state_comes_back_as_it_was(tmp_path) -> None:
    state = {
        "numbers": [1, 0.1 + 0.2, float("inf"), True, None, "text"],
        "pair": (1, (2.5, [])),
        "by index": {0: {"step": torch.tensor(3.0)}, 7: {}},
        "like a tag": ["tensor", "0", False],
        "a": {"b": torch.arange(3)},
        "a.b": torch.arange(4),
        "bytes": torch.get_rng_state(),
        "half": torch.randn(3, dtype=torch.bfloat16),
    }
    save_state(tmp_path / "s.safetensors", state)
    back = load_state(tmp_path / "s.safetensors")
    assert back.keys() == state.keys()
    for name in ("numbers", "pair", "like a tag"):
        assert back[name] == state[name]
        assert type(back[name]) is type(state[name])
    assert list(back["by index"]) == [0, 7]
    assert back["by index"][0]["step"].shape == ()
    for ours, theirs in ((back["a"]["b"], state["a"]["b"]), (back["a.b"], state["a.b"]), (back["half"], state["half"])):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)
    assert torch.equal(back["bytes"], state["bytes"])


def test_layout_and_shared_storage(tmp_path) -> None:
    strided = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(4, 4)
    save_state(tmp_path / "s.safetensors", {"x": strided, "tied": [weight, weight], "t": weight.t()})
    back = load_state(tmp_path / "s.safetensors")
    assert torch.equal(back["x"], strided)
    assert back["x"].stride() == strided.stride()
    assert torch.equal(back["tied"][1], weight)
    assert torch.equal(back["t"], weight.t())


def test_no_pickle_in_the_file(tmp_path) -> None:
    save_state(tmp_path / "s.safetensors", {"x": torch.ones(3), "n": 1})
    data = (tmp_path / "s.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r".*"):
        list(pickletools.genops(data))
    assert data[8:9] == b"{"


def test_what_json_cannot_hold_is_refused_before_writing(tmp_path) -> None:
    with pytest.raises(TypeError, match=r"a\.0: a set can't be kept"):
        save_state(tmp_path / "s.safetensors", {"a": [{1}]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_damaged_file_is_one_line(keep: int, tmp_path) -> None:
    path = tmp_path / "s.safetensors"
    save_state(path, {"x": torch.ones(30)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RunError, match="is not a checkpoint, or is damaged") as caught:
        load_state(path)
    assert "\n" not in str(caught.value)


def test_any_flipped_bit_is_seen(tmp_path) -> None:
    path = tmp_path / "s.safetensors"
    save_state(path, {"x": torch.ones(5), "lr": 0.125})
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(RunError, match="is not a checkpoint, or is damaged"):
            load_state(path)


def test_other_safetensors_file_and_no_file(tmp_path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.ones(3)}, tmp_path / "other.safetensors")
    for name in ("other.safetensors", "none.safetensors"):
        with pytest.raises(RunError, match="is not a checkpoint"):
            load_state(tmp_path / name)


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "s.safetensors"
    save_state(path, {"n": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("safetensors.torch.save", full)
    with pytest.raises(RunError, match="No space left on device"):
        save_state(path, {"n": 2})
    assert load_state(path) == {"n": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.safetensors"]


def test_the_mode_is_that_of_any_new_file_and_then_stays(tmp_path) -> None:
    path = tmp_path / "s.safetensors"
    before = os.umask(0o022)
    try:
        save_state(path, {"x": torch.ones(3)})
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o660)
    save_state(path, {"x": torch.ones(4)})
    assert path.stat().st_mode & 0o777 == 0o660


@pytest.mark.timeout(20)
def test_a_pipe_is_no_checkpoint(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="not a regular file"):
        load_state(tmp_path / "pipe")
