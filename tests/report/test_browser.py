"""The pages in a real browser, headless: no console errors, every plot drawn, no text on text."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

from chanc.report import embed
from chanc.report import run as report_run
from chanc.report.run import write_report
from chanc.report.visualizer import model_graph, write_html
from chanc.runs.seal import write_sealed

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--window-size=1400,1600",
    "--virtual-time-budget=20000",
)

# what a page does when a test drives it: each check leaves its findings in one attribute of the document
HELPERS = """
<script>
function clashes(svg) {
  const texts = [...svg.querySelectorAll('text')].filter((t) => t.getClientRects().length);
  const boxes = texts.map((t) => [t.textContent, t.getBoundingClientRect()]);
  const found = [];
  boxes.forEach(([a, p], i) => boxes.slice(0, i).forEach(([b, q]) => {
    const across = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    if (across > 1 && down > 3) found.push(`${a} | ${b}`);
  }));
  const frame = svg.getBoundingClientRect();
  const out = boxes.filter(([, p]) => p.left < frame.left - 1 || p.right > frame.right + 1
    || p.top < frame.top - 1 || p.bottom > frame.bottom + 1);
  found.push(...out.map(([a]) => `${a} leaves the picture`));
  return found;
}
const pause = () => new Promise((done) => setTimeout(done, 30));
const result = { alerts: 0, errors: [] };
window.alert = () => { result.alerts += 1; };
addEventListener('error', (event) => result.errors.push(String(event.message)));
async function finish(check) {
  await pause();
  try { await check(); } catch (error) { result.errors.push(String(error)); }
  document.documentElement.setAttribute('data-result', JSON.stringify(result));
  parent.postMessage(JSON.stringify(result), '*');
}
</script>
"""

EVERY_PLOT = """
<script>
finish(async () => {
  result.drawn = {}; result.clashes = []; result.first = {}; result.units = {};
  result.dark = getComputedStyle(document.body).backgroundColor;
  for (const section of document.querySelectorAll('section')) {
    const select = section.querySelector('select');
    result.first[section.id] = section.querySelector('svg[data-plot]')?.dataset.plot;
    for (let i = 0; i < (select ? select.options.length : 1); i++) {
      if (select) { select.selectedIndex = i; select.dispatchEvent(new Event('change')); await pause(); }
      const svg = section.querySelector('svg[data-plot]');
      if (!svg) continue;
      const texts = [...svg.querySelectorAll(':scope > text')].map((text) => text.textContent);
      if (svg.dataset.plot.endsWith('-map')) result.units[svg.dataset.plot] = texts.slice(-12);
      result.drawn[svg.dataset.plot] = svg.querySelectorAll('path.series, .mark, rect').length;
      if (svg.dataset.plot === 'network') continue;
      result.clashes.push(...clashes(svg).map((text) => `${svg.dataset.plot}: ${text}`));
    }
  }
  result.wide = document.documentElement.scrollWidth - innerWidth;
});
</script>
"""

GRAPH = """
<script>
finish(async () => {
  const graph = JSON.parse(document.getElementById('data').textContent).graph;
  const view = document.querySelector('.stage svg > g');
  result.nodes = view.querySelectorAll('.node').length;
  const bar = view.querySelector('.bar[data-g="1"]');
  bar.dispatchEvent(new PointerEvent('pointerenter'));
  result.lit = [...view.querySelectorAll('.node.on .label')].map((t) => t.textContent);
  bar.dispatchEvent(new PointerEvent('pointerleave'));
  result.unlit = view.classList.contains('picked');
  bar.dispatchEvent(new MouseEvent('click', { bubbles: true }));
  result.chosen = document.querySelector('.chosen').textContent;
  const search = document.querySelector('input[type=search]');
  search.value = 'shortcut';
  search.dispatchEvent(new Event('input'));
  result.found = view.querySelectorAll('.node.found').length;
  search.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }));
  result.status = search.nextSibling.textContent;
  result.hatched = view.querySelectorAll('[fill="url(#hatch)"]').length;
  result.outside = [...view.querySelectorAll('.node')].filter((node) => {
    const box = node.querySelector('.box, .bar').getBBox();
    const ends = [...node.querySelectorAll('text')].map((t) => t.getBBox());
    return ends.some((t) => t.x < box.x - 2 || t.x + t.width > box.x + box.width + 2);
  }).map((node) => node.textContent);
  const tips = view.querySelector('.node.layer');
  tips.dispatchEvent(new PointerEvent('pointermove', { clientX: 300, clientY: 300, bubbles: true }));
  result.tip = document.querySelector('.tip').textContent;
});
</script>
"""


# a window can't be as narrow as a telephone, a frame can
NARROW = """
<script>
addEventListener('message', (event) => document.documentElement.setAttribute('data-result', event.data));
</script>
<iframe src="{}" style="width: 400px; height: 900px; border: 0"></iframe>
"""


def allowing(text, *added):
    """The page with the added scripts in its policy, which refuses all that it doesn't name."""
    pieces = [re.search("<script>(.*)</script>", script, re.DOTALL).group(1) for script in added]
    return text.replace("script-src ", f"script-src {' '.join(map(embed._source, pieces))} ", 1)


def visit(page, check, tmp_path, fragment="", narrow=False):
    """Open a page with a script added to it and return what the script found."""
    driven = tmp_path / f"driven{fragment.strip('#')}.html"
    head, tail = allowing(page.read_text(), HELPERS, check).split('<script type="application/json"', 1)
    driven.write_text(head + HELPERS + '<script type="application/json"' + tail.replace("</body>", check + "</body>"))
    opened = f"file://{driven}{fragment}"
    if narrow:
        (tmp_path / "narrow.html").write_text(NARROW.format(opened))
        opened = f"file://{tmp_path / 'narrow.html'}"
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", opened]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    found = json.loads(html.unescape(re.search(r'data-result="([^"]*)"', done.stdout).group(1)))
    assert found["errors"] == []
    assert found["alerts"] == 0
    return found


@pytest.mark.parametrize(("groups", "fragment"), [(20, "#light"), (150, "#dark")])
def test_the_report(runs, tmp_path, monkeypatch, groups, fragment):
    monkeypatch.setattr(report_run, "_best_graph", lambda record: (model_graph(runs.resnet(16)), ""))
    page = write_report(runs.write_run(tmp_path / "run", groups=groups))
    found = visit(page, EVERY_PLOT, tmp_path, fragment)
    assert found["clashes"] == []
    assert found["wide"] <= 0
    assert found["dark"] == ("rgb(20, 23, 28)" if fragment == "#dark" else "rgb(255, 255, 255)")
    drawn = found["drawn"]
    assert drawn["widths"] == drawn["in_qc"] == groups
    assert drawn["widths-map"] >= groups * 35
    assert drawn["out_rank-map"] >= groups * 70
    assert drawn["final-params"] == 5
    assert drawn["trials-macs"] == 35
    assert drawn["cumulative-map"] >= (groups + 1) * 35
    assert found["first"]["metrics"] == ("in_qc" if groups == 20 else "in_qc-map")  # a crowd of lines is shown as a map
    assert found["first"]["cumulative"] == ("cumulative" if groups == 20 else "cumulative-map")
    ticks = found["units"]["in_qc-map"]
    assert "QC of the in mode (rad)" in ticks
    assert {"0.2", "0.4", "0.6"} <= set(ticks)
    assert drawn["acceptance"] == 5 + 34 * groups
    assert drawn["cumulative"] == groups + 1 + 35
    assert drawn["network"] > 100


def test_a_narrow_page(runs, tmp_path, monkeypatch):
    groups = 30
    monkeypatch.setattr(report_run, "_best_graph", lambda record: (model_graph(runs.resnet(16)), ""))
    found = visit(write_report(runs.write_run(tmp_path / "run", groups=groups)), EVERY_PLOT, tmp_path, narrow=True)
    assert found["clashes"] == []
    assert found["wide"] <= 0
    assert found["drawn"]["widths"] == groups


def test_published_networks_are_points_beside_the_runs_own(runs, tmp_path):
    folder = runs.write_run(tmp_path / "run", groups=4, trials=5)
    text = (folder / "config.json").read_text().replace('"r34.onnx"', '"densenet-bc.onnx"')
    write_sealed(folder / "config.json", json.loads(text))
    own = visit(write_report(runs.write_run(tmp_path / "own", groups=4, trials=5)), EVERY_PLOT, tmp_path, "#light")
    found = visit(write_report(folder), EVERY_PLOT, tmp_path, "#light")
    assert found["clashes"] == []
    assert found["drawn"]["final-params"] == own["drawn"]["final-params"] + 2


def test_a_sweep(runs, tmp_path):
    found = visit(write_report(runs.write_sweep(tmp_path / "sweep")), EVERY_PLOT, tmp_path, "#dark")
    assert found["clashes"] == []
    # three lines, three points a method, six of uniform, and the baseline
    assert (found["drawn"]["final-params"], found["drawn"]["final-macs"]) == (3 + 13, 3 + 13)


def test_a_search_that_drops_inputs(runs, tmp_path):
    """Three cells make a picture that is lower than the legend beside it."""
    found = visit(write_report(runs.write_edge_run(tmp_path / "cnas")), EVERY_PLOT, tmp_path)
    assert found["clashes"] == []
    assert found["drawn"]["edge-tensors"] >= 9


def test_the_visualizer(runs, tmp_path):
    write_html(runs.resnet(16), tmp_path / "net.html")
    found = visit(tmp_path / "net.html", GRAPH, tmp_path)
    assert found["nodes"] == 55
    assert found["lit"] == ["layer1.0.conv1 3×3", "layer1.0.conv2 3×3"]
    assert not found["unlit"]
    assert "layer1.0.conv1.weight" in found["chosen"]
    assert "Conv layer1.0.conv1.weight, axis 0, producer" in found["chosen"]
    assert "layer1.0.conv1.bn.weight and 3 more, axis 0, follower" in found["chosen"]
    assert found["found"] == 3
    assert found["status"] == "1 of 3: layer2.4.shortcut"
    # the image's three channels and the classes of the last layer
    assert found["hatched"] == 2
    assert found["outside"] == []
    assert "in no channel group" in found["tip"]


def test_circles_beside_what_they_were(runs, tmp_path):
    write_html(runs.resnet(16), tmp_path / "net.html", circles=True, before=runs.resnet(16, width=32))
    found = visit(tmp_path / "net.html", GRAPH, tmp_path)
    assert found["nodes"] == 55
    assert found["lit"] == ["layer1.0.conv1 3×3", "layer1.0.conv2 3×3"]
    assert found["hatched"] == 1  # the classes; the image's channels are no circle
    assert found["status"] == "1 of 3: layer2.4.shortcut"


def test_hostile_names_are_text(runs, tmp_path):
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    write_html(runs.resnet(8, prefix=hostile), tmp_path / "net.html", title=hostile)
    found = visit(tmp_path / "net.html", GRAPH, tmp_path)
    assert hostile in found["chosen"]
    assert found["nodes"] == 31


def test_a_script_that_the_page_does_not_name_does_not_run(runs, tmp_path):
    write_html(runs.resnet(8), tmp_path / "net.html")
    text = (tmp_path / "net.html").read_text()
    planted = '<script>document.title = "owned"</script><img src="data:," onerror="document.title = \'owned\'"></body>'
    (tmp_path / "net.html").write_text(text.replace("</body>", planted))
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{tmp_path}/net.html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "<title>owned" not in done.stdout
    assert 'data-ready="yes"' in done.stdout
    assert done.stderr.count("violates the following Content Security Policy directive") == 2


def test_five_hundred_layers(runs, tmp_path):
    write_html(runs.resnet(240, width=8), tmp_path / "net.html")
    found = visit(tmp_path / "net.html", GRAPH, tmp_path)
    assert found["nodes"] == 727
    assert found["outside"] == []
