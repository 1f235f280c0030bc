from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import pytest

import chanc
from chanc import api, study
from chanc.errors import ChancError


def test_search_is_the_studys_with_a_report() -> None:
    assert chanc.search is api.search
    assert inspect.signature(api.search) == inspect.signature(study.search)
    assert api.search.__doc__ == study.search.__doc__


def test_search_can_be_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(api.search)) is api.search


def test_a_report_is_drawn_unless_something_else_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = []
    reported = api._reported(lambda on_change: seen.append(on_change))  # type: ignore[arg-type,return-value]
    reported()
    reported(on_change=None)
    assert seen == [api._draw, None]


def test_bad_models_are_one_error() -> None:
    with pytest.raises(ChancError, match="nowhere"):
        api.search("nowhere.onnx", out="never")
