"""Kill and resume under BackupAndRestore: the rates and weights of the run that was never stopped."""

import functools
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import keras
from surefoot import SurefootWarning
from surefoot.control import Chain, Plateau
from surefoot.keras import SGD, LearningRateControl

from . import interrupted
from .fits import fit, model_of
from .interrupted import EPOCHS, Interrupt, run


@functools.cache
def unbroken(optimizer):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder) / "backup", "before", optimizer)


def same(found, expected, first):
    rates, weights, changes = found
    assert rates == {epoch: rate for epoch, rate in expected[0].items() if epoch >= first}
    for mine, theirs in zip(weights, expected[1], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert changes == expected[2] != []


def kill(folder, order, optimizer, epoch, when):
    """Run in another process until it is killed."""
    env = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    command = [sys.executable, interrupted.__file__, str(folder), order, optimizer, str(epoch), when]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


class EndedError(Exception):
    pass


def end():
    raise EndedError


@pytest.mark.parametrize("order", ["before", "behind"])
def test_a_run_that_broke_goes_on_as_if_it_had_not(tmp_path, order):
    with pytest.raises(EndedError):
        run(tmp_path / "backup", order, "ours", Interrupt(2, "after", end))
    same(run(tmp_path / "backup", order, "ours"), unbroken("ours"), 3)


def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path):
    kill(tmp_path / "backup", "before", "ours", 3, "within")
    same(run(tmp_path / "backup", "before", "ours"), unbroken("ours"), 3)


def test_weights_that_are_ahead_of_the_noted_epoch_are_found_out(tmp_path):
    expected = unbroken("ours")
    for order in ("behind", "before"):
        folder = tmp_path / order
        with pytest.raises(EndedError):
            run(folder, order, "ours", Interrupt(2, "between", end))
        if order == "behind":
            same(run(folder, order, "ours"), expected, 3)
            continue
        with pytest.warns(SurefootWarning, match="Epoch 3 is trained a second time"):
            rates, _, _ = run(folder, order, "ours")
        assert min(rates) == 2
        assert rates[2] == expected[0][3]  # the rate goes on where it was


@pytest.mark.parametrize("make", [Plateau, lambda monitor: Chain(Plateau(monitor))], ids=["plateau", "chain"])
def test_a_reading_that_a_backup_lacks_is_said(tmp_path, make):
    class Adds(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["mine"] = 1.0

    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.warns(SurefootWarning, match="saved before the reading of mine is taken.*put BackupAndRestore") as said:
        fit(model_of(SGD(0.1)), Adds(), backup, LearningRateControl(controllers=[make("mine")]))
    assert sum(w.category is SurefootWarning for w in said) == 1


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["ours", "theirs"])
@pytest.mark.parametrize("order", ["before", "behind"])
@pytest.mark.parametrize("when", ["within", "after", "between"])
@pytest.mark.parametrize("epoch", range(EPOCHS - 1))
def test_a_run_killed_anywhere_goes_on_as_if_it_had_not_been(tmp_path, epoch, when, order, optimizer):
    folder = tmp_path / "backup"
    if optimizer == "ours":
        kill(folder, order, optimizer, epoch, when)
    else:  # an exception, which is faster than another process
        with pytest.raises(EndedError):
            run(folder, order, optimizer, Interrupt(epoch, when, end))
    if when == "between" and (order == "before" or epoch == 0):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SurefootWarning)  # see the test above
            assert min(run(folder, order, optimizer)[0]) == epoch
        return
    same(run(folder, order, optimizer), unbroken(optimizer), epoch + (when != "within"))
