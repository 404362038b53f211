"""The program as a user starts it, with the real search."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import surefoot as sf

SCRIPT = """
import json, math, sys, time
rate, steps, seed = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
time.sleep(float(sys.argv[4]))
loss = 0.1 + (math.log2(rate) - math.log2(0.02)) ** 2 / 20 + 1 / steps
print(json.dumps({"val_loss": loss if rate < 1 else float("nan")}))
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(SCRIPT)
    return ["--", sys.executable, "train.py", "{lr}", "{steps}", "{seed}"]


def start(*args):
    command = [sys.executable, "-c", "from surefoot.cli import main; main()", "find", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*args):
    process = start(*args)
    stdout, stderr = process.communicate(timeout=120)
    return process.returncode, stdout, stderr


def test_a_command_is_searched_and_everything_is_kept(script):
    code, stdout, stderr = run("--steps", 400, "--run-dir", "kept", *script, 0)
    assert code == 0, stderr
    assert stderr.startswith("  finding the learning rate of train (400 steps, its own schedule)\n")
    assert stdout.startswith("  learning rate  0.0")
    found = json.loads(Path("kept/found.json").read_text())
    assert 0.01 < found["learning_rate"] < 0.04
    assert {"interval", "confidence", "cost", "trials", "schedule", "seed", "versions"} <= set(found)
    assert Path("kept/report.html").is_file()
    assert any(Path("kept/logs").iterdir())


def test_a_resumed_search_repeats_nothing(script):
    code, first, stderr = run("--steps", 400, "--json", "--quiet", "--run-dir", "kept", *script, 0)
    assert (code, stderr) == (0, "")
    for log in Path("kept/logs").iterdir():
        log.unlink()
    code, second, _ = run("--steps", 400, "--json", "--quiet", "--run-dir", "kept", *script, 0)
    assert code == 0
    assert json.loads(second) == json.loads(first)
    assert not list(Path("kept/logs").iterdir())


def test_a_script_that_always_crashes_is_a_failed_search(script):
    Path("train.py").write_text("raise RuntimeError('no such data')")
    code, stdout, stderr = run("--steps", 400, "--quiet", *script, 0)
    assert (code, stdout) == (1, "")
    assert stderr.startswith("Error: ")
    assert "RuntimeError: no such data" in stderr


def test_bad_numbers_for_the_search_are_usage_errors(script):
    for bad, word in (
        (["--budget", 0], "budget"),
        (["--bounds", 0.1, 0.01], "bounds"),
        (["--learning-rate", -1], "rate"),
    ):
        code, _, stderr = run("--steps", 400, "--quiet", *bad, *script, 0)
        assert code == 2, stderr
        assert word in stderr


def test_ctrl_c_keeps_what_there_is(script):
    process = start("--steps", 400, "--run-dir", "kept", *script, 0.3)
    pieces = Path("kept/pieces.jsonl")
    deadline = time.monotonic() + 30
    while not (pieces.exists() and pieces.read_text().count("\n") >= 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert "--run-dir kept goes on from here" in stderr


def test_a_bundled_job_is_found_from_start_to_end(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = run("diabetes", "--steps", 200, "--json", "--quiet")
    assert code == 0, stderr
    found = json.loads(stdout)
    assert found["job"] == "diabetes"
    low, high = found["interval"]
    assert low <= found["learning_rate"] <= high
    assert found["versions"]["surefoot"] == sf.__version__


def test_methods_are_compared_in_one_table(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    options = ["diabetes", "--steps", 100, "--methods", "adam, prodigy,dog", "--run-dir", "kept"]
    code, stdout, stderr = run(*options)
    assert code == 0, stderr
    assert "comparing adam, prodigy, dog on diabetes (100 steps" in stderr
    lines = stdout.splitlines()
    assert lines[0].split()[0] == "method"
    assert {line.split()[0] for line in lines[1:4]} == {"adam", "prodigy", "dog"}
    assert any(line.split()[:1] == ["recommended"] for line in lines)
    assert sf.Compared.load("kept/compared.json").best == lines[1].split()[0]
    assert Path("kept/report.html").is_file()
    code, again, _ = run(*options, "--json", "--quiet")
    assert json.loads(again) == json.loads(Path("kept/compared.json").read_text())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--optimizer", "sgd"], "they name the optimizers"),
        (["--learning-rate", 0.1], "its own usual rate"),
        (["--bounds", 0.1, 1], "its own range"),
        (["--plot", "x.png"], "only a report"),
    ],
)
def test_what_does_not_go_with_methods_is_a_usage_error(more, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = run("diabetes", "--methods", "adam,dog", *more)
    assert (code, stdout) == (2, "")
    assert words in stderr


def test_methods_of_a_command_or_unknown_ones_are_usage_errors(script):
    code, _, stderr = run("--steps", 400, "--methods", "adam,dog", *script, 0)
    assert code == 2
    assert "a command has its own optimizer" in stderr
    code, _, stderr = run("diabetes", "--quiet", "--methods", "adam,prodgy")
    assert code == 2
    assert "Did you mean 'prodigy'" in stderr
    code, _, stderr = run("diabetes", "--quiet", "--methods", ",")
    assert code == 2
    assert "at least two" in stderr


@pytest.mark.slow
def test_processes_give_the_answer_of_one(tmp_path):
    answers = []
    for more in ([], ["--executor", "processes", "--workers", "2"]):
        arguments = ["digits", "--steps", "240", "--json", "--quiet", *more]
        code, out, err = run(*arguments, "--run-dir", str(tmp_path / str(len(more))))
        assert code == 0, err
        found = json.loads(out)
        answers.append((found["learning_rate"], found["interval"], found["cost"], found["trials"]))
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--workers", "2"], "--workers goes with --executor processes"),
        (["--address", "auto"], "--address goes with --executor ray"),
        (["--executor", "threads"], "'threads' is not one of"),
        (["--executor", "ray", "--methods", "adam,sgd"], "--methods and --executor"),
    ],
)
def test_options_of_executors_that_do_not_fit_are_refused(arguments, text):
    code, _, err = run("digits", *arguments)
    assert code == 2
    assert text in err
