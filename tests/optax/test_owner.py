"""The owner of a rate in an optimizer's state."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax
import surefoot.optax as ours
from surefoot import ArgumentError, ArgumentTypeError, StateError
from surefoot.control import DivergenceGuard, Manual, Plateau
from surefoot.optax import OptaxLearningRate
from surefoot.schedules import constant, cosine_decay, linear_decay, linear_warmup

SCHEDULE = linear_warmup("25%") >> cosine_decay(to=0.1)
PARAMS = {"w": jnp.ones(3), "b": jnp.zeros(2)}
OPTIMIZERS = {
    "ours": ours.adamw(1.0),
    "injected": optax.inject_hyperparams(optax.adamw)(1.0),
    "injected ours": optax.inject_hyperparams(ours.adamw)(1.0),
    "chain": optax.chain(optax.clip_by_global_norm(1.0), ours.sgd(1.0)),
    "accumulated": optax.MultiSteps(optax.inject_hyperparams(optax.sgd)(1.0), 1),
    "guarded": optax.apply_if_finite(optax.inject_hyperparams(optax.sgd)(1.0), 3),
}


def rates_in(state):
    """Return every learning rate in a state, as optax finds them."""
    return [float(value) for _, value in optax.tree.get_all_with_path(state, "learning_rate")]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rate_of_each_update_is_in_the_state_and_compiled_once(name):
    optimizer, compiled = OPTIMIZERS[name], []

    @jax.jit
    def train_step(params, state):
        compiled.append(1)
        updates, state = optimizer.update(params, state, params)
        return optax.apply_updates(params, updates), state

    lr = OptaxLearningRate(0.1, SCHEDULE, 8, controllers=[Plateau("loss", patience=2, factor=0.5)])
    params, state, used = PARAMS, lr.write(optimizer.init(PARAMS)), []
    for _ in range(8):
        used.append(rates_in(state)[0])
        params, state = train_step(params, state)
        state = lr.step(state, loss=jnp.asarray(1.0))
    known = SCHEDULE.resolve(8)
    factors = [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert used == [float(np.float32(0.1 * known(t) * f)) for t, f in enumerate(factors)]
    assert len(compiled) == 1


def test_the_rate_moves_the_weights():
    optimizer = ours.sgd(1.0)
    lr = OptaxLearningRate(0.5, linear_decay(), 4)
    state = lr.write(optimizer.init(jnp.ones(1)))
    moved = []
    for _ in range(4):
        updates, state = optimizer.update(jnp.ones(1), state)
        moved.append(-updates.item())
        state = lr.step(state)
    assert moved == [0.5, 0.375, 0.25, 0.125]


def test_labels_of_multi_transform_have_their_own_base():
    parts = {"body": ours.adamw(1.0), "head": optax.chain(optax.inject_hyperparams(optax.sgd)(1.0))}
    optimizer = optax.multi_transform(parts, {"w": "body", "b": "head"})
    lr = OptaxLearningRate({"head": 0.5, "body": 0.25}, linear_decay(), 2)
    state = lr.step(optimizer.init(PARAMS))
    assert lr.learning_rates == [0.25, 0.125]
    assert rates_in(state.inner_states["head"]) == [0.25]
    assert rates_in(state.inner_states["body"]) == [0.125]
    with pytest.raises(ArgumentError, match="the learning rate of 'tail' in it"):
        OptaxLearningRate({"head": 0.5, "tail": 0.25}, constant()).write(state)


def test_labels_may_have_their_own_schedules():
    optimizer = optax.multi_transform({"body": ours.sgd(1.0), "head": ours.adam(1.0)}, {"w": "body", "b": "head"})
    plans = {"body": linear_decay(), "head": constant()}
    lr = OptaxLearningRate({"head": 0.5, "body": 0.25}, plans, 4)
    state = optimizer.init(PARAMS)
    for _ in range(2):
        state = lr.step(state)
    assert lr.learning_rates == [0.5, 0.125]
    assert rates_in(state.inner_states["head"]) == [0.5]
    assert rates_in(state.inner_states["body"]) == [0.125]
    assert lr.simulate(group=1) == [0.25 * linear_decay(4)(t) for t in range(4)]
    resumed = OptaxLearningRate({"head": 0.7, "body": 0.7}, plans, 4)
    resumed.load_state_dict(json.loads(json.dumps(lr.state_dict())))
    assert resumed.learning_rates == [0.5, 0.125]


@pytest.mark.parametrize(
    ("base", "schedule", "error"),
    [
        (0.1, {"a": constant()}, ArgumentError),
        ({"a": 0.1, "b": 0.1}, {"a": constant()}, ArgumentError),
        ({"a": 0.1, "b": 0.1}, {"a": constant(), "c": constant()}, ArgumentError),
        ({"a": 0.1, "b": 0.1}, [constant(), constant()], ArgumentTypeError),
        ({"a": 0.1, "b": 0.1}, {"a": constant(), "b": 0.1}, ArgumentTypeError),
    ],
)
def test_schedules_must_be_those_of_the_labels(base, schedule, error):
    with pytest.raises(error, match="schedule must be"):
        OptaxLearningRate(base, schedule)


def test_one_base_serves_all_parts():
    optimizer = optax.multi_transform({"a": ours.sgd(1.0), "b": ours.adam(1.0)}, {"w": "a", "b": "b"})
    assert rates_in(OptaxLearningRate(0.25, constant()).write(optimizer.init(PARAMS))) == [0.25, 0.25]


def test_a_train_state_may_be_given_whole():
    state = {"params": PARAMS, "opt_state": ours.sgd(1.0).init(PARAMS), "step": 3}
    new = OptaxLearningRate(0.25, constant()).write(state)
    assert new["opt_state"].learning_rate == 0.25
    assert new["step"] == 3


def test_only_what_a_controller_looks_at_is_fetched():
    class Untouched:
        def __float__(self):
            raise AssertionError

    lr = OptaxLearningRate(0.1, constant(), controllers=[Plateau("val_loss"), Manual()])
    lr.step(ours.sgd(1.0).init(PARAMS), loss=Untouched(), val_loss=jnp.asarray(2.0))
    assert lr.controllers[0].best == 2.0


def test_observe_counts_no_update():
    lr = OptaxLearningRate(0.5, linear_decay(), 4, controllers=[Plateau(patience=1, factor=0.5)])
    state = ours.sgd(1.0).init(PARAMS)
    for _ in range(2):
        state = lr.observe(state, {"val_loss": 1.0})
    assert lr.step_count == 0
    assert state.learning_rate == 0.25
    assert [decision.cause for decision in lr.decisions] == ["val_loss has not improved on 1 for 1 reading"]


def test_a_controller_asks_to_stop():
    lr = OptaxLearningRate(0.5, constant(), controllers=[DivergenceGuard(action="stop")])
    lr.step(ours.sgd(1.0).init(PARAMS), loss=jnp.asarray(math.nan))
    assert lr.should_stop


@pytest.mark.parametrize("stop", range(9))
def test_a_run_resumed_at_any_step_goes_on_with_its_rates(stop):
    def run(steps, kept=None):
        lr = OptaxLearningRate(0.1, SCHEDULE, 8, controllers=[Plateau("loss", patience=2, factor=0.5)])
        state = ours.adamw(1.0).init(PARAMS)
        if kept:
            lr.load_state_dict(json.loads(kept))
        state, used = lr.write(state), []
        for _ in range(steps):
            used.append((lr.learning_rate, state.learning_rate.item()))
            state = lr.step(state, loss=1.0)
        return used, json.dumps(lr.state_dict()), lr.why()

    whole, _, why = run(8)
    first, kept, _ = run(stop)
    second, _, resumed = run(8 - stop, kept)
    assert first + second == whole
    assert resumed == why


def test_low_precision_stays_as_it_is():
    params = jnp.ones(2, jnp.bfloat16)
    state = optax.inject_hyperparams(optax.sgd)(1.0).init(params)
    new = OptaxLearningRate(0.1, constant()).write(state)
    old_rate, new_rate = state.hyperparams["learning_rate"], new.hyperparams["learning_rate"]
    assert (new_rate.dtype, new_rate.weak_type) == (old_rate.dtype, old_rate.weak_type)


def test_a_rate_that_cannot_be_set_is_refused():
    lr = OptaxLearningRate(0.1, constant())
    with pytest.raises(ArgumentError, match="an optimizer's state with the learning rate in it"):
        lr.write(optax.adamw(0.1).init(PARAMS))
    with pytest.raises(ArgumentError, match="one whose rate can be set"):
        lr.write(optax.inject_hyperparams(optax.sgd)(optax.linear_schedule(1.0, 0.0, 10)).init(PARAMS))
    many = ours.sgd(1.0).init(PARAMS)._replace(learning_rate=jnp.ones(3))
    with pytest.raises(ArgumentError, match="a single learning rate"):
        lr.write(many)


def test_arguments_are_checked():
    with pytest.raises(ArgumentError, match="a dict of labels"):
        OptaxLearningRate([0.1, 0.2], constant())
    with pytest.raises(ArgumentError, match="base"):
        OptaxLearningRate({}, constant())
    with pytest.raises(ArgumentError, match="base"):
        OptaxLearningRate(-1.0, constant())
    with pytest.raises(ArgumentTypeError, match="schedule"):
        OptaxLearningRate(0.1, optax.linear_schedule(1.0, 0.0, 10))
    with pytest.raises(ArgumentTypeError, match="a mapping of names to values"):
        OptaxLearningRate(0.1, constant()).step(ours.sgd(1.0).init(PARAMS), 3.0)


def test_a_state_that_does_not_fit_changes_nothing():
    lr = OptaxLearningRate(0.1, constant(), controllers=[Manual()])
    two = OptaxLearningRate({"a": 0.1, "b": 0.2}, constant(), controllers=[Manual()]).state_dict()
    other = OptaxLearningRate(0.1, constant(), controllers=[Plateau()]).state_dict()
    for state in (two, other, {}, {**lr.state_dict(), "step_count": -1}, {**lr.state_dict(), "version": 9}):
        with pytest.raises(StateError):
            lr.load_state_dict(state)
    assert lr.step_count == 0
    assert lr.learning_rate == 0.1
