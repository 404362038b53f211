"""The plateau inside of a compiled step counts as the controller does."""

import math

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optax
import surefoot.optax as ours
from surefoot import ArgumentError, ArgumentTypeError
from surefoot.control import Plateau, Reading
from surefoot.optax import plateau

# What float32 and Python's floats hold alike, so that both compare the same numbers.
VALUES = st.one_of(st.integers(-20, 20).map(lambda n: n / 4), st.sampled_from([math.nan, math.inf, -math.inf]))


@given(
    values=st.lists(VALUES, min_size=1, max_size=30),
    patience=st.integers(1, 3),
    cooldown=st.integers(0, 2),
    mode=st.sampled_from(["min", "max"]),
    min_delta=st.sampled_from([0.0, 0.125, 1.0]),
    relative=st.booleans(),
    floor=st.sampled_from([0.0, 0.125, 0.3]),
)
@settings(max_examples=60, deadline=None)
def test_it_counts_as_the_controller_does(values, patience, cooldown, mode, min_delta, relative, floor):
    shared = {"patience": patience, "cooldown": cooldown, "mode": mode, "min_delta": min_delta, "relative": relative}
    controller = Plateau("loss", factor=0.5, min_lr=floor, **shared)
    transformation = plateau(0.5, min_scale=floor, **shared)
    state = transformation.init(None)
    for step, value in enumerate(values):
        controller.observe(Reading(step, {"loss": value}, controller.factor))
        _, state = transformation.update(jnp.ones(1), state, value=value)
        assert state.scale.item() == pytest.approx(controller.factor, rel=1e-6)
        best = None if math.isinf(state.best.item()) else state.best.item()
        assert (best, state.wait, state.cooldown_left, state.reductions) == (
            controller.best,
            controller.wait,
            controller.cooldown_left,
            controller.reductions,
        )


def test_a_negative_value_that_stands_still_lowers_the_scale_where_optax_does_not():
    def scale(transformation):
        update = jax.jit(transformation.update)
        state = transformation.init(None)
        for _ in range(8):
            _, state = update(jnp.ones(1), state, value=-1.0)
        return state.scale.item()

    assert scale(optax.contrib.reduce_on_plateau(factor=0.5, patience=2)) == 1.0
    assert scale(plateau(0.5, 2)) == 0.125


def test_it_runs_inside_scan_and_vmap():
    optimizer = optax.chain(ours.sgd(1.0), plateau(0.5, 2))

    def run(values):
        def body(state, value):
            updates, state = optimizer.update(jnp.ones(1), state, jnp.ones(1), value=value)
            return state, updates[0]

        return jax.lax.scan(body, optimizer.init(jnp.ones(1)), values)[1]

    moved = jax.jit(jax.vmap(run))(jnp.asarray([[3.0, 3.0, 3.0, 3.0], [4.0, 3.0, 2.0, 1.0]]))
    assert moved.tolist() == [[-1.0, -1.0, -0.5, -0.5], [-1.0, -1.0, -1.0, -1.0]]


def test_a_step_without_a_value_is_no_reading():
    transformation = plateau(0.5, 1)
    _, state = transformation.update(jnp.ones(1), transformation.init(None), value=1.0)
    _, state = transformation.update(jnp.ones(1), state)
    assert (state.wait, state.scale) == (0, 1.0)
    updates, state = transformation.update(jnp.ones(1, jnp.bfloat16), state, value=1.0)
    assert updates.dtype == jnp.bfloat16
    assert updates.item() == 0.5


@pytest.mark.parametrize(
    "arguments",
    [
        {"factor": 1.0}, {"factor": 0.0}, {"factor": math.nan}, {"patience": 0}, {"cooldown": -1}, {"mode": "auto"},
        {"min_delta": -1.0}, {"min_scale": 2.0},
    ],
)  # fmt: skip
def test_arguments_are_checked(arguments):
    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        plateau(**arguments)


def test_relative_is_true_or_false():
    with pytest.raises(ArgumentTypeError, match="relative"):
        plateau(relative=1)
