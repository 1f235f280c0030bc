from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chanc.report import run, visualizer
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


class Page(HTMLParser):
    """What a browser would run or apply: scripts and styles in the page, handlers, addresses, the policy."""

    def __init__(self, text):
        super().__init__()
        self.policy, self.scripts, self.styles, self.attributes = [], [], [], []
        self._open = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.attributes += attrs
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy.append(given["content"])
        if tag == "style" or (tag == "script" and given.get("type") != "application/json"):
            self._open = self.styles if tag == "style" else self.scripts
            self._open.append("")

    def handle_data(self, data):
        if self._open is not None:
            self._open[-1] += data

    def handle_endtag(self, tag):
        self._open = None


def every_page(runs, sweep, folder):
    """A page of each kind that chanc writes."""
    visualizer.write_html(runs.resnet(8), folder / "net.html", title=HOSTILE)
    run.write_report(runs.write_run(folder / "run", groups=4, trials=5), folder / "run.html")
    run.write_report(sweep, folder / "sweep.html")
    return [(folder / name).read_text() for name in ("net.html", "run.html", "sweep.html")]


def test_the_policy_names_every_script_by_its_hash_and_nothing_else(runs, sweep, tmp_path):
    for text in every_page(runs, sweep, tmp_path):
        seen = Page(text)
        (policy,) = seen.policy
        rules = {name: words for name, *words in (rule.split() for rule in policy.split(";"))}
        assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
        for name, pieces in (("script-src", seen.scripts), ("style-src", seen.styles)):
            hashes = [base64.b64encode(hashlib.sha256(piece.encode()).digest()).decode() for piece in pieces]
            assert pieces
            assert rules[name] == [f"'sha256-{digest}'" for digest in hashes]
        assert "unsafe" not in policy
        assert not [name for name, _ in seen.attributes if name.startswith("on") or name in ("src", "href", "style")]
        # nothing in the scripts makes code of text, or needs what the policy forbids
        code = "".join(seen.scripts)
        assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", code)
        assert not re.findall(r"""setAttribute\("(?:style|on)|javascript:|\bfetch\(|XMLHttpRequest|WebSocket""", code)
