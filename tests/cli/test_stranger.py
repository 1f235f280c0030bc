"""A method of another distribution works from the command line: its name, its options, its checks."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from chanc.ir import save
from chanc.testing.graphs import Graph

NIGHT = pytest.mark.nightly
Done = subprocess.CompletedProcess[str]

METHOD = """
from dataclasses import dataclass, field
from typing import Literal

from chanc.study import Proposal, Sampler, register


@register("stairs")
@dataclass(frozen=True)
class Stairs(Sampler):
    '''Every width one stair higher a trial.'''

    min_width: int = 2
    stair: int = field(default=4, metadata={"help": "Height of a stair, in channels.", "range": (1, 64)})
    way: Literal["up", "down"] = field(default="up", metadata={"help": "Where the stairs lead."})
    slippery: bool = field(default=False, metadata={"help": "Whether they are wet."})

    def at(self, space, trial):
        change = self.stair * trial * (1 if self.way == "up" else -1)
        return {group.id: self.limits.fit(group.size + change, group) for group in space.resizable}

    def start(self, space):
        return self.at(space, 0), {"widths": None}

    def propose(self, space, state, seen):
        return Proposal(self.at(space, seen.trial + 1), {"widths": dict(seen.widths)})

    def best(self, state):
        return dict(state["widths"])
"""


WHOLE = """
import os
import signal
from dataclasses import dataclass, field

from chanc.runs import Best, Decision, EpochEvent, StateEvent, best
from chanc.study import register


@register("shrinker")
@dataclass(frozen=True)
class Shrinker:
    '''One network that loses channels while it is trained.'''

    epochs: int = field(default=3, metadata={"help": "How long it is trained.", "range": (1, 9)})
    loss_of: float = field(default=0.25, metadata={"help": "Share of the channels lost an epoch.", "range": (0, 1)})

    def run(self, context):
        done = [event for event in context.record.events if isinstance(event, EpochEvent)]
        if best(context.record) is not None:
            return
        engine = context.engine
        path = context.record.path / done[-1].file if done else context.input
        widths = done[-1].state["widths"] if done else context.space.widths
        for epoch in range(len(done), self.epochs):
            if epoch == int(os.environ.get("KILL_AT", -1)):
                os.kill(os.getpid(), signal.SIGKILL)
            widths = {group: round(width * (1 - self.loss_of)) for group, width in widths.items()}
            model = engine.resize(engine.load(path), widths, fresh=False, seed=0, transfer="select")
            trained = engine.train(model, fresh=epoch == 0, seed=context.seed + epoch, carry_from=None, carry_to=None,
                                   watch=context.watch, epochs=1)
            path = context.folder("shrinker") / f"{epoch}.onnx"
            engine.save(trained.model, path)
            yield EpochEvent(epoch, trained.epochs[0].loss, trained.score, trained.epochs[0].metrics,
                             {"widths": widths}, f"shrinker/{epoch}.onnx")
        yield StateEvent({}, best=Best(Decision(widths)), file=f"shrinker/{self.epochs - 1}.onnx")
"""


TASK = """
from dataclasses import dataclass, field

from chanc.tasks import TASKS, Classification
from chanc.training.task import Task


@TASKS.register("sharp")
@dataclass(frozen=True)
class Sharp(Task):
    '''The network shall be sure of the label.'''

    sharpness: float = field(default=1.0, metadata={"help": "Power of the probability.", "range": (0.5, 9)})

    name = "sharp"
    score_name = "confidence"
    takes_logits = True

    def fit(self, model, data):
        return Classification().fit(model, data)

    def sure(self, outputs, batch):
        (logits,) = outputs.values()
        return logits.float().softmax(1).gather(1, batch.labels[:, None])[:, 0]

    def loss(self, outputs, batch):
        return -self.sharpness * self.sure(outputs, batch).log().mean()

    def score(self, outputs, batch):
        return self.sure(outputs, batch).double().sum(), len(batch)
"""


@pytest.fixture
def chanc(fresh: Callable[..., Done]) -> Callable[..., Done]:
    """chanc(environment, "search", ...): the command line in a process of its own."""

    def run(environment: dict[str, str], *args: object) -> Done:
        code = f"from chanc.cli import main\nmain({[*map(str, args)]})"
        return fresh(code, {**environment, "COLUMNS": "200", "OMP_NUM_THREADS": "1"})

    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    graph = Graph(seed=0, scale=3**-0.5)
    x = graph.input("image", [2, 3, 32, 32], dynamic={0: "n"}).conv(8, stride=4).relu().conv(12, stride=4).relu()
    save(graph.ir(x.gap().flatten().gemm(10)), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@NIGHT
def test_help_lists_the_method_and_its_options(chanc, stranger) -> None:
    environment = stranger(METHOD, "chanc.methods")
    for command in ("search", "sweep"):
        shown = chanc(environment, command, "--help")
        assert shown.returncode == 0, shown.stderr
        text = " ".join(shown.stdout.split())
        for piece in ("stairs", "--stair INTEGER", "Height of a stair, in channels. [4]", "--way [up|down]"):
            assert piece in text, (command, piece)
    alone = {**environment, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert "stairs" not in chanc(alone, "search", "--help").stdout


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("--algo", "stair"), 2, "there is no search method 'stair' (did you mean 'stairs'?); there are cnas, conet"),
        (("--algo", "stairs", "--stair", 0), 2, "0 is not in the range 1<=x<=64"),
        pytest.param(("--algo", "stairs", "--way", "left"), 2, "'left' is not one of 'up', 'down'", marks=NIGHT),
        (("--algo", "greedy", "--stair", 2), 2, "--stair is no option of the greedy search"),
        pytest.param(("--algo", "stairs", "--gamma", 0.5), 2, "--gamma is no option of the stairs search", marks=NIGHT),
        pytest.param(("--algo", "stairs", "--slippery"), 1, "none.onnx: No such file or directory", marks=NIGHT),
    ],
)
def test_wrong_words_are_refused(chanc, stranger, args: tuple[object, ...], code: int, told: str) -> None:
    done = chanc(stranger(METHOD, "chanc.methods"), "search", "none.onnx", *args)
    assert done.returncode == code
    assert told in done.stderr


@pytest.mark.nightly
def test_the_search_runs(chanc, stranger, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    environment = stranger(METHOD, "chanc.methods")
    out = tmp_path / "run"
    done = chanc(environment, "search", model, "--algo", "stairs", "--stair", 6, "--slippery", "--data", "synthetic",
                 "--limit-train", 40, "--limit-test", 20, "--trials", 2, "--epochs", 1, "--batch-size", 8, "--quiet",
                 "--out", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    from chanc.analysis import analyze

    found = {group.id: group.size for group in analyze(out / "best.onnx").groups if group.resizable}
    before = {group.id: group.size for group in analyze(model).groups if group.resizable}
    assert found == {name: size + 6 for name, size in before.items()}
    assert '"stairs"' in (out / "config.json").read_text()


@NIGHT
def test_an_option_of_the_command_itself_is_refused(chanc, stranger) -> None:
    """A field that is named like an option of `chanc search` would be lost: one line says whose it is."""
    environment = stranger(METHOD.replace("    stair: int =", "    limit_train: int ="), "chanc.methods")
    for command in ("search", "sweep"):
        done = chanc(environment, command, "none.onnx")
        assert done.returncode == 1
        told = "the stairs search's option limit_train is one of the command itself: rename the field"
        assert done.stderr == f"chanc: {told}\n"


@NIGHT
def test_two_methods_may_read_one_option_differently(chanc, stranger) -> None:
    """greedy's start width is a number, the stranger's a word: each reads its own."""
    words = METHOD.replace("    stair: int =", "    start_width: Literal['low', 'high'] = 'low'\n    stair: int =")
    environment = stranger(words, "chanc.methods")
    for algo, value, told in (
        ("stairs", "low", "No such file or directory"),
        ("stairs", "8", "'8' is not one of 'low', 'high'"),
        ("greedy", "8", "No such file or directory"),
        ("greedy", "low", "'low' is not a valid integer"),
    ):
        done = chanc(environment, "search", "none.onnx", "--algo", algo, "--start-width", value)
        assert told in done.stderr, (algo, value, done.stderr)
        assert "Traceback" not in done.stderr


@NIGHT
def test_a_method_that_trains_by_itself_runs_is_killed_and_goes_on(
    chanc, stranger, model: Path, tmp_path: Path
) -> None:
    """A whole method: from the command line to best.onnx and report.html, whatever happens on the way."""
    pytest.importorskip("torch")
    environment = stranger(WHOLE, "chanc.methods")
    out = tmp_path / "run"
    command = ("search", model, "--algo", "shrinker", "--epochs", 2, "--data", "synthetic", "--limit-train", 20,
               "--limit-test", 10, "--batch-size", 8, "--quiet", "--out", out)  # fmt: skip
    assert chanc({**environment, "KILL_AT": "1"}, *command).returncode == -signal.SIGKILL
    assert not (out / "best.onnx").exists()
    half = (out / "events.jsonl").read_bytes()
    done = chanc(environment, *command, "--resume")
    assert done.returncode == 0, done.stderr
    whole = (out / "events.jsonl").read_bytes()
    assert whole.startswith(half)
    assert [json.loads(line)["kind"] for line in whole.splitlines()] == ["start", "epoch", "epoch", "state"]
    from chanc.analysis import analyze

    found, before = ({group.id: group.size for group in analyze(path).groups if group.resizable}
                     for path in (out / "best.onnx", model))  # fmt: skip
    assert found == {name: round(round(size * 0.75) * 0.75) for name, size in before.items()}
    settings = json.loads((out / "config.json").read_text())["settings"]
    assert (settings["algo"], settings["epochs"], settings["loss_of"]) == ("shrinker", 2, 0.25)
    page = (out / "report.html").read_text()
    assert '["epochs trained","2"]' in page
    for plot in ("training-loss", "in_qc"):
        assert f'"id":"{plot}"' in page


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("--max-params", "1k"), 1, "the shrinker search takes no budget: there are no trials whose widths"),
        pytest.param(("--trials", 3), 1, "the shrinker search has no option 'trials'; it has epochs", marks=NIGHT),
        pytest.param(("--epochs", 10), 1, "epochs 10 lies outside 1..9", marks=NIGHT),
        pytest.param(("--min-width", 4), 2, "--min-width is no option of the shrinker search", marks=NIGHT),
    ],
)
def test_what_only_trials_have_is_refused(chanc, stranger, args: tuple[object, ...], code: int, told: str) -> None:
    done = chanc(stranger(WHOLE, "chanc.methods"), "search", "none.onnx", "--algo", "shrinker", *args)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_the_widths_of_trial_methods_keep_their_heading(chanc, stranger) -> None:
    text = chanc(stranger(WHOLE, "chanc.methods"), "search", "--help").stdout
    assert text.index("Widths:") < text.index("--min-width") < text.index("shrinker:") < text.index("--loss-of")


@NIGHT
def test_a_task_of_another_distribution_is_trained(chanc, stranger, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "out.onnx"
    done = chanc(stranger(TASK, "chanc.tasks"), "train", model, "--task", "sharp", "--sharpness", 2, "--epochs", 1,
                 "--data", "synthetic", "--limit-train", 20, "--limit-test", 10, "--batch-size", 8, "--quiet",
                 "-o", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"wrote {out}: confidence 0.")
