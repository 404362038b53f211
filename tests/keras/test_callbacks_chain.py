"""LearningRateControl looks inside of a Chain; Greedy and TrendPlateau in real fits."""

import math

import numpy as np
import pytest

import keras
from surefoot import ArgumentError, SurefootWarning
from surefoot import keras as ours
from surefoot.control import Chain, DivergenceGuard, Greedy, Manual, Plateau, TrendPlateau
from surefoot.keras import LearningRateControl
from surefoot.schedules import constant

from .fits import Weights, driven, fit, mean_output, model_of


def saying(*losses):
    return Weights(lambda epoch, logs: {"loss": losses[epoch]})


def test_a_guard_within_a_chain_goes_back_and_the_plateau_behind_it_sees_nothing():
    plateau = Plateau("loss", patience=1)
    guard = DivergenceGuard(action="rewind", factor=0.5)
    control = LearningRateControl(controllers=[Chain(guard, Chain(plateau))], per="epoch")
    weights = saying(1.0, math.nan, 0.5)
    history, _ = fit(model_of(ours.SGD(0.1)), control, weights=weights)
    assert weights.values[3] == pytest.approx(weights.values[1] - 4 * 0.05, rel=1e-5)  # epoch 1 was undone
    np.testing.assert_allclose(history["learning_rate"], [0.1, 0.1, 0.05], rtol=1e-6)
    assert [(c.controller, c.action) for c in control.changes] == [("DivergenceGuard", "rewind")]
    assert plateau.factor == 1.0


def test_a_rewind_in_the_first_epoch_goes_to_the_start():
    model = model_of(ours.SGD(0.1, momentum=0.9))
    control = LearningRateControl(controllers=[Chain(DivergenceGuard(action="rewind"), Manual())], per="epoch")
    fit(model, control, epochs=1, weights=saying(math.nan))
    assert model.get_weights()[0][0, 0] == 1.0


def test_a_plateau_within_a_chain_brings_the_best_weights_back():
    plateau = Plateau("loss", patience=2, factor=0.5, restore_best=True)
    control = LearningRateControl(controllers=[Chain(DivergenceGuard(action="warn"), plateau)], per="epoch")
    weights = saying(2.0, 1.0, 3.0, 3.0, 3.0)
    fit(model_of(ours.SGD(0.1)), control, epochs=5, weights=weights)
    assert weights.values[5] == pytest.approx(weights.values[2] - 4 * 0.05, rel=1e-5, abs=1e-6)


def test_a_guard_within_a_chain_that_skips_is_refused():
    with pytest.raises(ArgumentError, match="ones that do not skip updates"):
        LearningRateControl(controllers=[Chain(Plateau(), DivergenceGuard(action="skip"))])


def test_a_metric_that_no_member_finds_is_said_by_the_members_name():
    control = LearningRateControl(controllers=[Chain(Manual(), Plateau("accuracy"))])
    with pytest.warns(SurefootWarning, match=r"Plateau.*accuracy"):
        fit(model_of(ours.SGD(0.1)), control, epochs=1)


def test_a_chain_begins_anew_with_each_fit():
    control = LearningRateControl(controllers=[Chain(Plateau("loss", patience=1, factor=0.5), Greedy("loss"))])
    model = model_of(ours.SGD(0.1))
    for _ in range(2):
        history, _ = fit(model, control, weights=saying(1.0, 1.0, 1.0))
        np.testing.assert_allclose(history["learning_rate"], [0.1, 0.1, 0.05], rtol=1e-6)


def test_the_floor_of_a_member_holds_for_each_of_several_optimizers():
    inner = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.2, name="first"))
    inner[".*second/.*"] = keras.optimizers.SGD(0.4, name="second")
    layers = [keras.layers.Dense(1, name=name) for name in ("first", "second")]
    model = keras.Sequential([keras.Input((1,)), *layers])
    model.compile(keras.optimizers.MultiOptimizer(inner), mean_output)
    trend = TrendPlateau("loss", window=3, patience=1, factor=0.5, min_lr=0.15)
    control = LearningRateControl(constant(), [Chain(trend)])
    history, _ = fit(model, control, epochs=7, weights=saying(*[1.0] * 7))
    np.testing.assert_allclose(history["learning_rate_first"], [0.2] * 6 + [0.15], rtol=1e-6)
    np.testing.assert_allclose(history["learning_rate_second"], [0.4] * 6 + [0.2], rtol=1e-6)


def test_greedy_raises_and_lowers_the_rate_of_a_fit(capsys):
    control = LearningRateControl(controllers=[Greedy("loss", patience=2, factor=0.5, max_lr=0.3)], verbose=1)
    rates = driven(control, [5.0, 4.0, 3.0, 2.0, 2.0, 2.0, 2.0], rate=0.1)
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.15, 0.15], rtol=1e-6)
    assert "raising learning rate to 0.2: loss has improved for 2 readings in a row" in capsys.readouterr().out


def test_a_trend_lowers_the_rate_of_a_fit():
    control = LearningRateControl(controllers=[TrendPlateau("loss", window=3, patience=1, factor=0.5)])
    rates = driven(control, [3.0, 2.5, 2.0, 1.0, 1.1, 0.9, 1.1, 0.9, 1.0, 1.0], rate=0.1)
    np.testing.assert_allclose(rates, [0.1] * 9 + [0.05, 0.05], rtol=1e-6)


def test_the_state_of_a_chain_is_in_the_files_of_the_model(tmp_path):
    losses = [5.0, 4.0, 3.0, math.nan, 3.0, 3.1, 3.0, 3.2, 3.0, 3.0]

    def start():
        greedy = Greedy("loss", patience=2, factor=0.5, window=2)
        trend = TrendPlateau("loss", window=3, patience=1, factor=0.5)
        chain = Chain(DivergenceGuard(action="cut"), Chain(greedy), trend)
        return model_of(ours.SGD(0.1)), LearningRateControl(controllers=[chain])

    model, whole = start()
    expected = fit(model, whole, epochs=10, weights=saying(*losses))[0]["learning_rate"]
    decided = {name for change in whole.changes for name in change.controller.split(", ")}
    assert decided == {"DivergenceGuard", "Greedy", "TrendPlateau"}
    for epoch in range(1, 10):
        model, control = start()
        done = fit(model, control, epochs=epoch, weights=saying(*losses))[0]["learning_rate"]
        model.save_weights(tmp_path / "model.weights.h5")
        model, control = start()
        model.load_weights(tmp_path / "model.weights.h5")
        more = fit(model, control, epochs=10, initial_epoch=epoch, weights=saying(*losses))[0]["learning_rate"]
        assert done + more == expected
        assert repr(control.changes) == repr(whole.changes)
