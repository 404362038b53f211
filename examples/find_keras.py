"""Find the learning rate of a compiled Keras model, on the 1,797 handwritten digits that come with surefoot, and train.

KERAS_BACKEND=jax python examples/find_keras.py     (or torch, or tensorflow)
surefoot find examples/find_keras.py:make_job
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import surefoot as sf
from surefoot import datasets
from surefoot.keras import KerasJob, find

EPOCHS, BATCH_SIZE = 25, 50
SCHEDULE = sf.linear_warmup("5%") >> sf.cosine_decay()
DATA = datasets.digits()


def make_model() -> keras.Model:
    layers = [keras.Input((64,)), keras.layers.Dense(96, activation="relu"), keras.layers.Dense(10)]
    model = keras.Sequential(layers, name="two_layers")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    return model


def make_job() -> KerasJob:
    held_out = (DATA.x_val, DATA.y_val)
    return KerasJob(make_model, DATA.x, DATA.y, validation_data=held_out, epochs=EPOCHS, batch_size=BATCH_SIZE)


class Follow(keras.callbacks.Callback):
    """Let the rate follow the schedule, step by step."""

    def __init__(self, peak: float, total_steps: int) -> None:
        super().__init__()
        self.peak, self.plan, self.step = peak, SCHEDULE.resolve(total_steps), 0

    def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
        """Set the rate of the next update."""
        del batch, logs
        self.model.optimizer.learning_rate = self.peak * self.plan(self.step)
        self.step += 1


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    model = make_model()
    lengths = {"validation_data": (DATA.x_val, DATA.y_val), "epochs": EPOCHS, "batch_size": BATCH_SIZE}
    found = find(model, DATA.x, DATA.y, schedule=SCHEDULE, **lengths)  # the model is left as it was
    print(found)
    follow = Follow(found.learning_rate, found.total_steps)
    history = model.fit(DATA.x, DATA.y, verbose=0, callbacks=[follow], **lengths)
    print(f"validation accuracy {history.history['val_accuracy'][-1]:.3f}")
