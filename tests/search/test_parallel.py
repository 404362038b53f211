"""Pieces in several processes: the answer of one process, also where workers die and where the search is killed."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from tests.search.fakes import FakeJob

import surefoot as sf
from surefoot import ArgumentError, ArgumentTypeError, JobError
from surefoot.search import Executor
from surefoot.search._lab import three_digits
from surefoot.search._parallel import Task, Want, pickled

ROOT = Path(__file__).parents[2]
TWO = sf.Processes(workers=2)


def told(found):
    """Return what a search says, without what differs from run to run."""
    return {k: v for k, v in found.to_dict().items() if k not in {"versions", "run_dir"}}


@dataclasses.dataclass
class Marking(FakeJob):
    """Notes in a folder which process has trained which rate, and dies at some, for the first so many times."""

    folder: str = ""
    deadly: tuple[float, ...] = ()
    deaths: int = 0

    def start(self, learning_rate, *, seed):
        rate = f"{learning_rate:.3g}"
        number = len(list(Path(self.folder).glob(f"{rate}-*")))
        (Path(self.folder) / f"{rate}-{number}-{os.getpid()}").touch()
        if learning_rate in self.deadly and number < self.deaths and os.getpid() != int(os.environ["MARKING_PARENT"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().start(learning_rate, seed=seed)


@pytest.fixture
def parent(monkeypatch):
    monkeypatch.setenv("MARKING_PARENT", str(os.getpid()))


def processes_of(folder):
    return {int(path.name.split("-")[-1]) for path in folder.iterdir()}


@pytest.mark.parametrize("budget", [1.0, 2.0, 2.5])
def test_the_answer_is_that_of_one_process(tmp_path, parent, budget):
    job = Marking(noise=0.02, folder=str(tmp_path / "a"))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    alone = sf.find(job, budget=budget, seed=3)
    assert processes_of(tmp_path / "a") == {os.getpid()}
    together = sf.find(dataclasses.replace(job, folder=str(tmp_path / "b")), budget=budget, seed=3, executor=TWO)
    assert told(together) == told(alone)
    assert len(processes_of(tmp_path / "b")) >= 2
    assert together.train().run.step == alone.train().run.step == job.total_steps


def test_a_job_that_cannot_fork_is_searched_together_too():
    job = FakeJob(can_fork=False)
    assert told(sf.find(job, budget=2.0, executor="processes")) == told(sf.find(job, budget=2.0))


def lower_of_the_pair(found):
    """Return the rate of the second fork, which is trained together with the first."""
    return [t.learning_rate for t in found.trials if t.rung == "fork"][1]


def test_a_worker_that_dies_costs_its_piece_another_try(tmp_path, parent):
    alone = sf.find(FakeJob(noise=0.02), seed=3)
    job = Marking(noise=0.02, folder=str(tmp_path), deadly=(lower_of_the_pair(alone),), deaths=2)
    assert told(sf.find(job, seed=3, executor=TWO)) == told(alone)


def test_a_piece_whose_workers_always_die_is_a_failed_trial(tmp_path, parent):
    alone = sf.find(FakeJob(noise=0.02), seed=3)
    lower = lower_of_the_pair(alone)
    job = Marking(noise=0.02, folder=str(tmp_path), deadly=(lower,), deaths=99)
    found = sf.find(job, seed=3, executor=sf.Processes(workers=2, retries=1))
    (lost,) = [t for t in found.trials if t.outcome == "failed"]
    assert (lost.learning_rate, lost.steps) == (lower, 0)
    assert "died 2 times" in lost.note
    assert found.is_complete
    assert math.isfinite(found.learning_rate)


def test_without_retries_only_the_deadly_piece_is_lost(tmp_path, parent):
    lower = lower_of_the_pair(sf.find(FakeJob(noise=0.02), seed=3))
    job = Marking(noise=0.02, folder=str(tmp_path), deadly=(lower,), deaths=99)
    found = sf.find(job, seed=3, executor=sf.Processes(workers=2, retries=0))
    assert [t.learning_rate for t in found.trials if t.outcome == "failed"] == [lower]


@dataclasses.dataclass
class Waiting(FakeJob):
    """Trains its slow rate only when a file is there."""

    flag: str = ""
    slow: float = 0.0

    def advance(self, run, factors):
        while run.rate == self.slow and not Path(self.flag).exists():
            time.sleep(0.01)
        return super().advance(run, factors)


def test_a_piece_is_handed_back_while_others_are_still_trained(tmp_path):
    job = Waiting(flag=str(tmp_path / "flag"), slow=2.0**-9)
    plan = job.schedule.resolve(job.total_steps)
    tasks = [
        Task(
            want=Want(x=x, short=20),
            rung="bracket",
            plan=plan,
            seed=0,
            initial_loss=2.3,
            known=(),
            checkpoints=tmp_path,
        )
        for x in (-9.0, -8.0)
    ]
    job.slow = three_digits(-9.0)
    with TWO.team(job) as team:
        results = team.run(tasks)
        i, pieces = next(results)
        assert (i, pieces[0]["outcome"]) == (1, "finished")
        Path(job.flag).touch()
        assert [i for i, _ in results] == [0]


def test_a_search_goes_on_from_a_run_directory_with_more_processes(tmp_path, parent):
    (tmp_path / "marks").mkdir()
    job = Marking(noise=0.02, folder=str(tmp_path / "marks"))
    whole = sf.find(job, budget=2.0, seed=3, run_dir=tmp_path / "run")
    log = (tmp_path / "run" / "pieces.jsonl").read_text().splitlines(keepends=True)
    for path in (tmp_path / "marks").iterdir():
        path.unlink()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "run.json").write_text((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "half" / "pieces.jsonl").write_text("".join(log[: len(log) // 2]))
    again = sf.find(job, budget=2.0, seed=3, run_dir=tmp_path / "half", executor=TWO)
    assert told(again) == told(whole)
    keys = [json.loads(line)["key"] for line in (tmp_path / "half" / "pieces.jsonl").read_text().splitlines()]
    assert len(keys) == len(set(keys)) == len(log)


KILLED = """
    import sys, time, os
    sys.path.insert(0, sys.argv[1])
    from pathlib import Path
    from tests.search.test_parallel import Slow
    import surefoot as sf

    if __name__ == "__main__":
        found = sf.find(Slow(noise=0.02), budget=2.0, seed=3, run_dir=sys.argv[2], executor=sf.Processes(workers=2))
        print(found.learning_rate)
"""


def has_members(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


class Unknown(FakeJob):
    """Can be pickled, and is not there in another process."""

    def __reduce__(self):
        return (print_nothing_at_all, ())


def print_nothing_at_all():
    raise ImportError("no module of that name")


def test_a_job_that_cannot_be_unpacked_in_another_process_is_an_error_that_says_so():
    with pytest.raises(JobError, match="could not be unpacked there: ImportError: no module of that name"):
        sf.find(Unknown(), executor=TWO)


@dataclasses.dataclass
class Slow(FakeJob):
    """Takes its time, so that it can be killed in the middle."""

    def advance(self, run, factors):
        time.sleep(0.002 * len(factors))
        return super().advance(run, factors)


@pytest.mark.slow
def test_a_killed_search_leaves_no_workers_and_goes_on(tmp_path):
    script = tmp_path / "search.py"
    script.write_text(textwrap.dedent(KILLED))
    command = [sys.executable, str(script), str(ROOT), str(tmp_path / "run")]
    for lines in (12, 18):
        process = subprocess.Popen(command, start_new_session=True)
        log = tmp_path / "run" / "pieces.jsonl"
        while process.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < lines):
            pass
        assert process.poll() is None
        process.kill()
        process.wait()
        until = time.monotonic() + 20.0
        while time.monotonic() < until and has_members(process.pid):
            time.sleep(0.05)
        assert not has_members(process.pid), "workers live on"
        known = [json.loads(line)["key"] for line in log.read_text().splitlines()]
        assert len(known) == len(set(known))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    alone = sf.find(FakeJob(noise=0.02), budget=2.0, seed=3)
    assert float(done.stdout) == alone.learning_rate
    again = [json.loads(line)["key"] for line in log.read_text().splitlines()]
    assert again[: len(known)] == known
    assert len(again) == len(set(again))


def test_a_job_that_cannot_be_pickled_is_refused_before_anything_is_trained(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    job = FakeJob()
    job.loss = lambda model: 0.0
    with pytest.raises(ArgumentTypeError, match=r"job must be a job that can be pickled.*pip install cloudpickle"):
        sf.find(job, executor="processes")
    assert job.steps == 0
    assert pickled(FakeJob(), "Processes")


@pytest.mark.parametrize("executor", ["threads", "process", ""])
def test_an_unknown_executor_is_refused(executor):
    with pytest.raises(ArgumentError, match=r"find\(executor="):
        sf.find(FakeJob(), executor=executor)


@pytest.mark.parametrize("executor", [None, 3, object()])
def test_what_is_no_executor_is_refused(executor):
    with pytest.raises((ArgumentError, ArgumentTypeError), match="executor must be"):
        sf.find(FakeJob(), executor=executor)


@pytest.mark.parametrize("settings", [{"workers": 0}, {"workers": 1.5}, {"threads": 0}, {"retries": -1}])
def test_wrong_settings_are_refused_by_name(settings):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=rf"Processes\({next(iter(settings))}"):
        sf.Processes(**settings)


def test_processes_are_an_executor():
    assert isinstance(TWO, Executor)
