"""Small Keras jobs for the tests, one line each in `JOBS`."""

import numpy as np

import keras
from keras import layers
from surefoot import keras as sk

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(48, 6)).astype("float32")
Y = (X[:, :3].sum(1) > X[:, 3:].sum(1)).astype("int32")
X_VAL = RANDOM.normal(size=(21, 6)).astype("float32")
Y_VAL = (X_VAL[:, :3].sum(1) > X_VAL[:, 3:].sum(1)).astype("int32")
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def compiled(*parts, optimizer="sgd", loss=LOSS, **settings):
    model = keras.Sequential([keras.Input((6,)), *parts, layers.Dense(2)])
    model.compile(optimizer=optimizer, loss=loss, **settings)
    return model


def plain(optimizer="sgd", **settings):
    return compiled(layers.Dense(4, activation="tanh"), optimizer=optimizer, **settings)


def noisy(optimizer="adam", **settings):
    """Return a network whose every part has a state or draws random numbers."""
    return compiled(layers.BatchNormalization(), layers.Dropout(0.3), optimizer=optimizer, **settings)


class Augmented(keras.utils.PyDataset):
    """Draws from the global generators."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        here = slice(8 * index, 8 * index + 8)
        return X[here] + 0.1 * np.random.rand(8, 6), Y[here]  # noqa: NPY002


class Drawing(layers.Layer):
    """Draws from Keras' global generator, where that is allowed, or from its own."""

    def __init__(self):
        super().__init__()
        self.mine = keras.random.SeedGenerator()

    def call(self, x, training=False):
        if not training:
            return x
        seed = self.mine if keras.backend.backend() == "jax" else None
        return x + 0.1 * keras.random.normal(keras.ops.shape(x), seed=seed)


class OwnStep(keras.Sequential):
    """A model with a training step of its own, which tells no loss."""

    def train_step(self, *args):
        logs = super().train_step(*args)
        if keras.backend.backend() == "jax":
            return {"other": logs[0]["loss"]}, logs[1]
        return {"other": logs["loss"]}


def own_step():
    model = OwnStep([keras.Input((6,)), layers.Dense(2)])
    model.compile(optimizer="sgd", loss=LOSS)
    return model


def two_inputs():
    one, two = keras.Input((3,), name="one"), keras.Input((3,), name="two")
    out = layers.Dense(2)(layers.Concatenate()([one, two]))
    model = keras.Model({"one": one, "two": two}, out)
    model.compile(optimizer="sgd", loss=LOSS)
    return model


def split(x):
    return {"one": x[:, :3], "two": x[:, 3:]}


def job(model=plain, x=X, y=Y, **changes):
    settings = {"validation_data": (X_VAL, Y_VAL), "batch_size": 8}
    if "epochs" not in changes:
        settings["total_steps"] = 40
    return sk.KerasJob(model, x, y, **{**settings, **changes})


def tensorflow_data():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(48, seed=0, reshuffle_each_iteration=False).batch(8)


def averaging(*parts):
    """Return a network with moving averages of its weights, accumulated gradients and a metric."""
    settings = {"use_ema": True, "ema_momentum": 0.5, "gradient_accumulation_steps": 2}
    return compiled(*parts, optimizer=keras.optimizers.SGD(0.1, **settings), metrics=["accuracy"])


SLOW_JOBS = {
    "uneven": lambda: {"x": X[:44], "y": Y[:44], "sample_weight": np.linspace(0, 1, 44)},
    "averaging": lambda: {"model": lambda: averaging(layers.Dropout(0.3))},
    "noisy": lambda: {"model": noisy},
    "noisy dataset": lambda: {"x": Augmented(workers=1), "y": None, "validation_data": Augmented(workers=1)},
    "two inputs": lambda: {"model": two_inputs, "x": split(X), "validation_data": (split(X_VAL), Y_VAL)},
    "own step": lambda: {"model": own_step},
}
if keras.backend.backend() == "tensorflow":
    SLOW_JOBS["tensorflow data"] = lambda: {"x": tensorflow_data(), "y": None}
JOBS = {
    "built": lambda: {"model": lambda: compiled(Drawing(), optimizer=sk.DoG()), "x": Augmented(workers=1), "y": None},
    "given": lambda: {"model": GIVEN, "metric": "accuracy", "validation_data": None, "validation_split": 0.25},
}

keras.utils.set_random_seed(11)
GIVEN = noisy("sgd", metrics=["accuracy"])
