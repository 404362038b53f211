import json
import time

import pytest

from surefoot import RunDirectoryError
from surefoot.run import DecisionLog, read_decisions

PLAN = {"kind": "linear_decay", "length": 100}
STATE = {"base_lrs": [0.5], "schedule": "linear_decay(100)", "changes": []}


def change(step, old=0.5, new=0.25):
    return {"step": step, "old": old, "new": new, "cause": "why", "controller": "Plateau", "action": "continue"}


def test_what_was_written_is_read(tmp_path):
    with DecisionLog(tmp_path / "run") as log:
        log.start(0, 100, STATE, PLAN)
        log.add(change(10))
        log.add(change(20, 0.25, 0.125))
        story = read_decisions(tmp_path / "run")  # while it is still written
    assert (story.base_lrs, story.schedule, story.total_steps, story.starts) == ([0.5], PLAN, 100, [0])
    assert [c["step"] for c in story.changes] == [10, 20]
    assert [story.factor(step) for step in (9, 10, 19, 20)] == [1.0, 0.5, 0.5, 0.25]


def test_a_resumed_run_takes_its_decisions_with_it(tmp_path):
    with DecisionLog(tmp_path) as log:
        log.start(0, 100, STATE, PLAN)
        for step in (10, 20, 30):
            log.add(change(step))
    with DecisionLog(tmp_path) as log:  # from a checkpoint of step 25
        log.start(25, 100, {**STATE, "changes": [change(10), change(20)]}, PLAN)
        log.add(change(28))
    story = read_decisions(tmp_path)
    assert [c["step"] for c in story.changes] == [10, 20, 28]
    assert story.starts == [0, 25]


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    with DecisionLog(tmp_path) as log:
        log.start(0, 100, STATE, PLAN)
        log.add(change(10))
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert read_decisions(tmp_path).changes == []


@pytest.mark.parametrize("text", ["", "{}\n{}\n", "[1]\n" * 2, "no JSON\n" * 2])
def test_what_is_no_log_is_refused(tmp_path, text):
    (tmp_path / "decisions.jsonl").write_text(text)
    with pytest.raises(RunDirectoryError, match=r"damaged|holds no run"):
        read_decisions(tmp_path)


def test_a_missing_log_is_refused(tmp_path):
    with pytest.raises(RunDirectoryError, match="cannot read"):
        read_decisions(tmp_path)


def test_two_at_once_are_refused(tmp_path):
    with DecisionLog(tmp_path), pytest.raises(RunDirectoryError, match="in use by another process"):
        DecisionLog(tmp_path)
    DecisionLog(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="Choose another with `run_dir`"):
        DecisionLog(tmp_path / "file")


def test_a_full_disk_is_said_once_and_the_run_goes_on(tmp_path, caplog, monkeypatch):
    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    with DecisionLog(tmp_path) as log, monkeypatch.context() as patch:
        patch.setattr(log, "_file", Full())
        log.add(change(1))
        log.add(change(2))
    assert len(caplog.records) == 1
    assert "decisions are no longer written" in caplog.text


def test_a_record_costs_microseconds(tmp_path):
    with DecisionLog(tmp_path) as log:
        began = time.perf_counter()
        for step in range(2000):
            log.add(change(step))
        assert (time.perf_counter() - began) / 2000 < 100e-6  # about 6 on an idle machine
    assert all(json.loads(line) for line in (tmp_path / "decisions.jsonl").read_text().splitlines())
