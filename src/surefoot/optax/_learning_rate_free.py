"""optax.contrib's methods that find their own learning rate, by their own names, arguments and defaults.

Each needs the whole model at once: in optax.multi_transform each part has an estimate of its own. The rate that the last
update has used is `rule.effective_lr(state.learning_rate, state.count, **state.slots)`, with the rule of that name.

>>> optimizer, weights = dowg(), jnp.zeros(2)
>>> _, state = optimizer.update(jnp.array([3.0, -4.0]), optimizer.init(weights), weights)
>>> print(round(float(rules.DoWG().effective_lr(state.learning_rate, state.count, **state.slots)), 5))
0.002
"""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from optax import GradientTransformationExtraArgs
from surefoot import rules
from surefoot.optax._transformation import Number, Rate, checked_number, checked_rule, transformation


def dowg(
    learning_rate: Rate = 1.0,
    init_estim_sq_dist: Number | None = None,
    eps: Number = 1e-4,
    weight_decay: Number | None = None,
    mask: Any = None,
) -> GradientTransformationExtraArgs:
    """Find the rate from the distance travelled over the gradients, late ones weighing more: `optax.contrib.dowg`.

    Use it in place of `dog` where its rates are too cautious; see `surefoot.rules.DoWG` for the formula.

    Args:
        learning_rate: what the found rate is multiplied with; see `from_rule`.
        init_estim_sq_dist: the first squared distance; above 0. None is `eps`.
        eps: above 0.
        weight_decay: coupled, added to the gradient; None for none.
        mask: a tree of booleans, or a prefix of one, or a function that makes one: what shall decay.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = dowg(init_estim_sq_dist=0.01)
        >>> weights = jnp.zeros(2)
        >>> updates, _ = optimizer.update(jnp.array([3.0, -4.0]), optimizer.init(weights), weights)
        >>> print([round(u, 4) for u in updates.tolist()])
        [-0.06, 0.08]

    References:
        Khaled, Mishchenko, Jin, "DoWG Unleashed: An Efficient Universal Parameter-Free Gradient Descent Method", 2023,
        arXiv:2305.16284.
    """
    name, first = ("eps", eps) if init_estim_sq_dist is None else ("init_estim_sq_dist", init_estim_sq_dist)
    first = checked_number("dowg", name, first, above=0.0)
    rule = checked_rule(
        rules.DoWG, start=jnp.sqrt(first) if isinstance(first, jax.Array) else math.sqrt(first), eps=eps
    )
    decay = 0.0 if weight_decay is None else weight_decay
    return transformation("dowg", rule, learning_rate, weight_decay=decay, mask=mask, is_decoupled=False)


def dadapt_adamw(
    learning_rate: Rate = 1.0,
    betas: tuple[Number, Number] = (0.9, 0.999),
    eps: Number = 1e-8,
    estim_lr0: Number = 1e-6,
    weight_decay: Number = 0.0,
) -> GradientTransformationExtraArgs:
    """AdamW whose rate is a lower bound of the distance to the solution: `optax.contrib.dadapt_adamw`.

    Use it where no rate is known, with a schedule that ends at 0; `prodigy` finds the rate faster. See
    `surefoot.rules.DAdaptAdam` for the formula.

    Args:
        learning_rate: what the found rate is multiplied with; see `from_rule`.
        betas: of the momentum and of the mean square; in [0, 1).
        eps: at least 0.
        estim_lr0: the first estimate; above 0.
        weight_decay: decoupled, with the rate that was found; at least 0.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = dadapt_adamw(estim_lr0=0.1)
        >>> weights = jnp.zeros(2)
        >>> updates, _ = optimizer.update(jnp.array([3.0, -4.0]), optimizer.init(weights), weights)
        >>> print([round(u, 4) for u in updates.tolist()])
        [-0.1, 0.1]

    References:
        Defazio, Mishchenko, "Learning-Rate-Free Learning by D-Adaptation", 2023, arXiv:2301.07733.
    """
    first = checked_number("dadapt_adamw", "estim_lr0", estim_lr0, above=0.0)
    rule = checked_rule(rules.DAdaptAdam, b1=betas[0], b2=betas[1], eps=eps, d0=first, use_bias_correction=True)
    return transformation("dadapt_adamw", rule, learning_rate, weight_decay=weight_decay)


def prodigy(
    learning_rate: Rate = 1.0,
    betas: tuple[Number, Number] = (0.9, 0.999),
    beta3: Number | None = None,
    eps: Number = 1e-8,
    estim_lr0: Number = 1e-6,
    estim_lr_coef: Number = 1.0,
    weight_decay: Number = 0.0,
    safeguard_warmup: bool = False,  # noqa: FBT001, FBT002 - optax's order of arguments
) -> GradientTransformationExtraArgs:
    """AdamW whose rate is a lower bound of the distance to the solution that grows fast: `optax.contrib.prodigy`.

    Use it where no rate is known, with a schedule that ends at 0; see `surefoot.rules.Prodigy` for the formula, and for
    a cap on the growth, which `from_rule` takes.

    Args:
        learning_rate: what the found rate is multiplied with; see `from_rule`.
        betas: of the momentum and of the mean square; in [0, 1).
        beta3: of the estimate; None is the root of the second beta.
        eps: at least 0.
        estim_lr0: the first estimate; above 0.
        estim_lr_coef: what the bound is multiplied with; above 0.
        weight_decay: decoupled, with the rate that was found; at least 0.
        safeguard_warmup: a warm-up does not inflate the bound.

    Raises:
        ArgumentError: if an argument is not allowed.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = prodigy(estim_lr0=0.1)
        >>> weights = jnp.zeros(2)
        >>> updates, _ = optimizer.update(jnp.array([3.0, -4.0]), optimizer.init(weights), weights)
        >>> print([round(u, 4) for u in updates.tolist()])
        [-0.1, 0.1]

    References:
        Mishchenko, Defazio, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner", 2023, arXiv:2306.06101.
    """
    rule = checked_rule(
        rules.Prodigy,
        b1=betas[0],
        b2=betas[1],
        b3=beta3,
        eps=eps,
        d0=checked_number("prodigy", "estim_lr0", estim_lr0, above=0.0),
        d_coef=checked_number("prodigy", "estim_lr_coef", estim_lr_coef, above=0.0),
        use_bias_correction=True,
        safeguard_warmup=safeguard_warmup,
    )
    return transformation("prodigy", rule, learning_rate, weight_decay=weight_decay)
