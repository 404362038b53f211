import math

import pytest

import torch
from surefoot import ArgumentError, ArgumentTypeError, RunDirectoryError, StateError
from surefoot.control import DivergenceGuard
from surefoot.schedules import constant, linear_decay
from surefoot.torch import Adam, Checkpointer, drive


def parts(lr=0.1):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    return model, Adam(model.parameters(), lr=lr)


def update(model, optimizer, scale=1.0):
    loss = (model(torch.ones(2, 3)) - 1.0).square().mean()
    optimizer.zero_grad()
    (loss * scale).backward()
    optimizer.step()
    return loss.detach() * scale


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.fixture(params=["memory", "disk"])
def place(request, tmp_path):
    return {} if request.param == "memory" else {"directory": tmp_path / "snapshots"}


def test_brings_weights_and_optimizer_state_back(place):
    model, optimizer = parts()
    checkpointer = Checkpointer(model=model, optimizer=optimizer, every=5, settle=2, **place)
    seen = {0: weights(model)}
    for step in range(1, 14):
        update(model, optimizer)
        seen[step] = weights(model)
        checkpointer.offer(step)
    assert checkpointer.steps == [0, 5, 10]
    assert checkpointer.restore(13) == 10
    assert torch.equal(weights(model), seen[10])
    for step in range(11, 14):
        update(model, optimizer)
        assert torch.equal(weights(model), seen[step])


def test_a_snapshot_that_is_too_young_is_not_believed(place):
    model, optimizer = parts()
    checkpointer = Checkpointer(model=model, optimizer=optimizer, every=5, settle=10, **place)
    for step in range(1, 13):
        update(model, optimizer)
        checkpointer.offer(step)
    assert checkpointer.restore(12) == 0


def test_what_was_gone_back_to_in_vain_is_dropped(place):
    model, optimizer = parts()
    checkpointer = Checkpointer(model=model, optimizer=optimizer, every=5, settle=0, **place)
    for step in (5, 10):
        update(model, optimizer)
        checkpointer.offer(step)
    assert [checkpointer.restore(11), checkpointer.restore(12), checkpointer.restore(13), checkpointer.restore(14)] == [
        10,
        5,
        0,
        0,
    ]


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_file_is_found_out_and_the_one_before_is_taken(damage, tmp_path, caplog):
    model, optimizer = parts()
    checkpointer = Checkpointer(model=model, optimizer=optimizer, directory=tmp_path, every=5, settle=0)
    before = weights(model)
    update(model, optimizer)
    checkpointer.offer(5)
    newest = max(tmp_path.iterdir())
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    {"flipped": lambda: newest.write_bytes(data), "cut": lambda: newest.write_bytes(data[:100]), "gone": newest.unlink}[
        damage
    ]()
    assert checkpointer.restore(6) == 0
    assert torch.equal(weights(model), before)
    assert "snapshot of step 5 is damaged" in caplog.text


def test_without_any_snapshot_left_nothing_is_changed(tmp_path):
    model, optimizer = parts()
    checkpointer = Checkpointer(model=model, optimizer=optimizer, directory=tmp_path)
    for file in tmp_path.iterdir():
        file.unlink()
    before = weights(model)
    with pytest.raises(StateError, match="no snapshot can be read"):
        checkpointer.restore(1)
    assert torch.equal(weights(model), before)


def test_a_full_disk_costs_a_snapshot_and_not_the_run(tmp_path, caplog, monkeypatch):
    import os

    model, optimizer = parts()
    checkpointer = Checkpointer(model=model, optimizer=optimizer, directory=tmp_path, every=5, settle=0)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    checkpointer.offer(5)
    assert "no snapshot at step 5: [Errno 28] No space left" in caplog.text
    assert checkpointer.steps == [0]
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(RunDirectoryError, match="No space left"):
        Checkpointer(model=model, directory=tmp_path / "more")


def test_a_tensor_rate_stays_the_same_tensor():
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.5))
    checkpointer = Checkpointer(optimizer=optimizer)
    rate = optimizer.param_groups[0]["lr"]
    checkpointer.restore(1)
    assert optimizer.param_groups[0]["lr"] is rate


def test_a_guard_goes_back_cuts_the_rate_and_goes_on(place):
    model, optimizer = parts()
    checkpointer = Checkpointer(model=model, optimizer=optimizer, every=10, settle=3, **place)
    guard = DivergenceGuard(rewind=checkpointer, warmup=5, recover=20)
    lr = drive(optimizer, linear_decay(), total_steps=100, controllers=[guard])
    for step in range(100):
        loss = update(model, optimizer, math.nan if step == 45 else 1.0)
        lr.step(loss=loss)
        if step == 45:
            assert weights(model).isfinite().all()
            assert optimizer.param_groups[0]["lr"] == 0.1 * 0.5 * lr.schedule(46)
            assert "loss is nan; back to the weights of step 40" in lr.why()
    assert optimizer.param_groups[0]["lr"] == lr.at(100)
    assert guard.factor == 1.0, "it has recovered"
    assert float(loss) < 1e-3


def test_a_guard_that_is_to_rewind_needs_snapshots():
    _, optimizer = parts()
    with pytest.raises(ArgumentError, match=r"it keeps no snapshots.*Checkpointer"):
        drive(optimizer, constant(), total_steps=9, controllers=[DivergenceGuard(action="rewind")])
    with pytest.raises(ArgumentTypeError, match="rewind must be something that keeps snapshots"):
        DivergenceGuard(rewind="yes")
    with pytest.raises(ArgumentError, match="action must be 'rewind'"):
        DivergenceGuard(rewind=Checkpointer(optimizer=optimizer), action="cut")


@pytest.mark.parametrize(
    ("options", "argument", "error"),
    [
        ({}, "objects", ArgumentError),
        ({"model": 3}, "model", ArgumentTypeError),
        ({"every": 0}, "every", ArgumentError),
        ({"keep": 0}, "keep", ArgumentError),
        ({"settle": -1}, "settle", ArgumentError),
        ({"every": 1.5}, "every", ArgumentTypeError),
    ],
    ids=repr,
)
def test_a_wrong_value_is_refused_by_name(options, argument, error):
    given = {"model": torch.nn.Linear(1, 1)} if options and "model" not in options else {}
    with pytest.raises(error, match=rf"`Checkpointer\({argument}=.*\)`: {argument} must be "):
        Checkpointer(**given, **options)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="Choose another `directory`"):
        Checkpointer(model=torch.nn.Linear(1, 1), directory=tmp_path / "file")
