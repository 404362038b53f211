"""What a compiled update costs beside optax's own: not measured in time, which is noise, but read off XLA."""

import re
from typing import Any

import jax
import numpy as np
import pytest

import optax
import surefoot.optax

SHAPES = [(1000,), (512, 64), (3, 3, 16, 16)] * 2
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


def cost(library: Any, method: str) -> dict[str, float]:
    """Return what XLA says of one jitted and donated update: operations, bytes moved, passes over memory."""
    optimizer = getattr(library, method)(1e-3, **METHODS[method])
    random = np.random.default_rng(0)
    parameters = [jax.numpy.asarray(random.standard_normal(shape, np.float32)) for shape in SHAPES]

    def advance(parameters: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state

    lowered = jax.jit(advance, donate_argnums=(0, 1)).lower(parameters, optimizer.init(parameters), parameters)
    compiled = lowered.compile()
    analysis, text = compiled.cost_analysis(), compiled.as_text()
    return {
        "operations": analysis["flops"],
        "bytes": analysis["bytes accessed"],
        "roots": analysis.get("transcendentals", 0.0),
        "fusions": len(re.findall(r"fusion\(", text)),
        "copies": len(re.findall(r"\bcopy\(", text)),
    }


@pytest.mark.parametrize("method", METHODS)
def test_the_compiled_update_does_no_more_than_optax(method):
    ours, theirs = cost(surefoot.optax, method), cost(optax, method)
    scalars = (
        128  # of an update: the powers of betas in whole numbers, the rate in the state; whatever the model's size
    )
    assert ours["operations"] <= theirs["operations"] + scalars
    assert ours["bytes"] <= theirs["bytes"] + 4 * scalars
    assert ours["roots"] <= theirs["roots"] + scalars
    assert ours["fusions"] <= theirs["fusions"] + 2  # for scalars
    assert ours["copies"] <= theirs["copies"] + 1
