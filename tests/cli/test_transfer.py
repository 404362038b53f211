import json
import re
import shlex

import pytest
from click.testing import CliRunner

import surefoot as sf
from surefoot.cli import main


def run(*words):
    return CliRunner().invoke(main, ["transfer", *words])


def test_says_rate_interval_rule_source_and_caution():
    done = run("0.003", "--batch-size", "32", "256", "--optimizer", "adam")
    assert done.exit_code == 0
    said = " ".join(done.output.split())
    assert said.startswith("learning rate 0.0085 good between 0.003 and 0.024 batch size 32 -> 256: x 2.83.")
    assert "Malladi et al. 2022" in said
    assert "caution Above the critical batch size" in said
    assert "biases" not in said


def test_says_both_rates_where_the_width_changes():
    said = " ".join(run("0.003", "--width", "256", "1024").output.split())
    assert "learning rate 0.00075" in said
    assert "0.003 for biases, gains and embeddings" in said


def test_json_is_the_answer_of_the_function():
    done = run("6e-4", "--parameters", "1e8", "1e9", "--tokens", "2e9", "2e10", "--json")
    answer = json.loads(done.output)
    moved = sf.transfer(6e-4, parameters=(1e8, 1e9), tokens=(2e9, 2e10))
    assert answer["learning_rate"] == moved.learning_rate
    assert answer["interval"] == list(moved.interval)
    assert answer["warnings"] == list(moved.warnings)
    assert [step["factor"] for step in answer["steps"]] == [step.factor for step in moved.steps]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["0.003"], "another setting that changes"),
        (["0.003", "--batch-size", "32", "0"], "at least 1"),
        (["0.003", "--width", "1", "2", "--optimizer", "adm"], "Did you mean 'adam'?"),
        (["0.003", "--batch-size", "32"], "requires 2 arguments"),
        (["0", "--batch-size", "32", "64"], "above 0"),
    ],
)
def test_wrong_usage_is_said_with_exit_code_2(words, said):
    done = run(*words)
    assert done.exit_code == 2
    assert said in done.output


def test_the_examples_of_the_help_run():
    examples = re.findall(r"^\s+surefoot (transfer .+)$", run("--help").output, re.MULTILINE)
    assert len(examples) == 4
    for example in examples:
        assert CliRunner().invoke(main, shlex.split(example)).exit_code == 0
