import csv
import io
import json
import math
import sys

import pytest
from click.testing import CliRunner

import surefoot as sf
from surefoot.cli import _plan, _simulate, main

from ..schedules.examples import EXAMPLES

PLANS = """
import math

import torch
import transformers
import optax
import surefoot as sf

schedule = sf.linear_warmup("5%") >> sf.cosine_decay()
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)

print("noise on standard output")

def halves(step):
    return 0.5 ** (step // 10)

def make():
    return torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3), 10)

def tutorial(epoch):
    return 0.01 if epoch < 5 else 0.01 * math.exp(0.1 * (10 - epoch))

def breaks(step):
    return 1 / (5 - step)

of_torch = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10)
of_transformers = transformers.get_linear_schedule_with_warmup(
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.3), 10, 50)
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
of_optax = optax.linear_schedule(0.5, 0.0, 50)
number = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delenv("SUREFOOT_TRACEBACK", raising=False)
    (tmp_path / "plans.py").write_text(PLANS)
    return tmp_path


def run(*args):
    return CliRunner().invoke(main, ["simulate", *map(str, args)], env={"COLUMNS": "100"})


def rates(*args):
    done = run(*args, "--csv")
    assert done.exit_code == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [int(row["step"]) for row in rows] == list(range(len(rows)))
    return [float(row["learning_rate"]) for row in rows]


def test_an_expression_is_shown_as_a_curve_a_table_and_no_cautions():
    done = run("linear_warmup('5%') >> cosine_decay(to=0.1)", "--steps", 1000, "--base", 0.001)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "  plan           linear_warmup('5%') >> cosine_decay(to=0.1), 1,000 steps"
    assert "█" in done.stdout
    assert "    50  0.001          highest" in lines
    assert lines[-1] == "   999  0.000100002    last update"
    assert "caution" not in done.stdout


def test_what_is_probably_not_meant_is_said():
    done = run("cosine_decay('50%') >> linear_decay()", "--steps", 200)
    assert done.exit_code == 0
    assert "  caution        The rate jumps up" in done.stdout
    assert "at step 100" in done.stdout


def test_the_numbers_are_those_of_the_schedule():
    schedule = sf.linear_warmup("5%") >> sf.cosine_decay(to=0.1)
    assert rates(repr(schedule), "--steps", 77, "--base", 0.3) == [0.3 * f for f in schedule.simulate(77)]
    assert rates("linear_warmup('1 epoch')", "--steps", 9, "--steps-per-epoch", 3)[:4] == [0, 1 / 3, 2 / 3, 1]
    assert rates("cosine_decay(50)") == sf.cosine_decay(50).simulate(50)


@pytest.mark.parametrize("schedule", [s for s in EXAMPLES if "from_function" not in repr(s)], ids=repr)
def test_every_repr_is_a_plan(schedule):
    assert _plan.evaluate(repr(schedule)) == schedule


def test_json_holds_rates_and_findings():
    done = run("cosine_decay('50%') >> linear_decay()", "--steps", 200, "--json")
    answer = json.loads(done.stdout)
    assert answer["learning_rates"] == (sf.cosine_decay("50%") >> sf.linear_decay()).simulate(200)
    assert sf.schedules.from_dict(answer["schedule"]) == sf.cosine_decay("50%") >> sf.linear_decay()
    assert [finding["code"] for finding in answer["findings"]] == ["jump_up"]


def test_a_plan_is_read_from_json(folder):
    schedule = sf.linear_warmup("5%") >> sf.linear_decay()
    (folder / "plan.json").write_text(json.dumps(schedule.to_dict()))
    (folder / "found.json").write_text(json.dumps({"version": 1, "schedule": schedule.to_dict()}))
    for name in ("plan.json", "found.json"):
        assert rates(name, "--steps", 50) == schedule.simulate(50)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("schedule", (sf.linear_warmup("5%") >> sf.cosine_decay()).simulate(50)),
        ("halves", [0.5 ** (step // 10) for step in range(50)]),
        ("of_torch", [0.3 * 0.1 ** (step // 10) for step in range(50)]),
        ("make", [0.3 * 0.1 ** (step // 10) for step in range(50)]),
        ("of_transformers", [0.3 * min(step / 10, (50 - step) / 40) for step in range(50)]),
        ("of_optax", [0.5 * (1 - step / 50) for step in range(50)]),
    ],
)
@pytest.mark.parametrize("home", ["plans.py", "plans"])
def test_objects_of_all_kinds_are_plans(name, want, home):
    assert rates(f"{home}:{name}", "--steps", 50) == pytest.approx(want, abs=1e-7)
    sys.modules.pop("plans", None)


def test_a_schedule_of_keras_is_a_plan(folder):
    pytest.importorskip("keras")
    (folder / "of_keras.py").write_text(
        "import keras\nschedule = keras.optimizers.schedules.InverseTimeDecay(0.5, 10, 1.0)\n"
    )
    assert rates("of_keras.py:schedule", "--steps", 5) == pytest.approx([0.5 / (1 + k / 10) for k in range(5)], 1e-6)


def test_a_function_is_looked_over_too():
    assert "jumps up by 65 %" in run("plans.py:tutorial", "--steps", 20).stdout
    assert "raised ZeroDivisionError at step 5" in run("plans.py:breaks", "--steps", 20).stderr


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_curve_is_drawn(folder, suffix):
    pytest.importorskip("matplotlib")
    path = folder / f"plan{suffix}"
    done = run("cosine_decay('50%') >> linear_decay()", "--steps", 200, "--plot", path)
    assert done.exit_code == 0
    assert path.name in done.stdout
    assert path.read_bytes()[:5] in {b"\x89PNG\r", b"<?xml"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["cosine_decay()"], "Pass --steps N"),
        (["cosin_decay()", "--steps", 9], "Did you mean 'cosine_decay'?"),
        (["cosine_decay().clip(0.1)", "--steps", 9], "Did you mean 'clipped'?"),
        (["cosine_decay(", "--steps", 9], "is not a plan"),
        (["cosine_decay(to=2)", "--steps", 9], "at most 1"),
        (["cosine_decay(too=2)", "--steps", 9], "too"),
        (["linear_warmup(20) >> cosine_decay()", "--steps", 9], "is longer than `total_steps=9`"),
        (["3", "--steps", 9], "is not a schedule"),
        (["cosine_decay", "--steps", 9], "cannot stand in a plan"),
        (["'a' * 9", "--steps", 9], "cannot be calculated with"),
        (["1/0 * cosine_decay()", "--steps", 9], "division by zero"),
        (["cosine_decay(**{'to': 1})", "--steps", 9], "cannot stand in a plan"),
        (["no.json", "--steps", 9], "cannot be read"),
        (["plans.py:none", "--steps", 9], "has no 'none'"),
        (["plans.py:tutorialx", "--steps", 9], "Did you mean 'tutorial'?"),
        (["no.py:x", "--steps", 9], "There is no file 'no.py'"),
        (["no_such_module:x", "--steps", 9], "cannot be imported"),
        (["plans.py:number", "--steps", 9], "wanted is a schedule"),
        (["plans.py:of_torch", "--steps", 9, "--base", 1], "--base cannot change it"),
        (["cosine_decay(9)", "--csv", "--json"], "there can only be one"),
        (["cosine_decay(9)", "--plot", "a.pdf"], "must end in .png or .svg"),
        (["cosine_decay(9)", "--base", -1], "base must be"),
        (["cosine_decay(9)", "--steps", 0], "--steps"),
    ],
)
def test_what_cannot_be_meant_is_told(args, message):
    done = run(*args)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_scheduler_that_wants_a_metric_is_told():
    done = run("plans.py:plateau", "--steps", 9)
    assert done.exit_code == 1
    assert "raised TypeError at step 0" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch broken')",
        "(lambda: 1)()",
        "cosine_decay().__class__",
        "cosine_decay().to_dict()",
        "cosine_decay().__init__()",
        "from_function(print)",
        "[cosine_decay() for x in (1,)]",
        "open('broken', 'w')",
        "getattr(cosine_decay(), 'to')",
        "f'{1}'",
        "10 ** 10 ** 10",
        "(1,) * 10000000000",
        "check(cosine_decay(), total_steps=5)",
        "-" * 5000 + "1",
        "9" * 20_000,
    ],
)
def test_an_expression_runs_nothing(text, folder):
    assert run("--steps", 9, "--", text).exit_code == 2
    assert not (folder / "broken").exists()


@pytest.mark.parametrize("rates_", [[1.0], [0.0, 0.0], [math.nan, 1.0, math.inf], [-1.0, 1.0], list(range(1000))])
@pytest.mark.parametrize("blocks", [_simulate.BLOCKS, _simulate.PLAIN_BLOCKS])
def test_every_list_of_rates_can_be_drawn_with_letters(rates_, blocks):
    lines = _simulate.curve(rates_, 60, blocks)
    assert len(lines) == _simulate.HEIGHT + 1
    assert all(len(line) <= 60 + _simulate.MARGIN + 2 for line in lines)
    assert len(_simulate.table(rates_)) >= 2
