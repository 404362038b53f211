"""Later relatives of Adam in optax: the numbers of optax's own, 500 steps in float64, with every argument."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax
import surefoot.optax as ours

CASES = [
    ("adabelief", {}),
    ("adabelief", {"b1": 0.5, "b2": 0.9, "eps": 1e-3, "eps_root": 1e-6}),
    ("adan", {}),
    ("adan", {"b1": 0.5, "b2": 0.6, "b3": 0.9, "eps": 1e-3, "eps_root": 1e-4, "weight_decay": 0.1}),
    ("adan", {"weight_decay": 0.1, "mask": {"w": True, "b": False}}),
    ("lamb", {}),
    ("lamb", {"b1": 0.5, "b2": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("ademamix", {}),
    ("ademamix", {"b1": 0.5, "b2": 0.9, "b3": 0.99, "alpha": 2.0, "eps": 1e-3, "weight_decay": 0.1}),
    ("ademamix", {"weight_decay": 0.1, "mask": {"w": True, "b": False}}),
]


def path(optimizer, steps=500):
    random = np.random.default_rng(0)
    noise = {"w": jnp.asarray(random.normal(size=(steps, 5))), "b": jnp.asarray(random.normal(size=(steps, 2)))}
    start = {"w": jnp.asarray(random.normal(size=5)), "b": jnp.asarray(random.normal(size=2))}

    def one(carry, z):
        params, state = carry
        gradients = jax.tree.map(lambda p, n: 2.0 * (p - 3.0) + n, params, z)
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    return jax.lax.scan(one, (start, optimizer.init(start)), noise)[1]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_500_steps_are_optax_s(name, options):
    theirs = getattr(optax, name, None) or getattr(optax.contrib, name)
    rate = optax.linear_schedule(0.05, 0.01, 500)
    with jax.enable_x64(True):
        found, expected = path(getattr(ours, name)(rate, **options)), path(theirs(rate, **options))
    for leaf in ("w", "b"):
        np.testing.assert_allclose(found[leaf], expected[leaf], rtol=1e-9, atol=1e-10)
