import json
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

import surefoot as sf
from surefoot.search import CommandJob, Job, TrialFailed, _process
from surefoot.search._metric import Metric

PYTHON = sys.executable


def script(code, *arguments, **settings):
    """Return a job that runs `code`; it sees {lr}, {steps}, {seed} as its first arguments."""
    command = [PYTHON, "-c", code, "{lr}", "{steps}", "{seed}", *arguments]
    return CommandJob(command, total_steps=10, **settings)


def evaluated(job, *, learning_rate=0.1, steps=10, seed=3):
    run = job.start(learning_rate, seed=seed)
    assert job.advance(run, [1.0] * steps) == ()
    return job.evaluate(run)


def test_is_a_job_that_cannot_fork():
    job = script("")
    assert isinstance(job, Job)
    assert not job.can_fork
    with pytest.raises(RuntimeError, match="cannot fork"):
        job.fork(job.start(0.1, seed=0))


def test_rate_steps_and_seed_reach_the_script():
    job = script(
        "import sys; lr, n, seed = sys.argv[1:4]; print('val_loss =', float(lr) * 1000 + int(n) * 10 + int(seed))"
    )
    assert evaluated(job, learning_rate=0.5, steps=20, seed=7) == 707.0


@pytest.mark.parametrize("learning_rate", [1e-5, 1 / 3, 10**-2.5, 1e-30, 3.0])
def test_the_rate_is_passed_exactly_and_with_a_point(learning_rate):
    text = CommandJob([PYTHON, "{lr}", "{steps}"], total_steps=1).command_line(learning_rate, 1, 0)[1]
    assert float(text) == learning_rate
    assert "." in text


def test_braces_that_are_no_placeholders_survive():
    job = CommandJob(
        [PYTHON, '{"lr": {lr}, "net": {"width": 3}, "n":{steps}}', "{}", "{ }", "a{1}", "{{lr}}"], total_steps=10
    )
    assert job.command_line(0.5, 7, 1)[1:] == [
        '{"lr": 0.5, "net": {"width": 3}, "n":7}', "{}", "{ }", "a{1}", "{lr}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([PYTHON, "--steps", "{steps}"], r"\{lr\}.*every trial would be the same"),
        ([PYTHON, "--lr", "{lr}"], r"\{steps\}.*shorter than the real one"),
        ([PYTHON, "{lr}", "{step}"], r"Did you mean \{steps\}\?.*\{\{step\}\}"),
        ([PYTHON, "{learning_rate}", "{steps}"], r"Did you mean \{lr\}\?"),
        ([], "a list of the command"),
    ],
)
def test_bad_placeholders_are_refused_at_once(command, words):
    with pytest.raises(sf.ArgumentError, match=words):
        CommandJob(command, total_steps=10)


@pytest.mark.parametrize("command", ["python train.py --lr {lr} --steps {steps}", [PYTHON, "{lr}", "{steps}", 3], None])
def test_a_command_that_is_no_list_of_strings_is_refused(command):
    with pytest.raises(sf.ArgumentTypeError, match="a list of the command and its arguments"):
        CommandJob(command, total_steps=10)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"timeout": 0}, "timeout"),
        ({"goal": "maximum"}, "Did you mean 'max'"),
        ({"metric": "re:("}, "does not compile"),
        ({"metric": "re:loss"}, "exactly one group"),
        ({"metric": " "}, "metric"),
        ({"cwd": "/no/such/folder"}, "an existing folder"),
        ({"learning_rate": 0}, "learning_rate"),
    ],
)
def test_bad_settings_are_refused_at_once(settings, words):
    with pytest.raises(sf.ArgumentError, match=words):
        script("", **settings)


def test_a_missing_program_is_an_error_at_once_with_a_cure(tmp_path):
    (tmp_path / "train.py").write_text("print('val_loss=1')")
    (tmp_path / "go").write_text("#!/bin/sh\n")
    rest = ["{lr}", "{steps}"]
    with pytest.raises(sf.JobError, match=r"`surely-not-here` cannot be started. Check the spelling"):
        CommandJob(["surely-not-here", *rest], total_steps=10)
    with pytest.raises(sf.JobError, match=r"Start it with Python: `python ./train.py"):
        CommandJob(["./train.py", *rest], total_steps=10, cwd=tmp_path)
    with pytest.raises(sf.JobError, match=r"chmod \+x ./go"):
        CommandJob(["./go", *rest], total_steps=10, cwd=tmp_path)
    (tmp_path / "go").chmod(0o755)
    CommandJob(["./go", *rest], total_steps=10, cwd=tmp_path)


def test_a_program_that_vanishes_or_cannot_run_is_an_error(tmp_path):
    program = tmp_path / "go"
    program.write_bytes(b"\0not a program")
    program.chmod(0o755)
    job = CommandJob([str(program), "{lr}", "{steps}"], total_steps=10)
    with pytest.raises(sf.JobError, match="cannot be started"):
        evaluated(job)


@pytest.mark.parametrize(
    ("metric", "output", "value"),
    [
        ("val_loss", "val_loss=0.25", 0.25),
        ("val_loss", "val_loss: 2.5e-1", 0.25),
        ("val_loss", "step 3 | Val_Loss = .25 | lr 0.1", 0.25),
        ("val_loss", "val_loss=0.9\nval_loss=0.25\ndone", 0.25),
        ("val_loss", "val_loss=0.25 best_val_loss=0.1 val_loss_ema=0.2 ema/val_loss=0.3", 0.25),
        ("loss", "loss: 0.25 - val_loss: 0.5", 0.25),
        ("val/loss", "val/loss=0.25.", 0.25),
        ("val_loss", "val_loss=0.25, accuracy=0.9", 0.25),
        ("val_loss", "val_loss=1,234.5\nval_loss=0.25s", None),
        ("val_loss", '{"step": 3, "val_loss": 0.25}', 0.25),
        ("val_loss", '{"val_loss": 0.25, "best": {"val_loss": 0.1}}', 0.25),
        ("val_loss", '{"val": {"val_loss": 0.25}}', 0.25),
        ("val_loss", '{\n  "val_loss": 0.25\n}', 0.25),
        ("val_loss", '{"val_loss": NaN}', math.nan),
        ("val_loss", '{"val_loss": "inf"}', math.inf),
        ("val_loss", '{"val_loss": null}', None),
        ("val_loss", '{"val_loss": true}', None),
        ("eval_loss", "{'eval_loss': 0.25, 'epoch': 1.0}", 0.25),
        ("val_loss", "val_loss=nan", math.nan),
        ("val_loss", "val_loss=-inf", -math.inf),
        ("val_loss", "val_loss=Infinity", math.inf),
        ("val_loss", "val_loss=nano", None),
        ("val_loss", "\x1b[32mval_loss\x1b[0m: \x1b[1m0.25\x1b[0m", 0.25),
        ("val_loss", " 10%|#  | val_loss=0.9\r 100%|###| val_loss=0.25\r", 0.25),
        ("val loss", "val loss: 0.25", 0.25),
        (r"re:^final (\S+)$", "final 9\nfinal 0.25\nfinal", 0.25),
        (r"re:loss is (\S+)", "nothing", None),
    ],
)
def test_the_last_value_is_read(metric, output, value):
    got = Metric(metric).read(output)
    assert got == value or (value is not None and got is not None and math.isnan(value) and math.isnan(got))


def test_standard_output_goes_before_standard_error():
    job = script("import sys; print('val_loss=0.25'); print('val_loss=0.5', file=sys.stderr)")
    assert evaluated(job) == 0.25
    assert evaluated(script("import sys; print('val_loss=0.5', file=sys.stderr)")) == 0.5


def test_a_regular_expression_that_finds_no_number_is_a_failed_trial():
    with pytest.raises(TrialFailed, match=r"matched 'lost', which is no number"):
        evaluated(script("print('loss is lost')", metric=r"re:loss is (\w+)"))


def test_a_crash_is_a_failed_trial_with_its_last_lines():
    with pytest.raises(TrialFailed, match=r"(?s)ended with exit code 1\. .*ValueError: no data"):
        evaluated(script("print('val_loss=1'); raise ValueError('no data')"))
    with pytest.raises(TrialFailed, match=r"(?s)exit code 3.*printed nothing"):
        evaluated(script("raise SystemExit(3)"))


def test_a_signal_is_named():
    with pytest.raises(TrialFailed, match=r"signal 9 \(SIGKILL\); often the system was out of memory"):
        evaluated(script("import os; os.kill(os.getpid(), 9)"))


def test_a_missing_metric_says_what_was_looked_for():
    with pytest.raises(TrialFailed, match=r"(?s)did not print its metric 'val_loss'.*`val_loss=0.123`.*accuracy 3"):
        evaluated(script("print('accuracy 3')"))


def test_a_run_that_hangs_is_stopped_with_all_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(_process, "GRACE", 0.3)
    pid_file = tmp_path / "pid"
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid))\n"
        "print('started', flush=True)\n"
        "time.sleep(60)\n"
    )
    before = time.monotonic()
    with pytest.raises(TrialFailed, match=r"(?s)longer than timeout=1 s and was stopped.*started"):
        evaluated(script(code, timeout=1))
    assert time.monotonic() - before < 10
    assert has_ended(int(pid_file.read_text()))


def test_a_child_that_outlives_the_script_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(_process, "GRACE", 0.3)
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid))\n"
        "print('val_loss=0.25')\n"
    )
    assert evaluated(script(code)) == 0.25
    assert has_ended(int(pid_file.read_text()))


def test_ctrl_c_stops_the_script_too(tmp_path, monkeypatch):
    monkeypatch.setattr(_process, "GRACE", 0.3)
    pid_file = tmp_path / "pid"
    code = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    def interrupt():
        deadline = time.monotonic() + 10
        while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        evaluated(script(code))
    assert has_ended(int(pid_file.read_text()))


def has_ended(pid):
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_huge_output_neither_blocks_nor_grows():
    job = script(
        "import sys\n"
        "for _ in range(300):\n"
        "    sys.stdout.write('x' * 10000 + '\\n'); sys.stderr.write('y' * 10000 + '\\n')\n"
        "print('val_loss=0.25')"
    )
    assert evaluated(job) == 0.25
    ended = _process.run([PYTHON, "-c", "print('x' * 1000000)"], timeout=20)
    assert len(ended.stdout) == _process.KEPT_BYTES


def test_garbage_in_the_output_is_no_obstacle():
    job = script("import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\x00 caf\\xc3\\n\\x80val_loss=0.25\\n')")
    assert evaluated(job) == 0.25


def test_nan_is_a_result():
    assert math.isnan(evaluated(script("print('val_loss=nan')")))


@pytest.mark.parametrize(("printed", "value"), [("0.75", 0.25), ("1", 0.0), ("nan", math.nan)])
def test_goal_max_turns_a_share_around(printed, value):
    got = evaluated(script(f"print('acc={printed}')", metric="acc", goal="max"))
    assert got == value or (math.isnan(got) and math.isnan(value))


def test_goal_max_wants_a_share():
    with pytest.raises(TrialFailed, match=r"acc = 93; with goal='max' it must be between 0 and 1"):
        evaluated(script("print('acc=93')", metric="acc", goal="max"))


def test_folder_and_environment_reach_the_script(tmp_path):
    code = "import os; assert os.environ['PATH']; print('val_loss=' + os.environ['LOSS']); print(os.getcwd())"
    job = script(code, cwd=tmp_path, env={"LOSS": "0.25"})
    job.log_dir = tmp_path / "logs"
    assert evaluated(job, learning_rate=1e-5) == 0.25
    (log,) = job.log_dir.iterdir()
    assert log.name == "lr1.0e-05-steps10-seed3.txt"
    assert f"val_loss=0.25\n{tmp_path}" in log.read_text()


def test_a_log_that_cannot_be_written_costs_no_trial(tmp_path, caplog):
    job = script("print('val_loss=0.25')")
    job.log_dir = tmp_path / "file"
    job.log_dir.write_text("")
    assert evaluated(job) == 0.25
    assert "cannot write" in caplog.text


def test_the_script_sees_no_terminal_input():
    assert evaluated(script("import sys; print('val_loss=%d' % len(sys.stdin.read()))")) == 0.0


def test_the_script_runs_once_per_run(tmp_path):
    count = tmp_path / "count"
    job = script(f"open({str(count)!r}, 'a').write('x'); print('val_loss=1')")
    run = job.start(0.1, seed=0)
    assert math.isnan(job.evaluate(run))
    job.advance(run, [1.0])
    job.evaluate(run)
    job.evaluate(run)
    assert count.read_text() == "x"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ([PYTHON, "work/train.py", "{lr}", "{steps}"], "train"),
        ([PYTHON, "-m", "pack.train", "{lr}", "{steps}"], "pack.train"),
        ([PYTHON, "-c", "pass", "{lr}", "{steps}"], "command"),
        (["/bin/sh", "run.sh", "{lr}", "{steps}"], "sh"),
    ],
)
def test_the_name_is_the_scripts(command, name):
    assert CommandJob(command, total_steps=10).name == name


def test_describe_is_plain():
    job = script("", name="mine", goal="max", timeout=3)
    assert json.loads(json.dumps(job.describe())) == job.describe()
    assert job.describe()["schedule"] == "own"
    assert (job.name, job.schedule, job.epochs) == ("mine", sf.constant(), None)
