"""Each example runs by itself, in a folder of its own, and says what it should."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAYS = {
    "drive_torch.py": "after 200 steps",
    "find_function.py": "learning rate ",
    "find_keras.py": "validation accuracy 0.9",
    "find_torch.py": "learning rate ",
    "keras_tutorial.py": "validation accuracy 0.9",
    "train_script.py": "val_loss=",
}
SUREFOOT = [sys.executable, "-c", "from surefoot.cli import main; main()"]


def run(folder, *words):
    return subprocess.run(words, check=False, cwd=folder, capture_output=True, text=True, timeout=300)


def test_no_example_is_forgotten_here():
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(SAYS)


# The tutorial takes a minute and is warned of its traps; `.ci/run` runs it on every backend.
@pytest.mark.parametrize("name", [name for name in SAYS if name != "keras_tutorial.py"])
def test_an_example_runs_without_a_warning(name, tmp_path):
    done = run(tmp_path, sys.executable, "-W", "error", EXAMPLES / name)
    assert done.returncode == 0, done.stderr
    assert SAYS[name] in done.stdout


@pytest.mark.parametrize("name", SAYS)
def test_an_example_is_short_and_says_what_it_shows(name):
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert len(text.splitlines()) < 80


def found(tmp_path, *words):
    done = run(tmp_path, *SUREFOOT, "find", "--json", "--quiet", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_script_is_found_by_the_command_line(tmp_path):
    command = [sys.executable, EXAMPLES / "train_script.py", "--lr", "{lr}", "--steps", "{steps}", "--seed", "{seed}"]
    answer = found(tmp_path, "--steps", "400", "--", *command)
    assert answer["method"] == "ladder"
    assert 1e-3 < answer["learning_rate"] < 0.3


def test_the_function_is_found_by_the_command_line(tmp_path):
    answer = found(tmp_path, "--steps", "300", f"{EXAMPLES / 'find_function.py'}:train")
    assert answer["job"] == "train"


def test_the_job_is_found_by_the_command_line(tmp_path):
    answer = found(tmp_path, "--budget", "1", f"{EXAMPLES / 'find_torch.py'}:make_job")
    assert answer["job"] == "two layers"
