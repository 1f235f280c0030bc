"""`chanc rewrite`: what it says of groups that change, and of those that are left alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import chanc
from chanc.cli.rewrite import command
from chanc.rewriter import IMPORTANCES
from chanc.rewriter.importance import Evidence
from chanc.testing.builders import build
from chanc.testing.graphs import Graph

CASES = Path(os.environ.get("CHANC_SHARED", Path(__file__).parents[2].parent / "shared")) / "cases"
MANY = 14


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """As many groups that can't be widened exactly as `MANY`, and one that can."""
    body, weights = ["u = Conv(x, w)", "t0 = Conv(u, last)"], {"w": (4, 3, 1, 1), "last": (2, 4, 1, 1)}
    for k in range(MANY):
        body += [f"h{k} = Conv(x, w{k})", f"p{k} = Mul(h{k}, h{k})", f"s{k} = ReduceSum(p{k}, axis)"]
        body.append(f"t{k + 1} = Add(t{k}, s{k})")
        weights[f"w{k}"] = (4, 3, 1, 1)
    text = "\n".join([*body, f"y = Relu(t{MANY})"])
    model = build("float[1,3,4,4] x", "float y", text, {**weights, "axis": np.array([1])})
    onnx.save(model, tmp_path / "in.onnx")
    return tmp_path / "in.onnx"


def run(path: Path, *options: str) -> tuple[int, list[str]]:
    done = CliRunner().invoke(command, [str(path), "-o", str(path.with_name("out.onnx")), "--force", *options])
    said = done.output if done.exception is None or done.exit_code == 0 else str(done.exception)
    return done.exit_code, said.splitlines()


def test_at_most_ten_groups_are_named(many: Path) -> None:
    code, said = run(many, "--scale", "2", "--transfer", "widen", "--trace", str(many.with_name("t.json")))
    assert code == 0
    assert "1 of 15 groups changed, 4 -> 8 channels" in said[0]
    assert said[1] == "left alone: w0: widen can't keep the function: ReduceSum 's0' folds its channels"
    assert said[11] == "left alone: 4 more groups; --trace has them all"
    assert said[12].startswith("verified: computes what the original does")
    verdicts = json.loads(many.with_name("t.json").read_text())["verdicts"]
    assert sum(found["verdict"] == "left" and "ReduceSum" in found["reason"] for found in verdicts.values()) == MANY


def test_the_causes_of_what_is_not_exact(many: Path) -> None:
    code, said = run(many, "--scale", "2", "--transfer", "select")
    assert code == 0
    assert "; 14 of them not exactly: ReduceSum 's0' folds its channels" in said[0]


def test_exact_groups_only(many: Path) -> None:
    code, said = run(many, "--scale", "2", "--exact")
    assert code == 0
    assert "1 of 15 groups changed" in said[0]
    assert said[1] == "left alone: w0: it can't change exactly: ReduceSum 's0' folds its channels"


def test_nothing_is_left_to_change(tmp_path: Path) -> None:
    body = "a = Conv(x, w1)\np = Mul(a, a)\ny = ReduceSum(p, axis)"
    weights = {"w1": (4, 3, 1, 1), "axis": np.array([1])}
    onnx.save(build("float[1,3,4,4] x", "float y", body, weights), tmp_path / "in.onnx")
    code, said = run(tmp_path / "in.onnx", "--scale", "2", "--transfer", "widen")
    assert code == 1
    assert said == ["nothing changes: all groups were left alone, 1 of them because widen can't keep the function: "
                    "ReduceSum 'y' folds its channels"]  # fmt: skip
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("name", ["int8_weights_widen", "qdq_residual", "loop_carried_kernel"])
@pytest.mark.parametrize("scale", ["0.5", "1.5", "2"])
def test_shared_cases(name: str, scale: str, tmp_path: Path) -> None:
    path = CASES / f"{name}.onnx"
    if not path.is_file():
        pytest.skip("the shared cases are not here")
    onnx.save(onnx.load(path), tmp_path / "in.onnx")
    code, said = run(tmp_path / "in.onnx", "--scale", scale, "--transfer", "widen" if float(scale) > 1 else "select")
    assert code == 0
    assert "not exactly" not in said[0]
    assert said[1].startswith("verified: computes what the original does")
    out = onnx.load(tmp_path / "out.onnx")
    types = [{t.name: t.data_type for t in model.graph.initializer} for model in (onnx.load(path), out)]
    assert types[0] == types[1]


@pytest.mark.parametrize("name", ["eca_over_channels", "input_without_shape", "transformer_open_length"])
def test_shared_cases_that_need_no_option(name: str, tmp_path: Path) -> None:
    """A kernel along channels, a rank that the graph tells, and a length that it was traced at: all are judged."""
    path = CASES / f"{name}.onnx"
    if not path.is_file():
        pytest.skip("the shared cases are not here")
    onnx.save(onnx.load(path), tmp_path / "in.onnx")
    code, said = run(tmp_path / "in.onnx", "--scale", "0.5")
    assert code == 0
    assert any(line.startswith("verified: ") for line in said)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier of digits, trained a little, so that its pixels can be told."""
    pytest.importorskip("torch")
    graph = Graph(seed=0, scale=3**-0.5)
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}).conv(8).bn().relu().conv(12, stride=2).bn().relu()
    path = tmp_path_factory.mktemp("digits") / "in.onnx"
    options = {"epochs": 2, "batch_size": 32, "lr": 0.05, "device": "cpu", "limit_train": 400}
    chanc.save(chanc.train(graph.ir(x.gap().flatten().gemm(10)), "digits", **options).model, path)
    return path


@pytest.mark.parametrize(
    "importance", ["taylor", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("fisher", "activation"))]
)
def test_data_say_which_channels_stay(digits: Path, importance: str) -> None:
    code, said = run(digits, "--scale", "0.5", "--importance", importance, "--data", "digits",
                     "--trace", str(digits.with_name("t.json")), "--force")  # fmt: skip
    assert code == 0, said
    assert said[0].startswith("note: the input is ")
    assert "2 of 2 groups changed, 20 -> 10 channels" in said[1]
    evidence = chanc.gather(digits, "digits", device="cpu")
    analysis = chanc.analyze(digits)
    trace = json.loads(digits.with_name("t.json").read_text())
    digits.with_name("t.json").unlink()
    for group in analysis.groups[:1]:
        scores = IMPORTANCES[importance](group, Evidence(analysis.model, np.random.default_rng(0), evidence))
        kept = next(o["axes"]["0"] for o in trace["operands"] if o["initializer"] == group.id)
        assert kept == np.sort(np.argsort(-scores, kind="stable")[:4]).tolist()


def test_without_data_one_line_says_what_to_add(digits: Path) -> None:
    code, said = run(digits, "--scale", "0.5", "--importance", "taylor")
    assert code == 1
    assert len(said) == 1
    assert said[0].startswith("this importance needs data to judge by: add --data NAME")


def test_data_that_do_not_fit_are_refused(digits: Path) -> None:
    code, said = run(digits, "--scale", "0.5", "--importance", "taylor", "--data", "nowhere")
    assert code == 1
    assert len(said) == 1


def test_growing_keeps_the_function_by_default(digits: Path) -> None:
    code, said = run(digits, "--scale", "1.5")
    assert code == 0
    assert said[0].endswith("2 of 2 groups changed, 20 -> 30 channels")
    assert said[1].startswith("verified: computes what the original does")


def test_a_plan_of_edges_says_how_they_are_lowered(tmp_path: Path) -> None:
    x = Graph(opset=17).input("x", [1, 3, 8, 8])
    made = x.conv(8).relu()
    onnx.save(x.graph.model(made.conv(64), made.conv(64)), tmp_path / "in.onnx")
    first, second = (value.name for value in onnx.load(tmp_path / "in.onnx").graph.output)
    plan = {"format": 2, "edges": {f"{first}:1": [0, 1, 2], f"{second}:1": [1, 3]}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    code, said = run(tmp_path / "in.onnx", "--plan", str(tmp_path / "plan.json"), "--trace", str(tmp_path / "t.json"))
    assert code == 0
    assert said[0].endswith("1 of 1 groups changed, 8 -> 4 channels")
    assert said[1].startswith("2 consumers keep a part of what they take: 2 slice; onnxruntime is faster")
    assert said[2].startswith("verified: computes what the original does")
    trace = json.loads((tmp_path / "t.json").read_text())
    assert trace["edges"][f"{second}:1"]["kept"] == [1, 3]
    assert chanc.verify(tmp_path / "in.onnx", tmp_path / "out.onnx", trace=trace).agrees


def test_an_edge_that_is_nowhere_is_named(digits: Path) -> None:
    (digits.parent / "plan.json").write_text('{"edges": {"nowhere:1": [0]}}')
    code, said = run(digits, "--plan", str(digits.parent / "plan.json"))
    assert code == 1
    assert said == ["there is no consumer 'nowhere:1' in this model: give a node's first output:input"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of images of 16 pixels, untrained."""
    graph = Graph(seed=0)
    x = graph.input("image", [1, 3, 16, 16], dynamic={0: "n"}).conv(32).bn().relu().conv(48, stride=2).bn().relu()
    path = tmp_path_factory.mktemp("images") / "in.onnx"
    onnx.save(graph.model(x.conv(64).relu().gap().flatten().gemm(10)), path)
    return path


def table(said: list[str]) -> dict[str, list[str]]:
    """The rows of the table at the end, by what they are of."""
    start = next(index for index, line in enumerate(said) if line.split() == ["before", "after", "left"])
    return {row[0]: row[1:] for row in (line.split() for line in said[start + 1 :])}


def test_a_budget_ends_with_what_it_cost_before_and_after(images: Path) -> None:
    code, said = run(images, "--max-macs", "50%")
    assert code == 0, said
    assert said[1].startswith("verified: computes what the original does")
    rows, out = table(said), images.with_name("out.onnx")
    before, after = chanc.analyze(images), chanc.analyze(out)
    assert list(rows) == ["params", "MACs", "file"]
    assert rows["params"][:2] == [f"{before.params:,}", f"{after.params:,}"]
    assert rows["MACs"] == [f"{before.macs:,}", f"{after.macs:,}", f"{100 * after.macs / before.macs:.1f}", "%"]
    sizes = [f"{path.stat().st_size / 1e6:.3f}" for path in (images, out)]
    assert rows["file"][:4] == [sizes[0], "MB", sizes[1], "MB"]
    assert 0.45 < after.macs / before.macs <= 0.5
    assert not any(line.startswith("note") for line in said)


def test_ratios_alone_change_what_they_name_and_latency_is_shown_with_its_spread(images: Path) -> None:
    code, said = run(images, "--ratio", "conv*=50%", "--max-latency", "10000")
    assert code == 0, said
    assert "3 of 3 groups changed, 144 -> 72 channels" in said[0]
    spread = " ".join(table(said)["latency"])
    numbers = [float(word.strip("()")) for word in spread.split() if word.strip("()")[0].isdigit()]
    median, low, high = numbers[:3]
    assert 0 < low <= median <= high
    assert spread.count(" ms (") == 2
    code, said = run(images, "--ratio", "w_1=0.25")
    assert code == 0, said
    assert "1 of 1 groups changed" in said[0]


def test_a_budget_that_can_not_be_met_writes_nothing(images: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(images), "-o", str(tmp_path / "out.onnx"), "--max-params", "100"])
    assert done.exit_code == 1
    said = str(done.exception)
    assert said.startswith("the budget of 100 params can't be met: the least that can be had is ")
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [("--keep", "w_1.weihgt"), ("--ratio", "w_1.weihgt=0.5")])
def test_a_pattern_of_nothing_is_refused(images: Path, options: tuple[str, str]) -> None:
    code, said = run(images, "--max-macs", "50%", *options)
    assert code == 1
    assert said == [said[0]]
    assert said[0].startswith("no channel group matches 'w_1.weihgt'")


@pytest.mark.parametrize(
    "options",
    [(), ("--keep", "*"), ("--scale", "0.5", "--max-macs", "50%"), ("--max-macs", "0"), ("--max-macs", "-5%"),
     ("--ratio", "conv*"), ("--ratio", "=0.5"), ("--ratio", "conv*=0")],
)  # fmt: skip
def test_wrong_usage(images: Path, options: tuple[str, ...]) -> None:
    done = CliRunner().invoke(command, [str(images), "-o", str(images.with_name("no.onnx")), *options])
    assert done.exit_code == 2
    assert not images.with_name("no.onnx").exists()


def test_a_scale_says_where_its_widths_are_slow(images: Path) -> None:
    note = "note: 3 of 3 new widths are no multiples of 8"
    assert any(line.startswith(note) for line in run(images, "--scale", "0.7")[1])
    assert not any("multiples" in line for line in run(images, "--scale", "0.5", "--round-to", "8")[1])


def test_open_axes_are_counted_where_the_model_runs(tmp_path: Path) -> None:
    graph = Graph(seed=0)
    x = graph.input("image", [1, 3, 16, 16], dynamic={0: "n", 2: "h", 3: "w"}).conv(32).relu().conv(32).relu()
    onnx.save(graph.model(x.gap().flatten().gemm(10)), tmp_path / "in.onnx")
    code, said = run(tmp_path / "in.onnx", "--max-macs", "50%")
    assert code == 0
    assert said[0] == "note: open axes are counted at --dim h=64 --dim w=64; yours say otherwise"
    before = chanc.analyze(tmp_path / "in.onnx", dims={"h": 64, "w": 64})
    assert table(said)["MACs"][0] == f"{before.macs:,}"
    code, said = run(tmp_path / "in.onnx", "--max-macs", "50%", "--shape", "image=1,3,24,24")
    assert code == 0
    assert "note" not in said[0]
