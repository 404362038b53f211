"""Schedule-Free in Keras: the numbers of the rule, and the average shown to validation, prediction and saving."""

import numpy as np
import pytest

import keras
from surefoot import rules
from surefoot._errors import ArgumentError, ArgumentTypeError, SurefootWarning
from surefoot.keras import SGD, AdamWScheduleFree, EvaluateAverage, SGDScheduleFree
from surefoot.keras import _arguments as arguments
from surefoot.testing._rules import follow

from .driving import path_of, same

RANDOM = np.random.default_rng(5)
STARTS = [RANDOM.normal(size=3), RANDOM.normal(size=(2, 2))]
GRADS = [(RANDOM.normal(size=3), RANDOM.normal(size=(2, 2))) for _ in range(30)]
X, Y = RANDOM.normal(size=(64, 5)).astype("float32"), RANDOM.normal(size=(64, 1)).astype("float32")
both = pytest.mark.parametrize("make", [lambda: SGDScheduleFree(0.05), lambda: AdamWScheduleFree(0.05)])


def model_of(optimizer):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


def fit(model, epochs, *callbacks, start=0, **options):
    options = {"validation_data": (X, Y), **options}
    return model.fit(
        X,
        Y,
        batch_size=16,
        epochs=epochs,
        initial_epoch=start,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **options,
    )


def weights(model):
    return [np.array(w) for w in model.get_weights()]


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


class Seen(keras.callbacks.Callback):
    """The weights at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(weights(self.model))


def by_hand(rule, lr):
    x = [np.concatenate([a.ravel() for a in row]) for row in follow(rule, STARTS, GRADS, [lr] * len(GRADS))]
    return np.array(x[1:])


def test_steps_are_those_of_the_rule():
    rule = rules.ScheduleFree(rule=rules.SGD(), b1=0.8, decay=0.1, warmup_steps=5, r=1.0, weight_lr_power=1.0)
    ours = SGDScheduleFree(0.1, 0.8, weight_decay=0.1, warmup_steps=5, r=1.0, weight_lr_power=1.0)
    same(path_of(ours, STARTS, GRADS), by_hand(rule, 0.1), 1e-5)
    inner = rules.RMSprop(rho=0.9, eps=1e-3, unbiased=True)
    rule = rules.ScheduleFree(rule=inner, b1=0.8, decay=0.1, warmup_steps=5)
    ours = AdamWScheduleFree(0.1, 0.8, 0.9, 1e-3, weight_decay=0.1, warmup_steps=5)
    same(path_of(ours, STARTS, GRADS), by_hand(rule, 0.1), 1e-5)


@both
def test_a_fit_trains_the_same_weights_with_and_without_the_callback(make):
    plain, shown, seen, seen_shown = model_of(make()), model_of(make()), Seen(), Seen()
    alone = fit(plain, 3, seen)
    log = fit(shown, 3, EvaluateAverage(), seen_shown)
    np.testing.assert_allclose(log.history["loss"], alone.history["loss"], rtol=1e-5)
    assert not equal(weights(plain), weights(shown))
    assert shown.optimizer.is_average
    assert equal(seen_shown.weights[-1], weights(shown))
    assert shown.evaluate(X, Y, verbose=0) == pytest.approx(log.history["val_loss"][-1], rel=1e-5)
    shown.optimizer.to_training()
    assert equal(weights(plain), weights(shown))


@both
def test_a_second_fit_goes_on_from_what_trained(make):
    whole, halves = model_of(make()), model_of(make())
    fit(whole, 4, EvaluateAverage())
    fit(halves, 2, EvaluateAverage())
    fit(halves, 4, EvaluateAverage(), start=2)
    assert equal(weights(whole), weights(halves))


@both
@pytest.mark.parametrize("is_average", [True, False])
def test_a_saved_model_of_either_kind_resumes_exactly(make, is_average, tmp_path):
    whole, half = model_of(make()), model_of(make())
    fit(whole, 4, EvaluateAverage())
    fit(half, 2, EvaluateAverage())
    if not is_average:
        half.optimizer.to_training()
    half.save(tmp_path / "half.keras")
    loaded = keras.saving.load_model(tmp_path / "half.keras")
    assert loaded.optimizer.get_config() == half.optimizer.get_config()
    assert loaded.optimizer.is_average == is_average
    fit(loaded, 4, EvaluateAverage(), start=2)
    assert equal(weights(whole), weights(loaded))


def test_predictions_are_those_of_the_average_and_leave_what_trains():
    model = model_of(AdamWScheduleFree(0.05))
    fit(model, 2)
    before = weights(model)
    shown = model.predict(X, verbose=0, callbacks=[EvaluateAverage()])
    assert equal(before, weights(model))
    model.optimizer.to_average()
    np.testing.assert_allclose(model.predict(X, verbose=0), shown, rtol=1e-5, atol=1e-6)


def test_what_is_saved_without_the_average_ever_shown_is_said_once(tmp_path):
    arguments.say_once.cache_clear()
    model = model_of(AdamWScheduleFree(0.05))
    fit(model, 1)
    with pytest.warns(SurefootWarning, match="the weights to train"):
        model.save(tmp_path / "model.keras")
    model.save(tmp_path / "model.keras")


def test_another_optimizer_is_refused_when_training_begins():
    with pytest.raises(ArgumentTypeError, match="which keeps no average"):
        fit(model_of(SGD(0.1)), 1, EvaluateAverage())


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        (SGDScheduleFree, {"momentum": 0.0}, "momentum"),
        (SGDScheduleFree, {"warmup_steps": -1}, "warmup_steps"),
        (AdamWScheduleFree, {"beta_1": 0.0}, "beta_1"),
        (AdamWScheduleFree, {"beta_2": 1.0}, "beta_2"),
        (AdamWScheduleFree, {"weight_decay": -1.0}, "weight_decay"),
        (AdamWScheduleFree, {"use_ema": True}, "use_ema"),
        (AdamWScheduleFree, {"r": -1.0}, "r"),
    ],
)
def test_wrong_arguments_are_refused_by_name(kind, options, name):
    with pytest.raises(ArgumentError, match=rf"{kind.__name__}\({name}"):
        kind(**options)


def test_weights_that_shall_not_decay_cannot_be_named():
    with pytest.raises(ArgumentError, match="kernel_regularizer"):
        AdamWScheduleFree(weight_decay=0.1).exclude_from_weight_decay(var_names=["bias"])
