"""One optimizer step in JAX, by optax and by surefoot.optax, which `optimizers.py` times side by side.

Both are jitted with donated parameters and state, as in training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import optax
import surefoot.optax

METHODS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9},
    "adagrad": {},
    "adadelta": {},
    "rmsprop": {},
    "adam": {},
    "adamw": {},
    "nadam": {},
    "radam": {},
    "adamax": {},
    "lion": {},
}


def steps(method: str, shapes: list[tuple[int, ...]]) -> dict[str, Callable[[], None]]:
    """Return, by library, a function that takes one step on float32 parameters of these shapes and waits for it."""
    return {
        "optax": _step(getattr(optax, method)(1e-3, **METHODS[method]), shapes),
        "surefoot.optax": _step(getattr(surefoot.optax, method)(1e-3, **METHODS[method]), shapes),
    }


def _step(optimizer: optax.GradientTransformation, shapes: list[tuple[int, ...]]) -> Callable[[], None]:
    random = np.random.default_rng(0)
    make = [random.standard_normal(shape, np.float32) for shape in shapes]
    gradients = [jax.numpy.asarray(random.standard_normal(shape, np.float32)) for shape in shapes]
    parameters = [jax.numpy.array(x) for x in make]
    held = [(parameters, optimizer.init(parameters))]

    def advance(parameters: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state

    compiled = jax.jit(advance, donate_argnums=(0, 1))

    def step() -> None:
        held[0] = jax.block_until_ready(compiled(*held[0], gradients))

    step()  # compiles
    return step
