from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chanc.report.embed import page, plain, safe_json

HOSTILE = "</script><script>alert(1)</script>"


@given(st.text())
def test_json_survives_and_holds_nothing_that_html_reads(text):
    embedded = safe_json({text: [text]})
    assert not set(embedded) & set("<>&\u2028\u2029")
    assert json.loads(embedded) == {text: [text]}


def test_hostile_text_does_not_end_the_script():
    text = page(HOSTILE, {"name": HOSTILE}, ["page.js"])
    assert "alert(1)</script>" not in text
    assert text.count("<script") == 2
    assert text.count("</script>") == 2


def test_template_marks_in_the_data_stay_text():
    text = page("{{data}}", {"name": "{{scripts}}{{title}}"}, ["page.js"])
    assert '"{{scripts}}{{title}}"' in text
    assert "<title>{{data}}</title>" in text


def test_numbers_become_json():
    value = {"a": np.float32("nan"), "b": np.arange(3), "c": float("inf"), "d": (np.int64(2), True, None), 3: {1.5}}
    assert plain(value) == {"a": None, "b": [0, 1, 2], "c": None, "d": [2, True, None], "3": "{1.5}"}
