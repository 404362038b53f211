"""What a search survives: a kill at any moment, a damaged log, a full disk, a second process, lost checkpoints."""

import contextlib
import errno
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import surefoot as sf
from surefoot.run import RunDirectory
from surefoot.search import Found

from .fakes import Failing, FakeJob, function_job


def plain(found):
    return {key: value for key, value in found.to_dict().items() if key != "run_dir"}


def make():
    return FakeJob(noise=0.01, edge=3.0)


def search(job, folder, **changes):
    return sf.find(job, **{"budget": 2.0, "seed": 0, "run_dir": folder, **changes})


def keys(folder):
    return [json.loads(line)["key"] for line in (folder / "pieces.jsonl").read_text().splitlines()]


def in_a_child(work):
    """Run `work` in a forked process and return how it ended."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]


def kill_myself():
    os.kill(os.getpid(), signal.SIGKILL)


with tempfile.TemporaryDirectory() as _folder:
    WHOLE = plain(search(make(), Path(_folder)))
    KEYS = keys(Path(_folder))
STEPS = round(WHOLE["spent"] * WHOLE["total_steps"])


def is_resumed_without_repeats(folder, logged):
    """Resume, and check that what had been logged is not trained again."""
    steps = {p["key"]: p["to_step"] - p["from_step"] for p in logged if "to_step" in p}
    job = make()
    assert plain(search(job, folder)) == WHOLE
    assert job.steps == STEPS - sum(steps.values())
    assert len(set(keys(folder))) == len(keys(folder))


def logged(folder):
    file = folder / "pieces.jsonl"
    whole = file.read_bytes().rpartition(b"\n")[0] if file.exists() else b""
    return [json.loads(line) for line in whole.splitlines()]


@pytest.mark.parametrize("pieces", range(1, len(KEYS)))
def test_a_search_that_is_killed_after_any_piece_goes_on_from_there(tmp_path, pieces):
    class Killed(FakeJob):
        def advance(self, run, factors):
            if len(logged(tmp_path)) >= pieces and run.step % 3:
                kill_myself()
            return super().advance(run, factors)

    job = make()
    assert in_a_child(lambda: search(Killed(noise=job.noise, edge=job.edge), tmp_path)) == signal.SIGKILL
    assert len(logged(tmp_path)) == pieces
    is_resumed_without_repeats(tmp_path, logged(tmp_path))


@pytest.mark.parametrize("moment", ["before", "torn", "after"])
@pytest.mark.parametrize("number", range(1, 6))
def test_a_kill_around_a_checkpoint_loses_nothing(tmp_path, number, moment):
    class Killed(FakeJob):
        saves = 0

        def save(self, run, path):
            type(self).saves += 1
            is_now = self.saves == number
            if is_now and moment == "before":
                kill_myself()
            super().save(run, path)
            if is_now and moment == "torn":
                os.truncate(path, 10)
            if is_now:
                kill_myself()

    job = make()
    assert in_a_child(lambda: search(Killed(noise=job.noise, edge=job.edge), tmp_path)) == signal.SIGKILL
    is_resumed_without_repeats(tmp_path, logged(tmp_path))


TORCH = """
import os, signal, sys
from pathlib import Path
import surefoot as sf
import torch
from surefoot.torch import TorchJob
torch.set_num_threads(1)
folder, pieces = Path(sys.argv[1]), int(sys.argv[2])
x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
steps = 0
def loss(model, batch):
    global steps
    steps += model.training
    return torch.nn.functional.mse_loss(model(batch[0])[:, 0], batch[0].sum(1).sin())
def net():
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.1), torch.nn.Tanh(), torch.nn.Linear(8, 1))
def watch(progress):
    file = folder / "pieces.jsonl"
    if file.exists() and file.read_bytes().count(b"\\n") >= pieces:
        os.kill(os.getpid(), signal.SIGKILL)
job = TorchJob(model=net, loss=loss, train=(x,), val=(x[:16],), batch_size=16, total_steps=320, device="cpu")
found = sf.find(job, budget=1.4, seed=1, run_dir=folder, on_progress=watch)
print(steps)
found.save(folder / "found.json")
"""


def run_torch(folder, pieces):
    command = [sys.executable, "-c", TORCH, str(folder), str(pieces)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def run_torch_here(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["script", str(folder), str(10**9)])
    exec(compile(TORCH, "script", "exec"), {})
    return Found.load(folder / "found.json"), int(capsys.readouterr().out)


def test_a_torch_search_that_is_killed_gives_the_answer_of_an_unbroken_one(tmp_path, monkeypatch, capsys):
    want, all_steps = run_torch_here(tmp_path / "unbroken", monkeypatch, capsys)
    assert all_steps == round(want.spent * want.total_steps)
    folder = tmp_path / "broken"
    assert run_torch(folder, 13).returncode == -signal.SIGKILL
    assert len(logged(folder)) == 13
    done = sum(p["to_step"] - p["from_step"] for p in logged(folder) if "to_step" in p)
    found, steps = run_torch_here(folder, monkeypatch, capsys)
    assert plain(found) == plain(want)
    assert steps == all_steps - done
    assert len(set(keys(folder))) == len(keys(folder))


# ---- the log --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_torn_last_line_is_trained_again(tmp_path, cut):
    search(make(), tmp_path)
    file = tmp_path / "pieces.jsonl"
    os.truncate(file, file.stat().st_size - cut)
    assert plain(search(make(), tmp_path)) == WHOLE
    assert len(set(keys(tmp_path))) == len(keys(tmp_path))


@pytest.mark.parametrize("damage", [b"{", b"\x00" * 40, b"\xff\xfe", b"3", b"{}", b'{"key": {"float": "x"}}'])
def test_a_damaged_line_in_the_middle_is_named_with_its_cure(tmp_path, damage):
    search(make(), tmp_path)
    file = tmp_path / "pieces.jsonl"
    lines = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([*lines[:2], damage, *lines[3:]]) + b"\n")
    with pytest.raises(sf.RunDirectoryError, match=r"pieces\.jsonl', line 3, is damaged: .*Remove this line"):
        search(make(), tmp_path)
    file.write_bytes(b"\n".join([*lines[:2], *lines[3:]]) + b"\n")
    assert plain(search(make(), tmp_path)) == WHOLE


def test_a_complete_search_is_answered_from_its_log(tmp_path):
    search(make(), tmp_path)
    before = (tmp_path / "pieces.jsonl").read_bytes()
    job = make()
    assert plain(search(job, tmp_path)) == WHOLE
    assert job.steps == 0
    assert (tmp_path / "pieces.jsonl").read_bytes() == before


def test_failures_alone_are_not_believed_the_next_time(tmp_path):
    with pytest.raises(sf.JobError, match="every trial failed"):
        search(Failing(noise=0.01, edge=3.0), tmp_path)
    assert plain(search(make(), tmp_path)) == WHOLE  # the cause has been cured


@pytest.mark.parametrize(
    ("changes", "job", "words"),
    [
        ({"seed": 1}, make(), "its seed is 0, yours is 1"),
        ({"budget": 1.0}, make(), "its budget is 2.0, yours is 1.0"),
        ({"learning_rate": 0.5}, make(), "its start is 0.001, yours is 0.5"),
        ({"bounds": (1e-5, 1.0)}, make(), "its low is "),
        ({}, FakeJob(noise=0.02, edge=3.0), "its describe.noise is 0.01, yours is 0.02"),
        ({}, FakeJob(noise=0.01, total_steps=700), "its total_steps is 640, yours is 700"),
        ({}, FakeJob(noise=0.01, schedule=sf.constant()), "its schedule.kind is "),
        ({}, FakeJob(noise=0.01, name="other"), "its job is 'fake', yours is 'other'"),
        ({}, function_job(), "belongs to another search"),
    ],
)
def test_the_folder_of_another_search_is_refused_and_the_difference_named(tmp_path, changes, job, words):
    search(make(), tmp_path)
    with pytest.raises(sf.RunDirectoryError) as caught:
        search(job, tmp_path, **changes)
    assert words in str(caught.value)
    assert "Choose another `run_dir`" in str(caught.value)


def test_a_second_search_in_the_same_folder_is_refused(tmp_path):
    def second(progress):
        with pytest.raises(sf.RunDirectoryError, match=r"in use by another process\. Wait for it"):
            search(make(), tmp_path)
        assert in_a_child(lambda: refused() or kill_myself()) == 0

    def refused():
        try:
            search(make(), tmp_path)
        except sf.RunDirectoryError:
            return True
        return False

    seen = []
    search(make(), tmp_path, on_progress=lambda p: seen or seen.append(second(p)))
    assert seen
    assert plain(search(make(), tmp_path)) == WHOLE  # given back


# ---- disks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["file/run", "/proc/surefoot-run", "/dev/null"])
def test_a_place_that_cannot_be_written_is_refused_before_training(tmp_path, place):
    (tmp_path / "file").write_text("")
    job = make()
    with pytest.raises(
        sf.RunDirectoryError, match=r"cannot write to the run directory .*Choose another with `run_dir`"
    ):
        search(job, tmp_path / place)
    assert job.steps == 0


def test_a_read_only_folder_is_refused_before_training(tmp_path, monkeypatch):
    usual = Path.open

    def read_only(self, mode="r", *args, **kwargs):
        if tmp_path in self.parents and set(mode) & set("wa+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        return usual(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", read_only)
    with pytest.raises(sf.RunDirectoryError, match=r"Read-only file system\. Choose another"):
        search(make(), tmp_path / "run")


def test_a_disk_that_is_full_from_the_start_is_said_before_training(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    job = make()
    with pytest.raises(sf.RunDirectoryError, match="No space left on device"):
        search(job, tmp_path / "run")
    assert job.steps == 0
    monkeypatch.undo()
    assert plain(search(make(), tmp_path / "run")) == WHOLE


def test_a_disk_that_fills_up_costs_the_record_only(tmp_path, monkeypatch, caplog):
    class Full(RunDirectory):
        def __init__(self, path, identity):
            super().__init__(path, identity)
            self._log.close()
            self._log = Path("/dev/full").open("a")  # noqa: SIM115 - closed by the directory

    class NoRoom(FakeJob):
        def save(self, run, path):
            path.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("surefoot.search._find.RunDirectory", Full)
    with caplog.at_level(logging.WARNING, "surefoot"):
        found = search(NoRoom(noise=0.01, edge=3.0), tmp_path)
    assert plain(found) == WHOLE
    assert [r.message for r in caplog.records if "No space left on device" in r.message] == [caplog.records[0].message]
    assert "The search goes on" in caplog.records[0].message
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert found.train().val_loss > 0


def test_a_disk_that_was_full_for_a_while_loses_no_line(tmp_path, monkeypatch):
    class OnOff:
        """A stream whose flush fails in between."""

        def __init__(self, stream):
            self.stream, self.flushes = stream, 0

        def write(self, text):
            self.stream.write(text)

        def flush(self):
            self.flushes += 1
            if 3 < self.flushes < 7:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.stream.flush()

        def close(self):
            self.stream.close()

    class Filling(RunDirectory):
        def __init__(self, path, identity):
            super().__init__(path, identity)
            self._log = OnOff(self._log)

    monkeypatch.setattr("surefoot.search._find.RunDirectory", Filling)
    search(make(), tmp_path)
    monkeypatch.undo()
    job = make()
    assert plain(search(job, tmp_path)) == WHOLE
    assert job.steps == 0


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def interrupted(folder, after):
    """Leave a folder as a search leaves it that was interrupted once `after` pieces were logged."""

    def stop(progress):
        if len(logged(folder)) >= after:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        search(make(), folder, on_progress=stop)


@pytest.mark.parametrize("how", ["removed", "torn", "not a run"])
def test_a_lost_checkpoint_is_trained_again(tmp_path, how, caplog):
    interrupted(tmp_path, len(KEYS) - 1)
    kept = list((tmp_path / "checkpoints").iterdir())
    assert kept
    for path in kept:
        if how == "removed":
            path.unlink()
        elif how == "torn":
            os.truncate(path, 5)
        else:
            path.write_text("{}")
    with caplog.at_level(logging.INFO, "surefoot"):
        assert plain(search(make(), tmp_path)) == WHOLE
    assert "trained again" in caplog.text
    assert ("cannot be read" in caplog.text) == (how != "removed")


@pytest.mark.parametrize("budget", [1.0, 2.0])
def test_only_the_checkpoint_of_the_answer_is_kept(tmp_path, budget):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "run-0.5-9.tmp").write_text("left behind by a process that was killed")
    found = search(make(), tmp_path, budget=budget)
    kept = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    done = round((found.spent - found.cost) * found.total_steps)
    assert kept == ([f"run-{found.learning_rate!r}-{done}.state"] if done else [])


def test_a_search_that_can_go_on_keeps_its_checkpoints(tmp_path):
    interrupted(tmp_path, len(KEYS) - 1)
    assert len(list((tmp_path / "checkpoints").iterdir())) > 1
