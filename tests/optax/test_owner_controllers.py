"""`OptaxLearningRate` with Greedy, TrendPlateau, and members of a Chain."""

import json
import math

import jax.numpy as jnp
import pytest

import surefoot.optax as ours
from surefoot import ArgumentError
from surefoot.control import Chain, DivergenceGuard, Greedy, Plateau, TrendPlateau
from surefoot.optax import OptaxLearningRate
from surefoot.schedules import constant, linear_decay

LOSSES = [1.0, 0.8, 0.7, 0.6, 9.0, 0.6, 0.61, math.nan, 0.6, 0.61, 0.6, 0.62]


def chain():
    guard = DivergenceGuard(action="skip", warmup=3, spike=6.0, attempts=9)
    return Chain(guard, Greedy(patience=2, factor=0.5, window=2), TrendPlateau(window=3, patience=1))


def run(lr, state, losses):
    found = []
    for loss in losses:
        state = lr.step(state, loss=jnp.asarray(loss))
        found.append(float(state.learning_rate))
    return state, found


def test_save_and_resume_at_every_step_gives_the_same_rates():
    optimizer = ours.sgd(1.0)
    initial = optimizer.init(jnp.ones(2))
    whole = OptaxLearningRate(0.5, linear_decay(), 20, controllers=[chain()])
    expected = run(whole, whole.write(initial), LOSSES)[1]
    assert {c.controller for c in whole.changes} >= {"DivergenceGuard", "Greedy, TrendPlateau"}
    for killed_at in range(len(LOSSES) + 1):
        first, second = (OptaxLearningRate(0.5, linear_decay(), 20, controllers=[chain()]) for _ in range(2))
        state, done = run(first, first.write(initial), LOSSES[:killed_at])
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert done + run(second, second.write(state), LOSSES[killed_at:])[1] == expected


def test_a_member_stops_the_run_and_one_given_twice_is_refused():
    lr = OptaxLearningRate(0.5, constant(), controllers=[Chain(Plateau(), DivergenceGuard(action="stop"))])
    lr.step(lr.write(ours.sgd(1.0).init(jnp.ones(2))), loss=math.nan)
    assert lr.should_stop
    plateau = Plateau()
    with pytest.raises(ArgumentError, match="without repetitions"):
        OptaxLearningRate(0.5, constant(), controllers=[Chain(plateau), plateau])
