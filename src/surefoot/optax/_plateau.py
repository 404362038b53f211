"""Scale the updates down when a value has stopped improving, inside of the compiled step."""

# JAX's own types are partial, optax has none:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import optax
from surefoot._checks import integer, number, one_of, refuse_type

_ROUNDING = 1e-6  # as in surefoot.control.Plateau


class PlateauState(NamedTuple):
    """The state of a plateau.

    Attributes:
        scale: what the updates are multiplied with; 1 at the start.
        best: the best value so far; infinite before the first.
        wait: values in a row without gain.
        cooldown_left: how many values are still not counted.
        reductions: how often the scale was lowered.
    """

    scale: jax.Array
    best: jax.Array
    wait: jax.Array
    cooldown_left: jax.Array
    reductions: jax.Array


def plateau(
    factor: float = 0.1,
    patience: int = 10,
    *,
    cooldown: int = 0,
    mode: str = "min",
    min_delta: float = 1e-4,
    relative: bool = True,
    min_scale: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """Multiply the updates with a scale that falls by `factor` after `patience` values without gain.

    Use it after an optimizer in a chain, where the whole loop is compiled (`jax.lax.scan`, `vmap` over runs); else
    `OptaxLearningRate` with `surefoot.control.Plateau`, which says why. Both count alike: margins are a share of |best|,
    or absolute, right for negative values too; NaN and infinity never improve and never become the best.

    Beside `optax.contrib.reduce_on_plateau`: that one never reduces on a value below 0 that stands still.

    Args:
        factor: in (0, 1).
        patience: how many values in a row without gain are borne, at least 1.
        cooldown: how many values after a reduction are not counted.
        mode: "min" or "max".
        min_delta: the least gain that counts, at least 0.
        relative: whether `min_delta` is a share of the best.
        min_scale: the scale is not lowered below it; at least 0 and at most 1.

    Returns:
        A transformation whose `update` takes `value=`, one reading; without it (a step between two evaluations) nothing
        is counted. The scale lowered by a value holds from this very update on.

    Raises:
        ArgumentError: a value that is not allowed.
        ArgumentTypeError: a type that is not allowed.

    Examples:
        >>> import surefoot.optax
        >>> optimizer = optax.chain(surefoot.optax.sgd(1.0), plateau(factor=0.5, patience=2))
        >>> weights = jnp.ones(1)
        >>> state = optimizer.init(weights)
        >>> for value in (-1.0, -1.0, -1.0):
        ...     updates, state = optimizer.update(weights, state, weights, value=value)
        >>> print(updates, state[1].scale)
        [-0.5] 0.5
    """
    reduce_by = number("plateau", "factor", factor, above=0, below=1, cure="0.5 halves the rate.")
    patience = integer("plateau", "patience", patience, at_least=1)
    cooldown = integer("plateau", "cooldown", cooldown, at_least=0)
    sign = 1.0 if one_of("plateau", "mode", mode, ("min", "max")) == "min" else -1.0
    min_delta = number("plateau", "min_delta", min_delta, at_least=0)
    if not isinstance(relative, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise refuse_type("plateau", "relative", relative, "True or False")
    min_scale = number("plateau", "min_scale", min_scale, at_least=0, at_most=1)

    def init(params: Any) -> PlateauState:
        del params
        zero = jnp.zeros([], jnp.int32)
        return PlateauState(jnp.ones([], jnp.float32), jnp.asarray(sign * jnp.inf, jnp.float32), zero, zero, zero)

    def read(state: PlateauState, value: Any) -> PlateauState:
        value = jnp.asarray(value, jnp.float32)
        is_first = ~jnp.isfinite(state.best)
        margin = min_delta * (jnp.abs(state.best) if relative else 1.0)
        is_gain = jnp.isfinite(value) & (is_first | (sign * value < sign * state.best - margin))
        is_counted = state.cooldown_left == 0
        wait = jnp.where(is_gain | ~is_counted, 0, state.wait + 1)
        is_reduced = (wait >= patience) & (state.scale > min_scale * (1.0 + _ROUNDING))
        left = jnp.where(is_counted, 0, state.cooldown_left - 1)
        return PlateauState(
            scale=jnp.where(is_reduced, jnp.maximum(state.scale * reduce_by, min_scale), state.scale),
            best=jnp.where(is_gain, value, state.best),
            wait=jnp.where(is_reduced, 0, wait),
            cooldown_left=jnp.where(is_reduced, cooldown, left),
            reductions=state.reductions + is_reduced,
        )

    def update(updates: Any, state: Any, params: Any = None, *, value: Any = None, **extra: Any) -> tuple[Any, Any]:
        del params, extra
        new = state if value is None else read(state, value)
        return jax.tree.map(lambda u: jnp.asarray(u * new.scale, u.dtype), updates), new

    return optax.GradientTransformationExtraArgs(init, update)
