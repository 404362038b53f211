from pathlib import Path

import click
import pytest

import surefoot as sf
from surefoot.cli import _show
from surefoot.cli._progress import share, time_left


def found(**changes):
    facts = {
        "job": "toy",
        "learning_rate": 0.00312,
        "interval": (0.0018, 0.0052),
        "confidence": "high",
        "why": ("One plain sentence.", "Another one that goes on " + "and on " * 20 + "until it is wrapped."),
        "cautions": (),
        "cost": 1.1,
        "spent": 1.62,
        "budget": 1.0,
        "method": "forks",
        "trials": (),
        "schedule": sf.cosine_decay().to_dict(),
        "total_steps": 400,
        "seed": 0,
        "versions": {},
        "default_learning_rate": 0.001,
    }
    return sf.Found(**{**facts, **changes})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0031234, "0.0031"),
        (3.1e-5, "3.1e-05"),
        (1e-4, "0.0001"),
        (0.1, "0.1"),
        (12.34, "12"),
        (99.9, "100"),
        (1234, "1200"),
    ],
)
def test_numbers_have_two_digits(value, text):
    assert _show.rate(value) == text


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_the_answer_fits_the_terminal_and_hangs(monkeypatch, tmp_path, columns):
    monkeypatch.setenv("COLUMNS", columns)
    text = _show.answer(found(cautions=("Beware of this.", "And that.")), tmp_path / "r", ["found.json"], 14)
    lines = click.unstyle(text).splitlines()
    width = min(int(columns), 100)
    assert all(len(line) <= width for line in lines if "/" not in line)
    assert all(line.startswith("  ") for line in lines)
    assert [line[2:15].strip() for line in lines if line[2] != " "] == [
        "learning rate", "why", "caution", "caution", "cost", "files",
    ]  # fmt: skip


def test_the_answer_says_what_the_issue_says(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    lines = click.unstyle(_show.answer(found(), Path("r"), ["report.html", "found.json"], 14)).splitlines()
    assert lines[0] == "  learning rate  0.0031     good between 0.0018 and 0.0052      confidence: high"
    assert lines[-2] == "  cost           1.1 runs (1.6 trained in all, 0 trials, 0:00:14)"
    assert lines[-1] == "  files          r/  report.html  found.json"


def test_the_headline_names_optimizer_length_and_schedule():
    def train(learning_rate, steps, seed):
        return 1.0

    own = sf.FunctionJob(train, 2000)
    assert _show.headline(own) == "finding the learning rate of train (2,000 steps, its own schedule)"
    told = sf.FunctionJob(train, 400, schedule=sf.linear_warmup("5%") >> 0.5 * sf.cosine_decay())
    assert _show.headline(told).endswith("(400 steps, linear warm-up, cosine)")
    strange = sf.FunctionJob(train, 400, schedule=sf.from_function(lambda step: 1.0))
    assert _show.headline(strange).endswith("(400 steps, a function)")


def progress(spent, expected):
    return sf.Progress(phase="forks", spent=spent, expected=expected, trials=3)


def test_time_left_follows_the_share_that_is_done():
    assert time_left(progress(0.25, 1.0), 10) == "0:00:30 left"
    assert time_left(progress(0.0, 1.0), 10) == ""
    assert time_left(progress(0.0, 0.0), 10) == ""
    assert share(progress(2.0, 1.0)) == 1.0
