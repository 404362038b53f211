"""LearningRateControl in real fits."""

import json

import numpy as np
import pytest

import keras
from surefoot import LearningRate, SurefootWarning
from surefoot import keras as ours
from surefoot._errors import ArgumentError, ArgumentTypeError
from surefoot.control import Controller, Decision, DivergenceGuard, Manual, Plateau
from surefoot.keras import LearningRateControl
from surefoot.schedules import constant, cosine_decay, linear_decay, linear_warmup

from .fits import Weights, fit, mean_output, model_of

BACKEND = keras.backend.backend()


SCHEDULE = linear_warmup("25%", start=0.25) >> cosine_decay(to=0.1)


def rates_of(total, schedule=SCHEDULE, base=0.1):
    return np.array(LearningRate(base, schedule, total).simulate(total))


def setups():
    wrapped = keras.optimizers.LossScaleOptimizer
    yield "ours", lambda: ours.SGD(0.1), 1, {}
    yield "theirs", lambda: keras.optimizers.SGD(0.1), 1, {}
    yield "ours, accumulated", lambda: ours.SGD(0.1, gradient_accumulation_steps=2), 2, {}
    yield "theirs, accumulated", lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), 2, {}
    yield "ours, scaled", lambda: wrapped(ours.SGD(0.1), initial_scale=2.0), 1, {}
    yield "theirs, scaled", lambda: wrapped(keras.optimizers.SGD(0.1), initial_scale=2.0), 1, {}
    if BACKEND != "torch":
        yield "ours, two per execution", lambda: ours.SGD(0.1), 1, {"steps_per_execution": 2}


@pytest.mark.parametrize(("make", "every", "compiled"), [s[1:] for s in setups()], ids=[s[0] for s in setups()])
def test_each_update_has_the_rate_of_the_schedule(make, every, compiled):
    control = LearningRateControl(SCHEDULE)
    history, weights = fit(model_of(make(), **compiled), control, batches=4)
    rates = rates_of(12 // every)
    np.testing.assert_allclose(weights.steps, rates.reshape(3, -1).sum(1), rtol=1e-5)
    np.testing.assert_allclose(history["learning_rate"], rates.reshape(3, -1)[:, -1], rtol=1e-6)
    steps, recorded = zip(*control.history, strict=True)
    assert steps == tuple(range(12 // every))
    np.testing.assert_allclose(recorded, rates, rtol=1e-6)


def test_a_schedule_per_epoch_holds_for_all_updates_of_an_epoch():
    control = LearningRateControl(linear_warmup("1 epoch") >> linear_decay(), per="epoch")
    history, weights = fit(model_of(keras.optimizers.SGD(0.1)), control, epochs=4)
    rates = rates_of(4, linear_warmup(1) >> linear_decay(3))
    np.testing.assert_allclose(weights.steps, 4 * rates, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(history["learning_rate"], rates, rtol=1e-6)
    np.testing.assert_allclose(control.history, list(enumerate(rates)), rtol=1e-7)


@pytest.mark.parametrize("make", [lambda: ours.SGD(0.1), lambda: keras.optimizers.SGD(0.1)], ids=["ours", "theirs"])
def test_a_fit_with_an_initial_epoch_goes_on_and_one_from_zero_begins_anew(make):
    model, control = model_of(make()), LearningRateControl(linear_decay(12), [Plateau("loss", patience=1, factor=0.5)])
    weights = Weights(lambda epoch, logs: {"loss": 1.0})
    history, _ = fit(model, control, epochs=2, weights=weights)
    more, _ = fit(model, control, epochs=3, initial_epoch=2, weights=weights)
    rates = rates_of(12, linear_decay(12))
    rates[8:] *= 0.5  # the second loss is no gain
    np.testing.assert_allclose(history["learning_rate"] + more["learning_rate"], rates[3::4], rtol=1e-6)
    assert [c.step for c in control.changes] == [8, 12]
    again, _ = fit(model, control, epochs=3, weights=weights)
    np.testing.assert_allclose(again["learning_rate"], rates[3::4], rtol=1e-6)
    assert [c.step for c in control.changes] == [8, 12]


def test_a_new_run_in_a_new_process_takes_its_place_from_the_epoch():
    control = LearningRateControl(linear_decay())
    history, _ = fit(model_of(ours.SGD(0.1)), control, epochs=3, initial_epoch=1)
    np.testing.assert_allclose(history["learning_rate"], rates_of(12, linear_decay())[7::4], rtol=1e-6)


def test_a_rate_set_by_hand_between_two_fits_is_the_new_base():
    model, control = model_of(ours.SGD(0.1)), LearningRateControl(linear_decay(4))
    fit(model, control, epochs=1)
    model.optimizer.learning_rate = 0.5
    history, _ = fit(model, control, epochs=1)
    assert history["learning_rate"][0] > 0.1


def test_what_somebody_else_writes_becomes_the_base_and_is_said():
    class Writes(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                self.model.optimizer.learning_rate = 0.02

    control = LearningRateControl(constant(), [Manual()])
    with pytest.warns(SurefootWarning, match=r"Something else has set the learning rate to 0.02"):
        history, _ = fit(model_of(ours.SGD(0.1)), control, Writes(), epochs=3)
    np.testing.assert_allclose(history["learning_rate"], [0.1, 0.02, 0.02], rtol=1e-6)


def test_a_rate_written_to_a_scheduled_optimizer_is_the_rate_of_the_next_update():
    model = model_of(ours.SGD(0.1))
    fit(model, LearningRateControl(linear_decay(16)), epochs=2)
    model.optimizer.learning_rate = 0.03
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(0.03)


def test_every_optimizer_of_several_has_its_own_base():
    def make():
        inner = keras.optimizers.OptimizerMap(ours.SGD(0.1, name="first"))
        inner[".*second/.*"] = ours.SGD(0.4, name="second")
        return keras.optimizers.MultiOptimizer(inner)

    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, name="first"), keras.layers.Dense(1, name="second")]
    )
    model.compile(make(), mean_output)
    control = LearningRateControl(linear_decay(8), [Plateau("loss", patience=1, factor=0.5, min_lr=0.15)])
    history, _ = fit(model, control, epochs=2, weights=Weights(lambda epoch, logs: {"loss": 1.0}))
    rates = rates_of(8, linear_decay(8), 1.0)[[3, 7]]
    np.testing.assert_allclose(history["learning_rate_first"], 0.1 * rates, rtol=1e-6)
    np.testing.assert_allclose(history["learning_rate_second"], 0.4 * rates, rtol=1e-6)


@pytest.mark.parametrize("kind", [ours.SGD, keras.optimizers.SGD], ids=["ours", "theirs"])
def test_controllers_multiply_the_schedule_that_an_optimizer_was_built_with(kind, tmp_path):
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 4, 1.0)
    control = LearningRateControl(controllers=[Plateau("loss", patience=1, factor=0.5)])
    model = model_of(kind(schedule))
    weights = Weights(lambda epoch, logs: {"loss": 1.0})
    history, _ = fit(model, control, weights=weights)
    rates = (0.1 / (1 + np.arange(12) / 4)).reshape(3, 4) * [[1], [1], [0.5]]
    np.testing.assert_allclose(weights.steps, rates.sum(1), rtol=1e-5)
    np.testing.assert_allclose(history["learning_rate"], rates[:, -1], rtol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"mean_output": mean_output})
    rate = float(keras.ops.convert_to_numpy(again.optimizer.learning_rate))
    assert rate == pytest.approx(0.25 * 0.1 / (1 + 12 / 4))


def test_decisions_are_printed_with_their_cause(capsys):
    control = LearningRateControl(controllers=[Plateau("loss", patience=1, factor=0.5)], verbose=1)
    fit(model_of(ours.SGD(0.1)), control, epochs=2, weights=Weights(lambda epoch, logs: {"loss": 1.0}))
    expected = (
        "\nEpoch 2: LearningRateControl reducing learning rate to 0.05: loss has not improved on 1 for 1 reading.\n"
    )
    assert capsys.readouterr().out == expected
    assert control.why().splitlines()[0].endswith("base 0.1, schedule 1, Plateau 0.5")


class At(Controller):
    """Asks for an action at one epoch, with the rate halved."""

    restore_best = True

    def __init__(self, step, action):
        self.step, self.action, self.best = step, action, None

    def observe(self, reading):
        if self.best is None:
            self.best = reading.metrics["loss"]
        if reading.step != self.step:
            return None
        self.factor *= 0.5
        return Decision("asked", self.action)


@pytest.mark.parametrize(("action", "goes_back_to"), [("restore_best", 1), ("rewind", 2)])
def test_weights_go_back_and_the_rate_is_the_owners(action, goes_back_to):
    model, weights = model_of(ours.SGD(0.1)), Weights()
    control = LearningRateControl(controllers=[At(3, action)], per="epoch")
    history, _ = fit(model, control, epochs=4, weights=weights)
    back = weights.values[goes_back_to]
    assert weights.values[4] == pytest.approx(back - 4 * 0.05, rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(history["learning_rate"], [0.1, 0.1, 0.1, 0.05], rtol=1e-6)


def test_a_rewind_while_the_schedule_is_at_zero_does_not_bring_the_old_rate_back():
    model, weights = model_of(ours.SGD(0.1)), Weights()
    schedule = constant(length=2) >> 0.0 * constant()
    control = LearningRateControl(schedule, controllers=[At(3, "rewind")], per="epoch")
    history, _ = fit(model, control, epochs=4, weights=weights)
    assert weights.values[4] == weights.values[2]  # the fourth epoch, too, has had a rate of 0
    np.testing.assert_allclose(history["learning_rate"], [0.1, 0.1, 0.0, 0.0], rtol=1e-6)


def test_a_rewind_in_the_first_epoch_goes_to_the_start_and_slots_go_back_too():
    model = model_of(ours.SGD(0.1, momentum=0.9))
    control = LearningRateControl(controllers=[DivergenceGuard(action="rewind", factor=0.5)], per="epoch")
    fit(model, control, epochs=1, weights=Weights(lambda epoch, logs: {"loss": float("nan")}))
    assert model.get_weights()[0][0, 0] == 1.0
    assert not np.any(keras.ops.convert_to_numpy(model.optimizer.momentums[0]))
    assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 4  # time goes on


def test_a_guard_stops_the_fit():
    control = LearningRateControl(controllers=[DivergenceGuard(action="stop")])
    history, _ = fit(model_of(ours.SGD(0.1)), control, weights=Weights(lambda epoch, logs: {"loss": float("inf")}))
    assert len(history["loss"]) == 1
    assert "stop" in str(control.changes[0])


def test_controllers_may_read_each_step():
    class HalveAt(Controller):
        def observe(self, reading):
            assert "loss" in reading.metrics
            if reading.step not in {3, 6}:
                return None
            self.factor *= 0.5
            return Decision("reached")

    control = LearningRateControl(controllers=[HalveAt()], reads="step")
    history, weights = fit(model_of(ours.SGD(0.1)), control, epochs=2)
    rates = [0.1] * 3 + [0.05] * 3 + [0.025] * 2
    np.testing.assert_allclose(weights.steps, [sum(rates[:4]), sum(rates[4:])], rtol=1e-5)
    np.testing.assert_allclose([rate for _, rate in control.history], rates, rtol=1e-6)
    np.testing.assert_allclose(history["learning_rate"], [0.05, 0.025], rtol=1e-6)


def test_unknown_lengths_are_refused_at_the_start():
    x = np.ones((1, 1), "float32")

    def batches():
        while True:
            yield x, x

    model, kwargs = model_of(ours.SGD(0.1)), {"epochs": 1, "verbose": 0, "shuffle": False}
    with pytest.raises(ArgumentError, match=r"how many steps this fit takes is not known.*total_steps"):
        model.fit(batches(), callbacks=[LearningRateControl(linear_decay())], **kwargs)
    control = LearningRateControl(linear_decay(), total_steps=8)
    log = model.fit(batches(), steps_per_epoch=4, callbacks=[control], **kwargs)
    np.testing.assert_allclose(log.history["learning_rate"], [0.1 * 5 / 8], rtol=1e-6)


def test_a_callback_that_goes_to_another_model_begins_anew():
    plateau = Plateau("loss", patience=2, factor=0.5)
    control = LearningRateControl(controllers=[plateau], per="epoch")
    for _ in range(2):
        fit(model_of(ours.SGD(0.1)), control, weights=Weights(lambda epoch, logs: {"loss": 1.0}))
        assert plateau.reductions == 1


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: LearningRateControl(0.1), ArgumentTypeError, "schedule=0.1"),
        (lambda: LearningRateControl(per="batch"), ArgumentError, "per='batch'"),
        (lambda: LearningRateControl(reads="batch"), ArgumentError, "reads='batch'"),
        (lambda: LearningRateControl(per="epoch", reads="step"), ArgumentError, "per='step' too"),
        (lambda: LearningRateControl(controllers=[Plateau]), ArgumentTypeError, "controllers"),
        (lambda: LearningRateControl(total_steps=0), ArgumentError, "total_steps=0"),
        (lambda: LearningRateControl(total_steps=9, per="epoch"), ArgumentError, "total_steps=9"),
        (lambda: LearningRateControl(verbose="yes"), ArgumentTypeError, "verbose='yes'"),
        (lambda: LearningRateControl(controllers=[DivergenceGuard(action="skip")]), ArgumentError, "rewind"),
    ],
)
def test_wrong_arguments_are_refused_at_construction(make, error, text):
    with pytest.raises(error) as info:
        make()
    assert text in str(info.value)


def test_two_schedules_in_one_fit_are_refused():
    with pytest.raises(ArgumentError, match="two schedules"):
        fit(model_of(ours.SGD(0.1)), LearningRateControl(linear_decay()), ours.LearningRateScheduler(lambda epoch: 0.1))


def test_a_schedule_for_an_optimizer_that_has_one_is_refused():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    with pytest.raises(ArgumentTypeError, match="was created with a `LearningRateSchedule`"):
        fit(model_of(ours.SGD(schedule)), LearningRateControl(linear_decay()))


def test_a_monitor_that_does_not_appear_is_said_once():
    with pytest.warns(SurefootWarning, match=r"'val_loss' is not in the logs of epoch 1.*validation_data") as said:
        fit(model_of(ours.SGD(0.1)), LearningRateControl(controllers=[Plateau("val_loss")]))
    assert sum(w.category is SurefootWarning for w in said) == 1


def test_no_callback_has_a_say_before_the_first_epoch():
    control = LearningRateControl()
    assert control.changes == control.history == []
    assert control.why() == "No epoch has been trained yet."
    with pytest.raises(ArgumentError, match="has no model yet"):
        control.on_epoch_begin(0)


@pytest.mark.parametrize("kind", [ours.Adam, keras.optimizers.Adam], ids=["ours", "theirs"])
def test_a_saved_model_goes_on_where_it_was(kind, tmp_path):
    def control():
        return LearningRateControl(linear_decay(20), [Plateau("loss", patience=3, factor=0.5)])

    says = Weights(lambda epoch, logs: {"loss": 1.0})
    model, straight = model_of(kind(0.1)), model_of(kind(0.1))
    expected, _ = fit(straight, control(), epochs=4, weights=says)
    fit(model, control(), epochs=2, weights=says)
    resumed = control()
    if kind is ours.Adam:
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"mean_output": mean_output})
    else:  # load_model makes the model before there is a callback
        model.save_weights(tmp_path / "model.weights.h5")
        again = model_of(kind(0.1))
        again.optimizer.build(again.trainable_variables)
        resumed.set_model(again)
        again.load_weights(tmp_path / "model.weights.h5")
    history, _ = fit(again, resumed, epochs=4, initial_epoch=2, weights=says)
    assert history["learning_rate"] == expected["learning_rate"][2:]
    assert resumed.controllers[0].reductions == 1
    np.testing.assert_array_equal(again.get_weights()[0], straight.get_weights()[0])


def test_files_go_from_keras_class_to_ours_and_back(tmp_path):
    for one, other in ((ours.Adam, keras.optimizers.Adam), (keras.optimizers.Adam, ours.Adam)):
        path = tmp_path / f"{one.__module__}.weights.h5"
        model = model_of(one(0.1))
        fit(model, epochs=1)
        model.save_weights(path)
        again = model_of(other(0.1))
        again.optimizer.build(again.trainable_variables)
        again.load_weights(path)  # a warning would be an error here
        assert len(again.optimizer.variables) == len(model.optimizer.variables)
        for a, b in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))


def test_a_state_that_does_not_fit_begins_anew_and_says_so(tmp_path):
    model = model_of(ours.SGD(0.1))
    fit(model, LearningRateControl(linear_decay(16), [Plateau("loss")]), epochs=1)
    model.save_weights(tmp_path / "model.weights.h5")
    model.load_weights(tmp_path / "model.weights.h5")
    with pytest.warns(SurefootWarning, match="begins anew: its saved state does not fit"):
        fit(model, LearningRateControl(linear_decay(16)), epochs=2, initial_epoch=1)


@pytest.mark.parametrize("text", ["{", json.dumps([1]), json.dumps({"version": 99, "trained": 1})])
def test_a_damaged_state_is_an_error(text):
    model = model_of(ours.SGD(0.1))
    model.optimizer.learning_rate_state.loaded = text
    with pytest.raises(ValueError, match="saved state of the learning rate"):
        fit(model, LearningRateControl(linear_decay(16)), epochs=2, initial_epoch=1)
