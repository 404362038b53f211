import errno
import json
import logging
import math
import os
from pathlib import Path

import pytest

import surefoot as sf
from surefoot.run import RunDirectory, write_atomically

ME = {"job": "digits", "seed": 0, "describe": {"size": 3, "shape": (1, 2)}}


def test_what_was_added_comes_back(tmp_path):
    pieces = [{"key": "a", "loss": 0.1 + 0.2, "losses": [(1, math.inf), (2, -math.inf)]}, {"key": "b", "note": "ü\n"}]
    with RunDirectory(tmp_path / "new" / "run", ME) as directory:
        assert directory.pieces == []
        for piece in pieces:
            directory.add(piece)
    with RunDirectory(tmp_path / "new" / "run", ME) as directory:
        assert directory.pieces == [{**pieces[0], "losses": [[1, math.inf], [2, -math.inf]]}, pieces[1]]


def test_nan_comes_back(tmp_path):
    with RunDirectory(tmp_path, ME) as directory:
        directory.add({"key": "a", "loss": math.nan})
    with RunDirectory(tmp_path, ME) as directory:
        assert math.isnan(directory.pieces[0]["loss"])


def test_each_line_is_there_as_soon_as_it_was_added(tmp_path):
    with RunDirectory(tmp_path, ME) as directory:
        directory.add({"key": "a"})
        assert json.loads((tmp_path / "pieces.jsonl").read_text()) == {"key": "a"}


def test_the_folder_is_for_its_owner_only(tmp_path):
    with RunDirectory(tmp_path / "run", ME):
        assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        ({**ME, "seed": 1}, "its seed is 0, yours is 1"),
        ({**ME, "describe": {"size": 4, "shape": (1, 2)}}, "its describe.size is 3, yours is 4"),
        ({**ME, "describe": {"size": 3}}, r"its describe.shape is \[1, 2\], yours is None"),
        ({**ME, "describe": {**ME["describe"], "more": 1}}, "its describe.more is None, yours is 1"),
        ({**ME, "describe": "a" * 100}, r"its describe is None, yours is 'a*\.\.\."),
    ],
)
def test_another_identity_is_refused_by_name(tmp_path, identity, words):
    with RunDirectory(tmp_path, ME):
        pass
    with pytest.raises(sf.RunDirectoryError, match=words):
        RunDirectory(tmp_path, identity)
    with RunDirectory(tmp_path, ME):  # and the lock was given back
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_run_json_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(sf.RunDirectoryError, match="is not a run of surefoot"):
        RunDirectory(tmp_path, ME)


def test_one_process_at_a_time(tmp_path):
    with RunDirectory(tmp_path, ME), pytest.raises(sf.RunDirectoryError, match="is in use by another process"):
        RunDirectory(tmp_path, ME)
    with RunDirectory(tmp_path, ME):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_file_system_without_locks_is_said_once_and_used(tmp_path, monkeypatch, caplog):
    import fcntl

    def none(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with caplog.at_level(logging.WARNING, "surefoot"), RunDirectory(tmp_path, ME) as directory:
        directory.add({"key": "a"})
    assert "has no locks" in caplog.text


def test_a_checkpoint_is_there_whole_or_not_at_all(tmp_path, caplog):
    def save(path):
        path.write_text("whole")

    def broken(path):
        path.write_text("half")
        raise RuntimeError("the writer failed")

    with RunDirectory(tmp_path, ME) as directory:
        assert directory.kept("a.state") is None
        assert directory.keep("a.state", save)
        with caplog.at_level(logging.WARNING, "surefoot"):
            assert not directory.keep("a.state", broken)
            assert not directory.keep("b.state", broken)
        assert directory.kept("a.state").read_text() == "whole"
        assert len(caplog.records) == 1
        assert directory.keep("b.state", save)
        directory.forget("b.state")
        directory.forget("b.state")
        directory.keep("c.state", save)
        directory.forget_all_but("a.state")
        assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["a.state"]
        directory.forget_all_but(None)
        assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_disk_without_room_for_the_log_is_said_once(tmp_path, caplog):
    with RunDirectory(tmp_path, ME) as directory:
        directory._log.close()
        directory._log = Path("/dev/full").open("a")  # noqa: SIM115 - closed by the directory
        with caplog.at_level(logging.WARNING, "surefoot"):
            for key in "abc":
                directory.add({"key": key})
    assert len(caplog.records) == 1
    assert "The search goes on" in caplog.text


def test_an_identity_that_is_no_plain_data_gives_the_lock_back(tmp_path):
    with pytest.raises(TypeError):
        RunDirectory(tmp_path, {"job": object()})
    with RunDirectory(tmp_path, ME):
        pass


def test_a_log_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "pieces.jsonl").mkdir()
    with pytest.raises(sf.RunDirectoryError, match=r"cannot use the run directory .*Choose another with `run_dir`"):
        RunDirectory(tmp_path, ME)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "found.json"
    write_atomically(path, "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(sf.RunDirectoryError, match=r"No space left on device\. Choose a folder"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["found.json"]
