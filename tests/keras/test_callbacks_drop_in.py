"""LearningRateScheduler and ReduceLROnPlateau: as Keras' own, but for its faults."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras
from surefoot import SurefootWarning
from surefoot import keras as ours
from surefoot._errors import ArgumentError, ArgumentTypeError
from surefoot.keras import callbacks
from surefoot.keras._scheduler import caller
from surefoot.schedules import linear_decay

from .fits import Weights, driven, fit, mean_output, model_of

LearningRateScheduler, ReduceLROnPlateau = ours.LearningRateScheduler, ours.ReduceLROnPlateau


BACKEND = keras.backend.backend()

# A first value that is not finite is Keras' best for ever; otherwise NaN and infinity may come.
VALUES = st.tuples(
    st.floats(-2, 2, width=16),
    st.lists(st.floats(-2, 2, width=16) | st.sampled_from([math.nan, math.inf]), max_size=15),
).map(lambda v: [v[0], *v[1]])


@settings(max_examples=60, deadline=None)
@given(
    values=VALUES,
    patience=st.integers(0, 3),
    cooldown=st.integers(0, 3),
    mode=st.sampled_from(["min", "max", "auto"]),
    min_delta=st.sampled_from([0.0, 1e-4, 0.25]),
    min_lr=st.sampled_from([0.0, 1e-3, 0.3]),
    factor=st.sampled_from([0.1, 0.5]),
)
def test_plateau_counts_as_keras(values, **settings):
    if settings["mode"] == "max":
        values = [-v if math.isinf(v) else v for v in values]
    theirs, mine = keras.callbacks.ReduceLROnPlateau("loss", **settings), ReduceLROnPlateau("loss", **settings)
    np.testing.assert_allclose(driven(mine, values), driven(theirs, values), rtol=2e-7)
    assert (mine.best, mine.wait) == (theirs.best, theirs.wait)


@pytest.mark.skipif(BACKEND != "torch", reason="torch is slow to import")
@pytest.mark.parametrize("cooldown", [0, 1, 2])
@pytest.mark.parametrize("patience", [0, 1, 2])
def test_plateau_counts_as_torch_in_its_style(patience, cooldown):
    torch = pytest.importorskip("torch")
    values = [1.0, 1.0, 1.0 - 5e-5, 1.0, 1.0, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]  # 5e-5 of 1 is no gain
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience, cooldown=cooldown)
    rates = []
    for value in values:
        rates.append(optimizer.param_groups[0]["lr"])
        theirs.step(value)
    mine = ReduceLROnPlateau("loss", factor=0.5, patience=patience, cooldown=cooldown, style="torch")
    np.testing.assert_allclose(driven(mine, values)[:-1], rates, rtol=1e-6)


def test_a_relative_margin_serves_a_loss_of_any_scale():
    values = [1e-5, 0.9e-5, 0.8e-5, 0.7e-5]
    assert driven(ReduceLROnPlateau("loss", patience=1, factor=0.5, relative=True), values)[-1] == 1.0
    assert driven(ReduceLROnPlateau("loss", patience=1, factor=0.5), values)[-1] == 0.125


def test_a_nan_never_becomes_the_best():
    plateau = ReduceLROnPlateau("loss", patience=2, factor=0.5)
    assert driven(plateau, [math.nan, 1.0, 0.9, 0.8, 0.7])[-1] == 1.0
    assert plateau.best == 0.7


def test_the_old_name_of_min_delta_is_taken_and_said():
    with pytest.warns(SurefootWarning, match=r"Write `min_delta=0.5`"):
        assert ReduceLROnPlateau(epsilon=0.5).min_delta == 0.5


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"patince": 2}, ArgumentError, "Did you mean 'patience'?"),
        ({"mode": "maximum"}, ArgumentError, "Did you mean 'max'?"),
        ({"factor": 0.0}, ArgumentError, "factor=0.0"),
        ({"factor": 1.0}, ArgumentError, "factor=1.0"),
        ({"factor": "0.1"}, ArgumentTypeError, "factor='0.1'"),
        ({"patience": -1}, ArgumentError, "patience=-1"),
        ({"patience": 1.5}, ArgumentTypeError, "patience=1.5"),
        ({"cooldown": -1}, ArgumentError, "cooldown=-1"),
        ({"min_delta": math.nan}, ArgumentError, "min_delta=nan"),
        ({"min_lr": -1.0}, ArgumentError, "min_lr=-1.0"),
        ({"monitor": ""}, ArgumentTypeError, "monitor=''"),
        ({"relative": 1}, ArgumentTypeError, "relative=1"),
        ({"restore_best_weights": 1}, ArgumentTypeError, "restore_best_weights=1"),
        ({"stop_after": 0}, ArgumentError, "stop_after=0"),
        ({"style": "tf"}, ArgumentError, "style='tf'"),
        ({"per": "batch"}, ArgumentError, "per='batch'"),
        ({"monitor": "val_loss", "per": "step"}, ArgumentError, "monitor='val_loss'"),
        ({"verbose": -1}, ArgumentError, "verbose=-1"),
    ],
)
def test_wrong_arguments_of_the_plateau_are_refused_at_construction(arguments, error, text):
    with pytest.raises(error) as info:
        ReduceLROnPlateau(**arguments)
    assert text in str(info.value)


def test_a_floor_at_the_rate_is_said_once():
    plateau = ReduceLROnPlateau("loss", min_lr=0.001)
    with pytest.warns(SurefootWarning, match=r"can never act: the learning rate is 0.001 already") as said:
        driven(plateau, [1.0] * 3, rate=0.001)
    assert sum(w.category is SurefootWarning for w in said) == 1


def test_a_metric_without_a_direction_is_an_error_before_the_first_epoch():
    model, weights = model_of(ours.SGD(0.1), metrics=["accuracy"]), Weights()
    with pytest.raises(ArgumentError, match=r"compiled with loss, accuracy. Pass mode='max'.*Did you mean 'accuracy'"):
        fit(model, ReduceLROnPlateau("val_acuracy"), weights=weights)
    assert len(weights.values) == (2 if BACKEND == "tensorflow" else 0)  # where metrics are built by the first batch
    plateau = ReduceLROnPlateau("val_acc", patience=1)
    x = np.ones((2, 1))
    with pytest.warns(SurefootWarning, match="'val_acc' is called 'val_accuracy' today"):
        model.fit(x, x, verbose=0, validation_data=(x, x), callbacks=[plateau])
    assert plateau.best is not None
    assert plateau.controllers[0].mode == "max"


def test_the_text_of_a_reduction_is_keras_text(capsys):
    said = []
    for kind in (keras.callbacks.ReduceLROnPlateau, ReduceLROnPlateau):
        driven(kind("loss", patience=1, factor=0.5, verbose=1), [1.0, 1.0, 1.0])
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != ""


def test_each_fit_counts_anew_and_the_rate_stays_as_in_keras():
    says, found = Weights(lambda epoch, logs: {"loss": 1.0}), []
    for kind in (keras.callbacks.ReduceLROnPlateau, ReduceLROnPlateau):
        model, plateau = model_of(ours.SGD(0.1)), kind("loss", patience=2, factor=0.5)
        found.append([])
        for _ in range(2):
            found[-1] += fit(model, plateau, weights=says, epochs=4, batches=1)[0]["learning_rate"]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
    assert len(set(found[1])) == 3


def test_restored_weights_and_a_stop_after_fruitless_reductions():
    plateau = ReduceLROnPlateau("loss", patience=1, factor=0.5, restore_best_weights=True, stop_after=1)
    weights = Weights(lambda epoch, logs: {"loss": [1.0, 0.5, 1.0, 1.0, 1.0][epoch]})
    history, _ = fit(model_of(ours.SGD(0.1)), plateau, weights=weights, epochs=5, batches=1)
    assert len(history["loss"]) == 4
    assert weights.values[4] == pytest.approx(weights.values[2] - 0.05)


# The scheduler


def tutorial(exp):
    return lambda epoch: 0.01 if epoch < 2 else 0.01 * exp(0.1 * (10 - 5 * epoch))


def jax_exp(x):
    return pytest.importorskip("jax").numpy.exp(x)


def torch_exp(x):
    torch = pytest.importorskip("torch")
    return torch.exp(torch.tensor(x, requires_grad=True))


def tensorflow_exp(x):
    return pytest.importorskip("tensorflow").math.exp(x)


EXPONENTIALS = [math.exp, np.exp, keras.ops.exp, lambda x: np.array(math.exp(x)), jax_exp, torch_exp, tensorflow_exp]
OTHERS = {jax_exp: "jax", torch_exp: "torch", tensorflow_exp: "tensorflow"}  # slow to import


@pytest.mark.parametrize(
    "exp",
    [pytest.param(e, marks=[pytest.mark.slow] * (OTHERS.get(e, BACKEND) != BACKEND)) for e in EXPONENTIALS],
)
def test_the_functions_of_tutorials_run_with_the_numbers_of_any_framework(exp):
    expected = [0.01, 0.01, 0.01, 0.01 * math.exp(-0.5), 0.01 * math.exp(-1.0)]
    rates = driven(LearningRateScheduler(tutorial(exp)), [1.0] * 5)[:-1]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda epoch: 1.0 / (1 + epoch),
        lambda epoch, lr: lr / 2,
        lambda epoch, lr: 1 / (2 + epoch),
        lambda e, rate: rate * 0.5**e,
        lambda *args: args[1] * 0.5 ** args[0],
        keras.optimizers.schedules.ExponentialDecay(0.5, 2, 0.5),
    ],
)
def test_rates_and_texts_are_those_of_keras(function, capsys):
    found = []
    for kind in (keras.callbacks.LearningRateScheduler, LearningRateScheduler):
        plain = function if kind is LearningRateScheduler else lambda *a: float(_keras(function, *a))
        rates = driven(kind(plain, verbose=1), [1.0] * 4)
        found.append((rates, capsys.readouterr().out))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-6)
    assert [line.split(" to ")[0] for line in found[1][1].splitlines()] == [
        line.split(" to ")[0] for line in found[0][1].splitlines()
    ]


def _keras(function, *args):
    return function(*args[: 1 if isinstance(function, keras.optimizers.schedules.LearningRateSchedule) else 2])


def drop(epoch, drop=0.5):
    return ("epoch", epoch, drop)


def named(epoch, *, learning_rate):
    return ("both", epoch, learning_rate)


def given(epoch, lr=0.1):
    return ("both", epoch, lr)


def turned(lr, epoch):
    return ("both", epoch, lr)


def only(lr):
    return ("rate", None, lr)


def steps(step, /, current_lr):
    return ("both", step, current_lr)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (drop, ("epoch", 3, 0.5)),
        (named, ("both", 3, 0.25)),
        (given, ("both", 3, 0.25)),
        (turned, ("both", 3, 0.25)),
        (only, ("rate", None, 0.25)),
        (steps, ("both", 3, 0.25)),
        (lambda *args: args, (3, 0.25)),
        (lambda epoch, drop=0.5, every=10: (epoch, drop, every), (3, 0.5, 10)),
    ],
)
def test_a_function_is_given_what_its_signature_asks_for(function, expected):
    assert caller("f", function)(3, 0.25) == expected


def test_a_type_error_inside_the_function_stays_what_it_is():
    with pytest.raises(TypeError, match="unsupported operand"):
        driven(LearningRateScheduler(lambda epoch, lr: epoch + "1"), [1.0])


@pytest.mark.parametrize("schedule", [0.1, None, "cosine", lambda a, b, c: 0.1, lambda: 0.1])
def test_what_is_no_schedule_is_refused_at_construction(schedule):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=r"LearningRateScheduler\(schedule="):
        LearningRateScheduler(schedule)


@pytest.mark.parametrize("value", [None, "0.1", math.nan, -0.1, math.inf, np.ones(2), True])
def test_a_result_that_is_no_rate_is_an_error_with_epoch_and_value(value):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=r"for epoch 1 the schedule returned"):
        driven(LearningRateScheduler(lambda epoch: value if epoch else 0.1), [1.0] * 2)


def test_a_jump_is_said_with_both_values_once():
    scheduler = LearningRateScheduler(lambda epoch: 0.01 if epoch < 5 else 0.01 * math.exp(0.1 * (10 - epoch)))
    with pytest.warns(
        SurefootWarning, match=r"at epoch 5 the schedule jumps up, from 0.01 to 0.0164872 \(1.65x\)"
    ) as said:
        driven(scheduler, [1.0] * 12)
    assert sum(w.category is SurefootWarning for w in said) == 1


@pytest.mark.parametrize(
    "function",
    [
        lambda epoch: 0.1 * min(1.0, (epoch + 1) / 5),  # a warm-up
        lambda epoch: 0.01 if epoch < 3 else 0.1,  # a constant one
        lambda epoch: 0.1 * 0.5 ** (epoch % 5),  # restarts
        lambda epoch: 0.1 * (1 + epoch % 4),  # triangles
        lambda epoch: 0.1 * 1.2**epoch,
    ],
)
def test_a_warm_up_and_a_restart_are_no_jumps(function):
    driven(LearningRateScheduler(function), [1.0] * 12)  # a warning is an error


def test_functions_of_the_step_and_of_the_share_of_the_run():
    for per, function in (("step", lambda step: 0.1 * (step + 1)), ("run", lambda share: 0.1 * (1 + 12 * share))):
        history, weights = fit(model_of(ours.SGD(0.5)), LearningRateScheduler(function, per=per))
        rates = 0.1 * np.arange(1, 13).reshape(3, 4)
        np.testing.assert_allclose(weights.steps, rates.sum(1), rtol=1e-5)
        np.testing.assert_allclose(history["learning_rate"], rates[:, -1], rtol=1e-6)


@pytest.mark.parametrize("per", ["epoch", "step"])
def test_a_schedule_of_ours_is_factors_of_the_base(per):
    history, _ = fit(model_of(ours.SGD(0.1)), LearningRateScheduler(linear_decay(), per=per))
    times = np.arange(3) / 3 if per == "epoch" else np.arange(3, 12, 4) / 12
    np.testing.assert_allclose(history["learning_rate"], 0.1 * (1 - times), rtol=1e-6)


def test_the_share_of_a_run_of_unknown_length_is_refused():
    x = np.ones((1, 1), "float32")
    with pytest.raises(ArgumentError, match="how many steps this fit takes is not known"):
        model_of(ours.SGD(0.1)).fit(
            ((x, x) for _ in range(3)),
            verbose=0,
            shuffle=False,
            callbacks=[LearningRateScheduler(lambda s: s, per="run")],
        )


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "function",
    [lambda epoch: 0.1 * 0.9**epoch, lambda epoch, lr: lr * 0.9 if epoch else lr, lambda epoch, lr: 0.1 * 0.9**epoch],
)
def test_a_schedule_and_a_plateau_multiply(function, order):
    both = [LearningRateScheduler(function), ReduceLROnPlateau("loss", patience=2, factor=0.5)]
    weights = Weights(lambda epoch, logs: {"loss": 1.0})
    history, _ = fit(model_of(ours.SGD(0.1)), *both[::order], weights=weights, epochs=6, batches=1)
    rates = 0.1 * 0.9 ** np.arange(6) * [1, 1, 1, 0.5, 0.5, 0.25]
    np.testing.assert_allclose(history["learning_rate"], rates, rtol=1e-6)
    np.testing.assert_allclose(weights.steps, rates, rtol=1e-5)


@pytest.mark.parametrize("first", [keras.callbacks, callbacks], ids=["keras", "ours"])
def test_several_optimizers_are_logged_and_reduced_as_in_keras(first, capsys):
    multi = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(ours.SGD(0.1, name="one")))
    multi._optimizer_map[".*second/.*"] = ours.SGD(0.004, name="two")
    multi = keras.optimizers.MultiOptimizer(multi._optimizer_map)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1), keras.layers.Dense(1, name="second")])
    model.compile(multi, mean_output)
    plateau = first.ReduceLROnPlateau("loss", patience=1, factor=0.1, min_lr=0.003, verbose=1)
    scheduler = first.LearningRateScheduler(lambda epoch, lr: lr, verbose=1)
    weights = Weights(lambda epoch, logs: {"loss": 1.0})
    history, _ = fit(model, scheduler, plateau, weights=weights, epochs=4, batches=1)
    np.testing.assert_allclose(history["learning_rate_one"], [0.1, 0.1, 0.01, 0.003], rtol=1e-6)
    np.testing.assert_allclose(history["learning_rate_two"], [0.004, 0.004, 0.003, 0.003], rtol=1e-6)
    out = capsys.readouterr().out
    assert "Epoch 1: LearningRateScheduler setting two learning rate to" in out
    assert "Epoch 2: ReduceLROnPlateau reducing one learning rate to" in out


def test_the_module_falls_back_to_keras():
    assert callbacks.EarlyStopping is keras.callbacks.EarlyStopping
    assert callbacks.ReduceLROnPlateau is ReduceLROnPlateau
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = callbacks.Nothing


@pytest.mark.parametrize("kinds", [keras.callbacks, callbacks], ids=["keras", "ours"])
def test_a_loop_of_ones_own_need_not_begin_the_training(kinds):
    model = model_of(ours.SGD(0.1))
    scheduler = kinds.LearningRateScheduler(lambda epoch, lr: lr * 0.5)
    scheduler.set_model(model)
    for epoch in range(2):
        scheduler.on_epoch_begin(epoch)
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(0.025)
    plateau = kinds.ReduceLROnPlateau("loss", patience=1, factor=0.5)
    plateau.set_model(model_of(ours.SGD(0.1)))
    for epoch in range(3):
        plateau.on_epoch_end(epoch, {"loss": 1.0})
    assert float(keras.ops.convert_to_numpy(plateau.model.optimizer.learning_rate)) == pytest.approx(0.025)


class Batches(keras.callbacks.Callback):
    """What a callback behind ours sees of each batch, such as TensorBoard with update_freq="batch"."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(logs["learning_rate"])


def test_a_plateau_may_count_batches():
    """The output falls, so its running mean does; taken for a metric that should rise, each batch is one without gain."""
    plateau, seen = ReduceLROnPlateau("loss", 0.5, patience=3, mode="max", per="step"), Batches()
    history, weights = fit(model_of(ours.SGD(0.01)), plateau, seen, epochs=2)
    rates = [0.01] * 4 + [0.005] * 3 + [0.0025]  # the first batch is the best
    np.testing.assert_allclose(seen.rates, rates, rtol=1e-6)
    np.testing.assert_allclose(weights.steps, [sum(rates[:4]), sum(rates[4:])], rtol=1e-4)
    np.testing.assert_allclose(history["learning_rate"], [0.01, 0.0025], rtol=1e-6)
    assert plateau.changes[0].metrics["loss"] < 1.0
