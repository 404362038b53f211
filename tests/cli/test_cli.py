import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

import surefoot as sf
from surefoot.cli import _find, _progress, _target, main

FOUND = {
    "job": "toy",
    "learning_rate": 0.00312,
    "interval": (0.0018, 0.0052),
    "confidence": "high",
    "why": ("One plain sentence.",),
    "cautions": ("Beware.",),
    "cost": 1.1,
    "spent": 1.1,
    "budget": 1.0,
    "method": "ladder",
    "schedule": sf.constant().to_dict(),
    "total_steps": 400,
    "seed": 0,
    "versions": {"surefoot": sf.__version__},
    "default_learning_rate": 0.001,
}
TRIAL = sf.Trial(rung="ladder", learning_rate=0.003, seed=0, horizon=20, steps=20, outcome="finished", val_loss=0.5)

JOB_FILE = """
import helper_beside_it
import surefoot as sf

def train(learning_rate, steps, seed):
    print("noise on standard output")
    return abs(learning_rate - 0.01)

job = sf.FunctionJob(train, 200, name="mine")

def make(total_steps=100):
    return sf.FunctionJob(train, total_steps, name="made")

def wrong():
    return 3

def broken():
    raise ValueError("no data here")

number = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("SUREFOOT_TRACEBACK", raising=False)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "jobs.py").write_text(JOB_FILE)
    (tmp_path / "work" / "helper_beside_it.py").write_text("")
    return tmp_path


@pytest.fixture
def calls(monkeypatch):
    """Replace the search; what it was called with is kept, and what it does can be set."""
    kept = {"jobs": [], "does": lambda: sf.Found(**FOUND, trials=(TRIAL,))}

    def find(job, **settings):
        kept["jobs"].append(job)
        kept["settings"] = settings
        if settings["on_progress"] is not None:
            settings["on_progress"](sf.Progress(phase="ladder", spent=0.5, expected=1.0, trials=1))
        return kept["does"]()

    monkeypatch.setattr(sf, "find", find)
    monkeypatch.setattr(sf.Found, "plot", lambda self, path: Path(path).write_text("plot"))
    monkeypatch.setattr(sf.Found, "report", lambda self, path: Path(path).write_text("report"))
    return kept


def run(*args, env=None):
    return CliRunner().invoke(main, [str(arg) for arg in args], env={"COLUMNS": "100", **(env or {})})


def script(*extra):
    return ["--", sys.executable, "-c", "print('val_loss=0.5')", "{lr}", "{steps}", *extra]


def test_version_and_help():
    assert run("--version").stdout.strip().endswith(sf.__version__)
    for args in ([], ["find"]):
        shown = run(*args, "--help")
        assert shown.exit_code == 0
        assert "surefoot find digits\n" in shown.stdout


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom surefoot.cli import main\n"
        "try: main(['find', '--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'numpy', 'matplotlib', 'rich') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_names_are_those_of_the_bundled_jobs():
    bundled = pytest.importorskip("surefoot.torch.bundled")
    assert tuple(bundled.BUNDLED) == _target.BUNDLED


def test_an_answer_is_printed_and_kept(calls):
    done = run("find", "work/jobs.py:job", "--seed", 7, "--budget", 2, "--learning-rate", 0.1, "--bounds", 0.01, 1)
    assert done.exit_code == 0
    assert done.stderr.splitlines()[0] == "  finding the learning rate of mine (200 steps, its own schedule)"
    lines = done.stdout.splitlines()
    assert lines[0] == "  learning rate  0.0031     good between 0.0018 and 0.0052      confidence: high"
    assert lines[2] == "  caution        Beware."
    settings = calls["settings"]
    run_dir = settings["run_dir"]
    assert run_dir.parent == Path("surefoot-runs")
    assert run_dir.name.endswith("Z-mine")
    assert sorted(path.name for path in run_dir.iterdir()) == ["found.json", "plot.png", "report.html"]
    assert (settings["seed"], settings["budget"], settings["learning_rate"]) == (7, 2.0, 0.1)
    assert settings["bounds"] == (0.01, 1.0)


def test_quiet_prints_only_the_answer(calls):
    done = run("find", "work/jobs.py:job", "--quiet")
    assert done.stderr == ""
    assert done.stdout.startswith("  learning rate")
    assert calls["settings"]["on_progress"] is None


def test_json_prints_only_json(calls):
    done = run("find", "work/jobs.py:job", "--json")
    assert json.loads(done.stdout)["learning_rate"] == 0.00312
    assert "finding" in done.stderr


def test_the_users_prints_do_not_reach_standard_output(calls):
    def does():
        sys.stdout.write("chatter\n")
        return sf.Found(**FOUND, trials=())

    calls["does"] = does
    done = run("find", "work/jobs.py:job", "--json", "--quiet")
    assert json.loads(done.stdout)
    assert "chatter" in done.stderr


def test_warnings_of_ours_are_one_line(calls):
    def does():
        warnings.warn("the floor is above the rate", sf.SurefootWarning, stacklevel=1)
        return sf.Found(**FOUND, trials=())

    calls["does"] = does
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert "note: the floor is above the rate\n" in run("find", "work/jobs.py:job").stderr


def test_copies_are_written_where_asked(calls):
    run("find", "work/jobs.py:job", "--plot", "a/b.svg", "--report", "c.html", "--run-dir", "here")
    assert Path("a/b.svg").read_text() == "plot"
    assert Path("c.html").read_text() == "report"
    assert json.loads(Path("here/found.json").read_text())["job"] == "toy"


def test_a_missing_matplotlib_is_a_note(calls, monkeypatch):
    def plot(self, path):
        raise sf.MissingExtraError('`matplotlib` is not installed. Run: pip install "surefoot[plot]"')

    monkeypatch.setattr(sf.Found, "plot", plot)
    done = run("find", "work/jobs.py:job", "--plot", "a.png")
    assert done.exit_code == 0
    assert done.stderr.count('pip install "surefoot[plot]"') == 1
    assert "report.html  found.json\n" in done.stdout


def test_what_cannot_be_written_costs_no_answer(calls):
    Path("file").write_text("")
    done = run("find", "work/jobs.py:job", "--report", "file/report.html")
    assert done.exit_code == 1
    assert "learning rate  0.0031" in done.stdout
    assert "note: file/report.html was not written" in done.stderr


def test_an_interrupted_search_prints_what_it_has(calls):
    calls["does"] = lambda: sf.Found(**FOUND, trials=(TRIAL,), is_complete=False)
    done = run("find", "work/jobs.py:job", "--run-dir", "here")
    assert done.exit_code == 130
    assert "learning rate  0.0031" in done.stdout
    assert "best answer so far; the same command with --run-dir here goes on" in done.stderr


def test_an_interrupted_search_with_nothing_says_so(calls):
    def does():
        raise KeyboardInterrupt

    calls["does"] = does
    done = run("find", "work/jobs.py:job", "--run-dir", "here")
    assert done.exit_code == 130
    assert done.stdout == ""
    assert "interrupted before there was an answer" in done.stderr


def test_a_request_to_end_is_an_interrupt(calls):
    def does():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)

    calls["does"] = does
    before = signal.getsignal(signal.SIGTERM)
    assert run("find", "work/jobs.py:job").exit_code == 130
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (sf.ArgumentError("`find(budget=0)`: budget must be above 0."), 2),
        (sf.JobError("every trial failed."), 1),
        (sf.RunDirectoryError("cannot write."), 1),
        (sf.MissingExtraError('Run: pip install "surefoot[torch]"'), 1),
    ],
)
def test_errors_are_sentences_with_an_exit_code(calls, error, exit_code):
    def does():
        raise error

    calls["does"] = does
    done = run("find", "work/jobs.py:job", "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (exit_code, "", f"Error: {error}\n")


def test_other_errors_tell_how_to_see_more(calls):
    calls["does"] = lambda: {}["key"]
    done = run("find", "work/jobs.py:job", "--quiet")
    assert done.exit_code == 1
    assert done.stderr == "Error: KeyError: 'key'\nSet SUREFOOT_TRACEBACK=1 to see where it comes from.\n"
    seen = run("find", "work/jobs.py:job", "--quiet", env={"SUREFOOT_TRACEBACK": "1"})
    assert isinstance(seen.exception, KeyError)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["digit"], "There is no job 'digit'. Did you mean 'digits'?"),
        (["Diabetis"], "Did you mean 'diabetes'?"),
        (["xyzzy"], "Bundled are digits, diabetes, chars"),
        (["work/jobs"], "name its variable: work/jobs.py:job"),
        ([], "Name a bundled job (digits, diabetes, chars)"),
        (["work/nothing.py:job"], "There is no file 'work/nothing.py'"),
        (["work/jobs.py:jop"], "Did you mean work/jobs.py:job?"),
        (["work/jobs.py:job", "--steps", "5"], "--steps cannot change"),
        (["work/jobs.py:make", "--optimizer", "sgd"], "does not take optimizer"),
        (["work/jobs.py:train"], "needs --steps N"),
        (["work/jobs.py:job", "--metric", "acc"], "--metric is for a command"),
        (["digits", *script()], "Both a TARGET (digits) and a command"),
        (script(), "needs --steps N"),
        (["--steps", "9", "--optimizer", "adam", *script()], "has its own optimizer"),
        (["--steps", "9", "--", "echo", "{steps}"], "placeholder {lr}"),
        (["--steps", "9", "--"], "a list of the command"),
        (["python", "train.py", "--lr", "{lr}"], "Put `--` before the command"),
        (["digits", "--plot", "a.gif"], "must end in .png or .svg"),
        (["digits", "--steps", "0"], "0 is not in the range"),
    ],
)
def test_wrong_usage_says_what_is_right(calls, args, words):
    done = run("find", *args)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())
    assert calls["jobs"] == []


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("work/jobs.py:wrong", "returned a int; wanted is a job"),
        ("work/jobs.py:broken", "work/jobs.py:broken() raised ValueError: no data here"),
        ("work/jobs.py:number", "neither a job nor a function"),
        ("bad.py:job", "bad.py cannot be loaded: NameError: name 'nonsense' is not defined (line 2)"),
        ("ends.py:job", "ended the program (exit code 2)"),
    ],
)
def test_a_file_without_a_job_is_said(calls, target, words):
    Path("bad.py").write_text("x = 1\nnonsense\n")
    Path("ends.py").write_text("raise SystemExit(2)\n")
    done = run("find", target)
    assert done.exit_code == 1
    assert words in done.stderr


def test_a_file_gives_a_job_a_maker_or_a_train_function(calls):
    for args in (["job"], ["make", "--steps", 50], ["make"], ["train", "--steps", 60]):
        assert run("find", f"work/jobs.py:{args[0]}", *args[1:]).exit_code == 0
    assert [(job.name, job.total_steps) for job in calls["jobs"]] == [
        ("mine", 200), ("made", 50), ("made", 100), ("train", 60),
    ]  # fmt: skip


def test_a_file_without_a_name_means_job(calls):
    assert run("find", "work/jobs.py").exit_code == 0
    assert calls["jobs"][0].name == "mine"


def test_a_command_becomes_a_job(calls):
    settings = [
        "--steps",
        9,
        "--metric",
        "acc",
        "--goal",
        "max",
        "--timeout",
        5,
        "--learning-rate",
        0.5,
        "--run-dir",
        "d",
    ]
    assert run("find", *settings, *script("--steps", "--quiet")).exit_code == 0
    job = calls["jobs"][0]
    facts = job.describe()
    assert facts["command"][-2:] == ["--steps", "--quiet"]
    assert (facts["metric"], facts["goal"], job.total_steps, job.default_learning_rate) == ("acc", "max", 9, 0.5)
    assert job.log_dir == Path("d/logs")


def test_a_bundled_job_takes_optimizer_and_steps(calls):
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    try:
        done = run("find", "diabetes", "--optimizer", "sgd_momentum", "--steps", 120)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    assert done.stderr.startswith(
        "  finding the learning rate of diabetes (SGD with momentum, 120 steps, linear warm-up, cosine)\n"
    )


def test_without_torch_a_bundled_job_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None\nfrom surefoot.cli import main\nmain(['find', 'digits'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == 'Error: `torch` is not installed. Run: pip install "surefoot[torch]"\n'


def test_run_directories_do_not_collide(monkeypatch):
    import datetime as dt

    now = dt.datetime(2026, 5, 9, 7, 35, 25, tzinfo=dt.UTC)
    first = _find._new_run_dir("my job/1", now)
    assert first == Path("surefoot-runs/2026-05-09T073525Z-my-job-1")
    first.mkdir(parents=True)
    assert _find._new_run_dir("my job/1", now).name == "2026-05-09T073525Z-my-job-1-2"


def test_lines_for_logs_come_now_and_then(capsys):
    clock = iter([0.0, 1.0, 40.0, 41.0, 50.0])
    lines = _progress.Lines(lambda: next(clock))
    for spent in (0.1, 0.5, 0.6):
        lines(sf.Progress(phase="forks", spent=spent, expected=1.0, trials=1))
    lines.finish()
    assert capsys.readouterr().err == "   50%  0.5 runs  forks  0:00:40 left\n  100%  0.6 runs  0:00:50\n"


def test_a_bar_is_drawn_in_a_terminal():
    pty = pytest.importorskip("pty")
    code = (
        "import surefoot as sf\nfrom surefoot.cli._progress import watch\n"
        "with watch('finding it', is_quiet=False) as on_progress:\n"
        "    on_progress(sf.Progress(phase='forks', spent=0.5, expected=1.0, trials=1)); on_progress.finish()\n"
        "    print('a word of the user')\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=theirs, stdout=theirs, env=environment)
    os.close(theirs)
    seen = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(ours)
    assert process.wait() == 0
    text = seen.decode()
    assert "finding it" in text
    assert "0.5 runs" in text
    assert "a word of the user" in text
