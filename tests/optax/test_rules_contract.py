"""Every rule through optax."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax
from surefoot.optax import from_rule
from surefoot.rules import SGD, Adam, DoG
from surefoot.testing import check_rule

from ..rules.examples import RULES

COMPLETE = [SGD(momentum=0.9), Adam(), DoG(start=1e-2)]  # with every setting; it is the same code for the others


def train(rule, start, gradients, learning_rates, *, interrupt, settings):
    """Run eagerly: compiling each of these runs would take longer; that jit gives the same is tested elsewhere."""
    with jax.enable_x64(start[0].dtype == np.float64):
        transformation = from_rule(rule, 1.0, **settings)
        x = [jnp.asarray(a) for a in start]
        state = transformation.init(x)
        for step, (row, lr) in enumerate(zip(gradients, learning_rates, strict=True)):
            if step == interrupt:
                x, state = pickle.loads(pickle.dumps((x, state)))
                transformation = from_rule(rule, 1.0, **settings)
            state = state._replace(learning_rate=jnp.asarray(lr))
            updates, state = transformation.update([jnp.asarray(g) for g in row], state, x)
            x = optax.apply_updates(x, updates)
        return [np.asarray(a) for a in x]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_rule_keeps_to_the_contract(rule):
    check_rule(rule, train, **({} if rule in COMPLETE else {"settings": ("plain",)}))


def test_the_complete_ones_are_in_the_table():
    assert all(rule in RULES for rule in COMPLETE)
