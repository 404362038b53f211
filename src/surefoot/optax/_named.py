"""What makes a job's optimizer: a name, or a factory of the user's, asked how it takes a rate that is not known yet."""

# JAX's own types are partial, optax has none:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import optax
from surefoot._checks import refuse, refuse_type
from surefoot._errors import SurefootError
from surefoot.optax import _learning_rate_free as free
from surefoot.optax import _optimizers as ours

Factory = Callable[[Any], optax.GradientTransformation]

NAMED: dict[str, tuple[Factory, float]] = {
    "sgd": (ours.sgd, 1e-2),
    "sgd_momentum": (partial(ours.sgd, momentum=0.9), 1e-2),
    "sgd_nesterov": (partial(ours.sgd, momentum=0.9, nesterov=True), 1e-2),
    "adagrad": (ours.adagrad, 1e-2),
    "adadelta": (ours.adadelta, 1.0),
    "rmsprop": (ours.rmsprop, 1e-3),
    "adam": (ours.adam, 1e-3),
    "adamw": (ours.adamw, 1e-3),
    "nadam": (ours.nadam, 1e-3),
    "radam": (ours.radam, 1e-3),
    "adamax": (ours.adamax, 2e-3),
    "lion": (ours.lion, 1e-4),
    "dog": (ours.dog, 1.0),
    "dowg": (free.dowg, 1.0),
    "dadapt_adamw": (free.dadapt_adamw, 1.0),
    "prodigy": (free.prodigy, 1.0),
}
LEARNING_RATE_FREE = frozenset({"dog", "dowg", "dadapt_adamw", "prodigy"})  # their rate is a factor


def maker(factory: Factory, params: Any, rate: float) -> Factory:
    """Return a function that makes the optimizer from a traced rate, after a look at what its updates do.

    Most factories take the rate as a scalar. Those of `optax.inject_hyperparams` keep it in their state, where a number
    would stay what it was at the start; they take it as a schedule, whose value is then asked for at each update.
    """
    errors: list[Exception | None] = []
    for make in (factory, lambda scalar: factory(lambda _: scalar)):
        try:
            slow, fast = _first_updates(make, params, (rate, 2.0 * rate))
        except Exception as error:  # noqa: BLE001 - whatever a user's factory raises for a scalar or a function
            errors.append(error)
            continue
        if any(not np.array_equal(a, b) for a, b in zip(slow, fast, strict=True)):
            return make
        errors.append(None)
    shown, error = name_of(factory), errors[0]
    if isinstance(error, SurefootError):
        raise error
    if error is not None:
        cure = f"It said: {error}"
        allowed = "a factory that JAX can trace, from the rate to an optax.GradientTransformation"
        raise refuse_type("JaxJob", "optimizer", shown, allowed, cure) from error
    cure = "Write it as `lambda rate: optax.adamw(rate)`; the job's `schedule` stands for one inside."
    raise refuse("JaxJob", "optimizer", shown, "an optimizer whose first update follows the rate it is given", cure)


def name_of(factory: Any) -> str:
    """Return what a factory is called; of a partial, what its function is called.

    >>> name_of(partial(optax.adamw, weight_decay=0.1)), name_of(lambda rate: optax.sgd(rate))
    ('adamw', 'optimizer')
    """
    while isinstance(factory, partial):
        factory = factory.func
    name = getattr(factory, "__name__", type(factory).__name__)
    return "optimizer" if name == "<lambda>" else name


def update(optimizer: Any, gradients: Any, state: Any, params: Any, loss: Any) -> tuple[Any, Any]:
    """Return updates and state; optimizers that read the loss (a plateau, Polyak's step) are shown it."""
    return optax.with_extra_args_support(optimizer).update(gradients, state, params, value=loss)


def _first_updates(make: Factory, params: Any, rates: tuple[float, float]) -> list[list[Any]]:
    """Return the first updates under gradients of 1 at two rates, or raise."""

    @jax.jit
    def first(rate: Any, params: Any) -> list[Any]:  # as an argument: what is closed over becomes part of the program
        optimizer: Any = make(rate)
        if not isinstance(optimizer, optax.GradientTransformation):
            raise refuse_type("JaxJob", "optimizer", optimizer, "a factory of an optax.GradientTransformation")
        state = optimizer.init(params)
        updates, after = update(optimizer, jax.tree.map(jnp.ones_like, params), state, params, jnp.ones(()))
        if _types(state) != _types(after):
            cure = "Give its numbers as arrays, with the types that the updates give them."
            raise refuse(
                "JaxJob", "optimizer", _types(state), f"one whose state keeps its types: {_types(after)}", cure
            )
        return jax.tree.leaves(updates)

    return [[np.asarray(leaf) for leaf in first(jnp.asarray(rate, float), params)] for rate in rates]


def _types(tree: Any) -> list[str]:
    return [f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}" for leaf in jax.tree.leaves(tree)]
