"""optax.contrib's Schedule-Free, by its own names, arguments and defaults; see `surefoot.rules.ScheduleFree`.

`from_rule(rules.ScheduleFree(rule=...), rate)` wraps any other rule.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from optax import GradientTransformationExtraArgs
from surefoot import rules
from surefoot._checks import refuse, refuse_type
from surefoot.optax._transformation import Number, Rate, RuleState, checked_rule, transformation
from surefoot.rules import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScheduleFree(rules.ScheduleFree):
    """Has b1 in its state, so that the average can be told from state and parameters alone."""

    @property
    def scalar_slots(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (*rules.ScheduleFree.scalar_slots.fget(self), "b1")  # pyright: ignore[reportOptionalCall]

    def init(self, x: Any) -> dict[str, Any]:
        return {**rules.ScheduleFree.init(self, x), "b1": self.b1}

    def step(self, x: Any, g: Any, t: Any, lr: Any, **slots: Any) -> tuple[Any, dict[str, Any]]:
        b1 = slots.pop("b1")
        dx, new = rules.ScheduleFree.step(self, x, g, t, lr, **slots)
        return dx, {**new, "b1": b1}


def schedule_free_sgd(
    learning_rate: Rate = 1.0,
    warmup_steps: int | None = None,
    b1: Number = 0.9,
    weight_decay: Number | None = None,
    weight_lr_power: Number = 2.0,
    state_dtype: Any = None,
) -> GradientTransformationExtraArgs:
    """SGD whose iterates are averaged in the place of a schedule: `optax.contrib.schedule_free_sgd`.

    Use it where the length of the run is open, with a constant rate 10 to 50 times that of SGD with a schedule.
    Evaluate `schedule_free_eval_params(state, params)`: the parameters themselves are where gradients are taken.

    Args:
        learning_rate: see `from_rule`; a schedule is asked for the same count by the step and by the average, where
            optax asks for the average's one further on.
        warmup_steps: the rate grows linearly over so many steps, from 0; None for none.
        b1: how far gradients are taken from z to the average; in (0, 1].
        weight_decay: added to the gradient; None for none.
        weight_lr_power: the average weighs by this power of the highest rate so far; at least 0.
        state_dtype: None: the state is in float32, or float64 where the parameters are.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> optimizer, weights = schedule_free_sgd(0.25), jnp.array([1.0, -2.0])
        >>> state = optimizer.init(weights)
        >>> for _ in range(20):
        ...     updates, state = optimizer.update(2.0 * weights, state, weights)
        ...     weights = weights + updates
        >>> print([round(w, 2) for w in schedule_free_eval_params(state, weights).tolist()])
        [-0.03, 0.07]

    References:
        Defazio et al., "The Road Less Scheduled", 2024, arXiv:2405.15682.
    """
    inner = rules.SGD()
    rule = _rule("schedule_free_sgd", inner, warmup_steps, b1, weight_decay or 0.0, weight_lr_power, state_dtype)
    return transformation("schedule_free_sgd", rule, learning_rate)


def schedule_free_adamw(
    learning_rate: Rate = 0.0025,
    warmup_steps: int | None = None,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    weight_lr_power: Number = 2.0,
    state_dtype: Any = None,
) -> GradientTransformationExtraArgs:
    """AdamW whose iterates are averaged in place of momentum and schedule: `optax.contrib.schedule_free_adamw`.

    Use it where the length of the run is open, with a constant rate 1 to 10 times that of AdamW with a schedule.
    Evaluate `schedule_free_eval_params(state, params)`: the parameters themselves are where gradients are taken.

    Args:
        learning_rate: see `from_rule`; a schedule is asked for the same count by the step and by the average, where
            optax asks for the average's one further on.
        warmup_steps: the rate grows linearly over so many steps, from 0; None for none.
        b1: how far gradients are taken from z to the average; in (0, 1].
        b2: of the mean square; in [0, 1).
        eps: at least 0.
        weight_decay: decoupled, taken where the gradients are; at least 0.
        weight_lr_power: the average weighs by this power of the highest rate so far; at least 0.
        state_dtype: None: the state is in float32, or float64 where the parameters are.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> optimizer, weights = schedule_free_adamw(0.25), jnp.array([1.0, -2.0])
        >>> updates, state = optimizer.update(2.0 * weights, optimizer.init(weights), weights)
        >>> print([round(u, 3) for u in updates.tolist()])
        [-0.25, 0.25]

    References:
        Defazio et al., "The Road Less Scheduled", 2024, arXiv:2405.15682.
    """
    inner = checked_rule(rules.RMSprop, rho=b2, eps=eps, unbiased=True)
    rule = _rule("schedule_free_adamw", inner, warmup_steps, b1, weight_decay, weight_lr_power, state_dtype)
    return transformation("schedule_free_adamw", rule, learning_rate)


def schedule_free_eval_params(state: Any, params: Any) -> Any:
    """Return the average: the parameters to evaluate, to predict with and to deploy.

    Args:
        state: the state of `schedule_free_sgd` or `schedule_free_adamw`, or of a chain with one of them in it.
        params: the parameters that are trained.

    Raises:
        ArgumentTypeError: there is no such state in `state`, or more than one.
    """
    leaves: list[Any] = jax.tree.leaves(state, is_leaf=lambda part: isinstance(part, RuleState))
    found = [part for part in leaves if isinstance(part, RuleState) and {"z", "b1"} <= part.slots.keys()]
    if len(found) != 1:
        cure = "Pass what `optimizer.init` or `optimizer.update` returned."
        allowed = "a state of schedule_free_sgd or schedule_free_adamw, one of them"
        raise refuse_type("schedule_free_eval_params", "state", state, allowed, cure)
    z, b1 = found[0].slots["z"], found[0].slots["b1"]

    def average(y: Any, at: Any) -> jax.Array:
        return jnp.asarray(at + (y - at) / b1.astype(at.dtype), jnp.result_type(y))

    return jax.tree.map(average, params, z)


def _rule(
    where: str, inner: Rule, warmup_steps: Any, b1: Any, decay: Any, weight_lr_power: Any, state_dtype: Any
) -> Rule:
    if state_dtype is not None:
        raise refuse(where, "state_dtype", state_dtype, "None", "The state is in float32 or better.")
    return checked_rule(
        _ScheduleFree,
        rule=inner,
        b1=b1,
        warmup_steps=warmup_steps or 0,
        weight_lr_power=weight_lr_power,
        decay=decay,
        starts_at_zero=True,
    )
