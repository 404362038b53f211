"""Schedule-Free in optax: the numbers of optax.contrib, and the average told from state and parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax
import surefoot.optax as ours
from surefoot import ArgumentTypeError

CASES = [
    ("schedule_free_sgd", {"learning_rate": 0.05}),
    ("schedule_free_sgd", {"learning_rate": 0.05, "warmup_steps": 40, "b1": 0.8, "weight_decay": 0.1}),
    ("schedule_free_sgd", {"learning_rate": 0.05, "warmup_steps": 40, "weight_lr_power": 1.0}),
    ("schedule_free_adamw", {"learning_rate": 0.02}),
    ("schedule_free_adamw", {"learning_rate": 0.02, "warmup_steps": 40, "b1": 0.95, "b2": 0.99, "weight_decay": 0.1}),
    ("schedule_free_adamw", {"learning_rate": 0.02, "eps": 1e-3, "weight_lr_power": 0.0}),
]


def path(optimizer, average, steps=500):
    """Return parameters and averages of noisy steps toward 3."""
    noise = jnp.asarray(np.random.default_rng(0).normal(size=(steps, 5)))
    start = {"w": jnp.asarray(np.random.default_rng(1).normal(size=5))}

    def one(carry, z):
        params, state = carry
        updates, state = optimizer.update({"w": 2.0 * (params["w"] - 3.0) + z}, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (params["w"], average(state, params)["w"])

    (_, state), found = jax.lax.scan(one, (start, optimizer.init(start)), noise)
    return found, state


@pytest.mark.parametrize(("name", "options"), CASES)
def test_500_steps_are_optax_s(name, options):
    with jax.enable_x64(True):
        expected, _ = path(getattr(optax.contrib, name)(**options), optax.contrib.schedule_free_eval_params)
        found, _ = path(getattr(ours, name)(**options), ours.schedule_free_eval_params)
    # optax counts its warm-up in float32, also where all else is in float64
    bounds = {"rtol": 1e-6, "atol": 2e-7} if "warmup_steps" in options else {"rtol": 1e-10}
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, **bounds)
    assert np.abs(np.asarray(found[1][-1]) - 3.0).max() < 1.0


def test_in_float32_the_rate_may_be_set_in_the_state():
    optimizer = ours.schedule_free_adamw(0.1)
    params = jnp.ones(3)
    state = optimizer.init(params)._replace(learning_rate=jnp.asarray(0.5))
    updates, state = optimizer.update(params, state, params)
    np.testing.assert_allclose(updates, -0.5, rtol=1e-5)


def test_the_average_is_found_within_a_chain_and_in_bfloat16():
    optimizer = optax.chain(optax.clip(1.0), ours.schedule_free_sgd(0.5))
    params = jnp.ones(3, jnp.bfloat16)
    state = optimizer.init(params)
    for _ in range(3):
        updates, state = optimizer.update(params, state, params)
        params = optax.apply_updates(params, updates)
    average = ours.schedule_free_eval_params(state, params)
    assert average.dtype == jnp.bfloat16
    assert average.max() > params.max()


@pytest.mark.parametrize("state", [None, optax.sgd(0.1).init(jnp.ones(2)), ours.adam(0.1).init(jnp.ones(2))])
def test_another_state_has_no_average(state):
    with pytest.raises(ArgumentTypeError, match="state must be a state of schedule_free"):
        ours.schedule_free_eval_params(state, jnp.ones(2))
