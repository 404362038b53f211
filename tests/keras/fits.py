"""Real fits that show their rates: the loss is the mean output and the inputs are 1, so each update takes its rate off."""

from functools import cache

import numpy as np

import keras
import surefoot.keras


def mean_output(y, prediction):
    return keras.ops.mean(prediction)


def model_of(optimizer, **compiled):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(optimizer, mean_output, **compiled)
    return model


class Weights(keras.callbacks.Callback):
    """The weight after each epoch, and whatever `say` returns."""

    def __init__(self, say=None):
        super().__init__()
        self.values, self.say = [], say or (lambda epoch, logs: None)

    def on_epoch_begin(self, epoch, logs=None):
        if not self.values:
            self.values = [float(self.model.get_weights()[0][0, 0])]

    def on_epoch_end(self, epoch, logs=None):
        self.values.append(float(self.model.get_weights()[0][0, 0]))
        logs.update(self.say(epoch, logs) or {})

    @property
    def steps(self):
        return -np.diff(self.values)


def fit(model, *callbacks, epochs=3, batches=4, weights=None, **kwargs):
    weights = weights or Weights()
    x = np.ones((batches, 1), "float32")
    log = model.fit(x, x, batch_size=1, epochs=epochs, verbose=0, callbacks=[weights, *callbacks], **kwargs)
    return log.history, weights


@cache
def _driven():
    return model_of(surefoot.keras.SGD(1.0))


def driven(callback, values, rate=1.0, name="loss"):
    """Return the rates in the logs and the one at the end; no training. None is an epoch without the metric."""
    model = _driven()
    model.optimizer.learning_rate = rate
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        callback.on_epoch_begin(epoch)
        logs = {"other": 0.0} if value is None else {name: value}
        callback.on_epoch_end(epoch, logs)
        rates.append(logs["learning_rate"])
    callback.on_train_end()
    return [*rates, float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))]
