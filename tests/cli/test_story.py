import json

import pytest
from click.testing import CliRunner

from surefoot.cli import main
from surefoot.run import DecisionLog
from surefoot.schedules import from_function, linear_decay

CHANGE = {"old": 0.4, "new": 0.2, "cause": "loss is nan", "controller": "DivergenceGuard", "action": "rewind"}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "monday"
    state = {"base_lrs": [0.5], "schedule": "linear_decay(100)", "changes": []}
    with DecisionLog(folder) as log:
        log.start(0, 100, state, linear_decay(100).to_dict())
        log.add({"step": 20, **CHANGE})
    return folder


def invoke(*words):
    return CliRunner().invoke(main, ["show", *map(str, words)])


def test_shows_plan_curve_and_every_decision(run):
    said = invoke(run).output
    assert f"{run}, 100 steps" in said.replace("\n                 ", " ")
    assert "base 0.5; linear_decay(100)" in said
    assert "step 20: 0.4 -> 0.2: loss is nan (DivergenceGuard) [rewind]" in said
    assert "█" in said


def test_the_curve_holds_what_was_decided(run, tmp_path):
    from surefoot.cli._story import _rates
    from surefoot.run import read_decisions

    rates = _rates(read_decisions(run))
    known = linear_decay(100)
    assert rates[19] == 0.5 * known(19)
    assert rates[20:] == [0.5 * known(step) * 0.5 for step in range(20, 100)]
    assert invoke(run, "--plot", tmp_path / "rate.png").exit_code == 0
    assert (tmp_path / "rate.png").stat().st_size > 1000


def test_json_is_the_log_as_data(run):
    answer = json.loads(invoke(run, "--json").output)
    assert [change["step"] for change in answer["changes"]] == [20]
    assert answer["schedule"]["kind"] == "linear_decay"


def test_a_function_is_not_imported_just_because_a_file_names_it(tmp_path):
    state = {"base_lrs": [0.5], "schedule": "from_function(system)", "changes": []}
    schedule = {**from_function(json.dumps).to_dict(), "function": "os:system"}
    with DecisionLog(tmp_path) as log:
        log.start(0, 100, state, schedule)
    said = invoke(tmp_path)
    assert said.exit_code == 0
    assert "none so far" in said.output
    assert "█" not in said.output
    assert invoke(tmp_path, "--plot", "rate.png").exit_code == 2


def test_a_folder_that_holds_no_run_is_refused(tmp_path):
    said = invoke(tmp_path)
    assert said.exit_code == 1
    assert "cannot read" in said.output
    assert invoke(tmp_path / "nowhere").exit_code == 2
    assert invoke(tmp_path, "--plot", "rate.pdf").exit_code == 2
