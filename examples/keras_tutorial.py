"""The well-known Keras tutorial on learning rates, on handwritten digits, as it is written: only the import has changed.

KERAS_BACKEND=jax python examples/keras_tutorial.py     (or torch, or tensorflow; draws keras_tutorial.png)
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import matplotlib.pyplot as plt

import keras
import surefoot as sf
from surefoot.datasets import digits
from surefoot.keras import (
    Adadelta,
    Adagrad,
    Adam,
    LearningRateControl,
    LearningRateScheduler,
    ReduceLROnPlateau,
    RMSprop,
    find,
)

DATA, BATCH, EPOCHS = digits(), 64, 100
HELD_OUT = (DATA.x_val, DATA.y_val)


def custom_LearningRate_schedular(epoch):  # noqa: N802 - as the tutorial spells it; it jumps up at epoch 5, which is said
    if epoch < 5:
        return 0.01
    else:  # noqa: RET505
        return 0.01 * keras.ops.exp(0.1 * (10 - epoch))  # or tf.math.exp: any scalar


def fit(opt, *callbacks):
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((64,)),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
    model = keras.Sequential(layers)
    model.compile(loss="sparse_categorical_crossentropy", optimizer=opt, metrics=["accuracy"])
    rate = None
    if not callbacks:  # then find the rate, and take it with the schedule that it was found for
        plan = sf.linear_warmup("5%") >> sf.cosine_decay()
        found = find(model, DATA.x, DATA.y, validation_data=HELD_OUT, epochs=EPOCHS, batch_size=BATCH, schedule=plan)
        model.optimizer.learning_rate = rate = found.learning_rate
        callbacks = [LearningRateControl(plan)]
    history = model.fit(
        DATA.x, DATA.y, epochs=EPOCHS, batch_size=BATCH, validation_data=HELD_OUT, callbacks=list(callbacks), verbose=0
    ).history
    accuracy = history["val_accuracy"][-1]
    print(
        f"{type(opt).__name__:9s} {f'at {rate:.3g}' if rate else 'as written':10s} validation accuracy {accuracy:.3f}"
    )
    return history


reduce_lr = ReduceLROnPlateau(monitor="val_loss", factor=0.2, patience=3, min_lr=0.001)
runs = {
    "LearningRateScheduler": fit(RMSprop(), LearningRateScheduler(custom_LearningRate_schedular)),
    "ReduceLROnPlateau": fit(Adam(lr=0.01), reduce_lr),
    "Adagrad": fit(Adagrad(lr=0.01, epsilon=1e-08, decay=0.0)),
    "Adadelta": fit(Adadelta(lr=1.0, rho=0.95, epsilon=1e-08, decay=0.0)),
    "RMSprop": fit(RMSprop(lr=0.001, rho=0.9, epsilon=1e-08, decay=0.0)),
    "Adam": fit(Adam(lr=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-08, decay=0.0)),
}
figure, (rates, losses) = plt.subplots(2, 1, sharex=True, figsize=(8, 7), layout="constrained")
for name, history in runs.items():
    rates.semilogy(history["learning_rate"], label=name)
    losses.semilogy(history["val_loss"], label=name)
rates.set_ylabel("learning rate")
losses.set(xlabel="epoch", ylabel="validation loss")
rates.legend()
plt.savefig("keras_tutorial.png", dpi=120)
