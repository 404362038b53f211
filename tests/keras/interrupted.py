"""A run under BackupAndRestore that kills itself where it is told to: `python interrupted.py FOLDER ORDER OPTIMIZER EPOCH WHEN`."""

import os
import signal
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__" and os.environ["KERAS_BACKEND"] != "tensorflow":
    sys.modules["tensorflow"] = None  # Keras would import it to write files: ten seconds

import keras
from surefoot import keras as ours
from surefoot.control import Plateau
from surefoot.schedules import linear_decay, linear_warmup

EPOCHS, BATCHES = 5, 3
OPTIMIZERS = {"ours": ours.Adam, "theirs": keras.optimizers.Adam}


class Interrupt(keras.callbacks.Callback):
    """Ends the process within an epoch, after one, or after the weights are saved and before the epoch is noted."""

    def __init__(self, epoch, when, end):
        super().__init__()
        self.epoch, self.when, self.end, self.now = epoch, when, end, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.when == "within" and (self.now, batch) == (self.epoch, 1):
            self.end()

    def on_epoch_end(self, epoch, logs=None):
        if self.when == "after" and epoch == self.epoch:
            self.end()


class Backup(keras.callbacks.BackupAndRestore):
    """Ends the process before the epoch is noted, if it is told to."""

    interrupt = None

    def _save_model(self):
        if self.interrupt is not None and (self.interrupt.when, self.interrupt.epoch) == (
            "between",
            self.interrupt.now,
        ):
            Path(self.backup_dir).mkdir(exist_ok=True)
            self.model.save_weights(self._weights_path, overwrite=True)
            self.interrupt.end()
        super()._save_model()


def run(folder, order, optimizer, interrupt=None):
    """Train from where the folder's backup is; return the rate of each epoch, all weights and the decisions."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "tanh"), keras.layers.Dense(1)])
    model.compile(OPTIMIZERS[optimizer](0.1), "mse")
    x = random.normal(size=(4 * BATCHES, 2)).astype("float32")
    schedule = linear_warmup("1 epoch", start=0.1) >> linear_decay(to=0.5)
    plateaus = [Plateau("val_loss", patience=2, factor=0.5, min_delta=9.0), Plateau("loss", patience=3, min_delta=9.0)]
    control = ours.LearningRateControl(schedule, plateaus)
    backup = Backup(folder)
    callbacks = [control, backup] if order == "before" else [backup, control]
    if interrupt is not None:
        backup.interrupt = interrupt
        callbacks.append(interrupt)
    log = model.fit(
        x,
        x[:, :1],
        batch_size=4,
        epochs=EPOCHS,
        verbose=0,
        shuffle=False,
        callbacks=callbacks,
        validation_data=(x, x[:, :1]),
    )
    rates = dict(zip(log.epoch, log.history["learning_rate"], strict=True))
    return rates, model.get_weights(), [str(change) for change in control.changes]


if __name__ == "__main__":
    path, where, kind, at, moment = sys.argv[1:]
    run(Path(path), where, kind, Interrupt(int(at), moment, lambda: os.kill(os.getpid(), signal.SIGKILL)))
