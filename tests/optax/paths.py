"""Runs of 500 steps on gradients meant to break an optimizer, in float32 and in float64."""

from __future__ import annotations

import jax
import numpy as np

import optax

STEPS = 500


def gradients() -> np.ndarray:
    """Return one column for each kind of trouble, twice: the first half of the parameters starts at 0.

    All are float32 numbers, so that float32 and float64 see the same gradients.
    """
    random = np.random.default_rng(7)
    normal = random.normal(size=(STEPS, 6))
    sizes = np.array([1e-20, 1e20, 1.0, 1e-40, 1e-45])  # the last two are denormal in float32
    columns = [
        *(normal * np.array([1.0, 1e-1, 1e-2, 1e-4, 1e-20, 1e20])).T,
        np.zeros(STEPS),
        np.full(STEPS, 1e-45),
        np.full(STEPS, -1e-40),
        np.where(np.arange(STEPS) % 2, 1e20, -1e-20),
        np.where(np.arange(STEPS) == 0, 1e20, 1e-20),  # once huge, then all but nothing
        np.where(np.arange(STEPS) % 50 == 49, 1.0, 0.0),  # sparse
        normal[:, 0] * sizes[random.integers(5, size=STEPS)],
        np.abs(normal[:, 1]) + 0.1,
    ]
    return np.array(columns * 2).T.astype(np.float32)


GRADIENTS = gradients()
START = np.concatenate([np.zeros(14), np.random.default_rng(8).normal(size=14)]).astype(np.float32)
RATES = 0.05 * (1.0 - 0.5 * np.arange(STEPS) / STEPS)  # whether it belongs in a momentum buffer is seen only so


def rate(count):
    """Return a rate that changes."""
    return jax.numpy.asarray(RATES)[count]


def paths(makers, dtype="float64", grads=GRADIENTS, start=START):
    """Return the parameters after each step, by name; all are compiled together, which takes a third of the time.

    `makers` holds functions, so that the transformations are built in the same precision.
    """
    with jax.enable_x64(dtype == "float64"):
        made = {name: make() for name, make in makers.items()}
        x = jax.numpy.asarray(start, dtype)

        def step(carry, g):
            new = {}
            for name, (x, state) in carry.items():
                updates, after = made[name].update(g, state, x)
                new[name] = (optax.apply_updates(x, updates), after)
            return new, {name: x for name, (x, _) in new.items()}

        begin = {name: (x, transformation.init(x)) for name, transformation in made.items()}
        return jax.tree.map(np.asarray, jax.lax.scan(step, begin, jax.numpy.asarray(grads, dtype))[1])


def error(ours, theirs):
    """Return the largest difference at any step, relative to the largest value that the parameter has had so far."""
    assert np.isfinite(theirs).all(), "the reference itself broke"
    assert np.isfinite(ours).all()
    scale = np.maximum.accumulate(np.abs(theirs.astype(float)), axis=0)
    return float(np.max(np.abs(ours.astype(float) - theirs) / np.maximum(scale, 1e-35)))


TAME = [0, 1, 2, 3, 6, 11, 13, 14, 15, 16, 17, 20, 25, 27]  # columns whose squares are float32 numbers
